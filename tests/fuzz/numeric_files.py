"""Arrays, sound and video that are almost right: their headers' numbers, their chunks and their bytes changed."""

import io
import struct
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random

import av
import numpy as np
import soundfile
from avf_sources import Options, SourceError, read

from avf_core import data
from avf_core.errors import DataError
from tests.fuzz.mutation import spoil
from tests.fuzz.readers import Kind

WORDS = (0, 1, 2, 7, 8, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)
TEXTS: tuple[bytes, ...] = (
    b"0",
    b"-1",
    b"99999999999999",
    b"9" * 400,
    b"()",
    b"(((",
    b"'O'",
    b"'<f2'",
    b"'>c16'",
    b"'S99999999'",
    b"True",
)
TEXTS += (b"None", b"1.5", b"'x'", b"[('a', '<f4')]", b"'<M8[s]'", b"'|b1'", b"'<U0'", b"{}", b"1e9")
HEADER = 200  # bytes in which most changes of sound and video are made


@cache
def arrays() -> dict[str, bytes]:
    """A file of each form, as numpy writes it."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(12, 4))
    rolls = {f"{split}_bits": generator.integers(0, 256, (9, 11), dtype=np.uint8) for split in ("train", "test")}
    rolls |= {f"{split}_offsets": np.array([0, 4, 9]) for split in ("train", "test")}
    frames = {"frames": generator.integers(0, 256, (20, 4, 4), dtype=np.uint8), "fps": np.float64(25)}
    return {
        "a.npy": _npy(x),
        "b.npy": _npy(np.asfortranarray(x).astype(">f4")),
        "c.npy": _npy(np.round(x * 100).astype(np.int16), version=(2, 0)),
        "d.npz": _npz(np.savez, x=x, y=x > 0),
        "e.npz": _npz(np.savez_compressed, x=np.zeros((500, 40))),
        "f.npz": _npz(np.savez, **rolls),
        "g.npz": _npz(np.savez_compressed, **frames),
    }


@cache
def sounds() -> dict[str, bytes]:
    """A file of each form, as libsndfile writes it."""
    forms = {
        "a.wav": ("WAV", "PCM_16"),
        "b.wav": ("WAV", "FLOAT"),
        "c.wav": ("RF64", "PCM_24"),
        "d.sph": ("NIST", "PCM_16"),
    }
    forms |= {"e.flac": ("FLAC", "PCM_16"), "f.aiff": ("AIFF", "PCM_16"), "g.ogg": ("OGG", "VORBIS")}
    samples = np.random.default_rng(0).normal(scale=0.1, size=(3000, 2))
    made = {}
    for name, (form, subtype) in forms.items():
        file = io.BytesIO()
        soundfile.write(file, samples, 16_000, format=form, subtype=subtype)
        made[name] = file.getvalue()
    return made


@cache
def videos() -> dict[str, bytes]:
    """A file of each container, as FFmpeg writes it."""
    forms = {"a.avi": ("ffv1", {}), "b.avi": ("mpeg4", {}), "c.mp4": ("mpeg4", {"movflags": "faststart"})}
    forms |= {
        "d.mkv": ("mpeg4", {}),
        "e.mov": ("mjpeg", {}),
        "f.mp4": ("mpeg4", {"movflags": "frag_keyframe+empty_moov"}),
    }
    made = {}
    for name, (codec, options) in forms.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            with av.open(str(path), "w", container_options=options) as container:
                stream = container.add_stream(codec, rate=25)
                stream.height = stream.width = 32
                stream.pix_fmt = {"ffv1": "gray", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
                for grey in np.random.default_rng(0).integers(0, 256, (6, 32, 32)).astype(np.uint8):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="gray")))
                container.mux(stream.encode(None))
            made[name] = path.read_bytes()
    return made


def change_array(random: Random, name: str, content: bytes) -> bytes:
    """Bytes of any place, or words of an array's header, within a well-formed archive where it is of one."""
    if random.random() < 0.3:
        return spoil(random, content)
    if name.endswith(".npy"):
        return _other_words(random, content)
    packed = io.BytesIO()
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w", method) as new:
        chosen = random.choice(old.namelist())
        for member in old.namelist():
            if member != chosen or random.random() < 0.9:
                new.writestr(member, _other_words(random, old.read(member)) if member == chosen else old.read(member))
    return packed.getvalue()


def change_chunks(random: Random, name: str, content: bytes) -> bytes:
    """Bytes of any place, or words of 16 to 64 bits in the header, in either order; and cut or lengthened files."""
    if random.random() < 0.2:
        return spoil(random, content)
    changed = bytearray(content)
    for _ in range(random.randint(1, 3)):
        most = min(len(changed), HEADER if random.random() < 0.7 else len(changed))
        form = random.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
        at = random.randrange(max(1, most - struct.calcsize(form)))
        struct.pack_into(form, changed, at, random.choice(WORDS) & (1 << 8 * struct.calcsize(form)) - 1)
    if random.random() < 0.2:
        del changed[random.randrange(1, len(changed)) :]
    if random.random() < 0.1:
        changed += random.randbytes(random.choice((1, 7, 300)))
    return bytes(changed)


def read_array(path: str, random: Random) -> object:
    """As a stream of observations, and as a data set."""
    key = {"d.npz": "x", "f.npz": "test:0", "g.npz": "frames"}.get(Path(path).name)
    if random.random() < 0.1:
        key = random.choice((None, "y", "train:1", "test_bits", "none"))
    options = {} if key is None or ":" in key else {"key": key}
    return _either(lambda: read(path, Options(key=key)), lambda: _loaded(path, "arrays", options))


def read_sound(path: str, random: Random) -> object:
    """With any ending, at the file's rate or another."""
    ending, rate = random.choice(("whole", "open", "cut")), random.choice((16_000, 8_000, 44_100))
    options = Options(ending=ending, rate=rate)  # type: ignore[arg-type]
    return _either(lambda: read(path, options), lambda: _loaded(path, "audio", {"rate": rate}))


def read_video(path: str, random: Random) -> object:
    """With any ending."""
    ending = random.choice(("whole", "open", "cut"))
    return read(path, Options(ending=ending, size=random.choice((1, 8, 64))))  # type: ignore[arg-type]


ARRAYS = Kind(name="arrays", valid=arrays, spoil=change_array, read=read_array)
SOUNDS = Kind(name="sounds", valid=sounds, spoil=change_chunks, read=read_sound)
VIDEOS = Kind(name="videos", valid=videos, spoil=change_chunks, read=read_video)


def _either(first: Callable[[], object], second: Callable[[], object]) -> object:
    """What one of the two gives; the other's refusal is its affair, and anything else that it raises is a fault."""
    try:
        found = first()
    except SourceError:
        return second()
    with suppress(SourceError):
        second()
    return found


def _loaded(path: str, kind: str, options: dict[str, object]) -> object:
    try:
        splits = data.describe(path, kind=kind, options=options).splits
        return [data.load(path, split, kind=kind, options=options) for split in splits]
    except DataError as error:
        raise SourceError(str(error)) from error


def _npy(array: np.ndarray, *, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def _npz(save: Callable[..., None], **arrays: object) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def _other_words(random: Random, content: bytes) -> bytes:
    """The bytes of an array with one of its header's words, or some of its bytes, replaced."""
    end = content.find(b"\n") + 1
    words = content[10:end].replace(b",", b" , ").replace(b"(", b"( ").split()
    if not words or random.random() < 0.2:
        return spoil(random, content)
    words[random.randrange(len(words))] = random.choice(TEXTS)
    header = b" ".join(words).ljust(117) + b"\n"
    length = len(header) if random.random() < 0.9 else random.choice((0, 5, 0xFFFF))
    return content[:6] + b"\x01\x00" + length.to_bytes(2, "little") + header + content[end:]
