"""Sound as recorders leave it: headers without a length, files that stop in the middle; and paths with a tilde."""

import struct
from collections.abc import Callable
from pathlib import Path

import avf_sources as sources
import numpy as np
import pytest
import soundfile
from avf_client.errors import SourceError
from avf_sources import Options, audio

from avf_core import data
from avf_core.errors import DataError

NEVER = "never closed"


def tone(count: int = 20_000) -> np.ndarray:
    """Samples of 16 bits that a coder can shorten."""
    steps = np.random.default_rng(1).integers(-300, 300, count)
    return np.cumsum(steps).clip(-30_000, 30_000).astype(np.int16)


def put(content: bytes, *patches: tuple[int, bytes]) -> bytes:
    """Bytes with others in their place."""
    changed = bytearray(content)
    for at, value in patches:
        changed[at : at + len(value)] = value
    return bytes(changed)


def wave(riff: int, length: int) -> Callable[[bytes], bytes]:
    """A WAV whose header was written with these two sizes."""
    return lambda d: put(d, (4, struct.pack("<I", riff)), (d.index(b"data") + 4, struct.pack("<I", length)))


def rf64(size: int) -> Callable[[bytes], bytes]:
    """An RF64 whose 64-bit sizes are all this."""
    return lambda d: put(d, (d.index(b"ds64") + 8, struct.pack("<QQQ", size, size, size)))


def aiff(form: int, frames: int, length: int) -> Callable[[bytes], bytes]:
    """An AIFF whose sizes are these."""
    return lambda d: put(
        d,
        (4, struct.pack(">I", form)),
        (d.index(b"COMM") + 10, struct.pack(">I", frames)),
        (d.index(b"SSND") + 4, struct.pack(">I", length)),
    )


def flac(content: bytes) -> bytes:
    """A FLAC that was written to a pipe: no total, no frame sizes, no checksum of the samples."""
    return put(content, (12, bytes(6)), (21, bytes([content[21] & 0xF0])), (22, bytes(4)), (26, bytes(16)))


UNCLOSED: dict[str, tuple[str, str, Callable[[bytes], bytes]]] = {
    "FLAC to a pipe": ("FLAC", ".flac", flac),
    "WAV of zeros": ("WAV", ".wav", wave(0, 0)),
    "WAV with its data's size not written": ("WAV", ".wav", wave(40_036, 0)),
    "WAV of the largest sizes": ("WAV", ".wav", wave(2**32 - 1, 2**32 - 1)),
    "WAV of two gigabytes": ("WAV", ".wav", wave(2**31 + 36, 2**31)),
    "WAV of two gigabytes less a header": ("WAV", ".wav", wave(2**31 - 1, 2**31 - 4096 - 36)),
    "RF64 of zeros": ("RF64", ".wav", rf64(0)),
    "RF64 of the largest sizes": ("RF64", ".rf64", rf64(2**64 - 1)),
    "AIFF of zeros": ("AIFF", ".aiff", aiff(0, 0, 0)),
    "AIFF of a header alone": ("AIFF", ".aif", aiff(0, 0, 8)),
    "AIFF of the largest sizes": ("AIFF", ".aiff", aiff(2**32 - 1, 2**32 - 1, 2**32 - 1)),
}


def recorded(path: Path, kind: str) -> np.ndarray:
    """A file as a recorder leaves it that was never stopped, and its samples."""
    form, _, spoil = UNCLOSED[kind]
    written = tone()
    soundfile.write(path, written, 16_000, format=form, subtype="PCM_16")
    path.write_bytes(spoil(path.read_bytes()))
    return written


@pytest.mark.parametrize("kind", UNCLOSED)
def test_sound_that_was_never_closed_is_read_bit_for_bit(tmp_path: Path, kind: str) -> None:
    """With a remark; as a data set too; and refused where only whole files are wanted."""
    path = tmp_path / f"x{UNCLOSED[kind][1]}"
    written = recorded(path, kind)
    recording = sources.read(str(path))
    np.testing.assert_array_equal(recording.frames.ravel(), written / 32768)
    assert NEVER in recording.remarks[0]
    (sequence,) = data.load(path, "test", kind="audio")
    np.testing.assert_array_equal(sequence.ravel(), written / 32768)
    with pytest.raises(SourceError, match=NEVER):
        sources.read(str(path), Options(ending="whole"))


@pytest.mark.parametrize("kind", UNCLOSED)
def test_what_was_lost_at_the_end_is_all_that_is_lost(tmp_path: Path, kind: str) -> None:
    """The power failed in the middle of writing: all whole samples, of FLAC all whole frames, are read."""
    path = tmp_path / f"x{UNCLOSED[kind][1]}"
    written = recorded(path, kind)
    path.write_bytes(path.read_bytes()[:-5001])
    found = np.rint(audio.listen(str(path)).samples * 32768)
    lost = 4096 * 2 if kind.startswith("FLAC") else 2501
    assert len(written) - lost <= len(found) < len(written)
    np.testing.assert_array_equal(found, written[: len(found)])


def test_ogg_that_was_cut_is_read_to_its_last_page(tmp_path: Path) -> None:
    """An Ogg says its end on its last page only; without that it was never closed."""
    path = tmp_path / "x.ogg"
    soundfile.write(path, tone(90_000), 16_000)
    whole = audio.listen(str(path))
    assert whole.remarks == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = audio.listen(str(path))
    assert 10_000 < len(found.samples) < 90_000
    assert NEVER in found.remarks[0]
    np.testing.assert_allclose(found.samples[:9000], whole.samples[:9000], atol=1e-3)
    with pytest.raises(SourceError, match=NEVER):
        audio.listen(str(path), options=Options(ending="whole"))


@pytest.mark.parametrize(("form", "suffix"), [("WAV", ".wav"), ("FLAC", ".flac"), ("AIFF", ".aiff"), ("RF64", ".wav")])
def test_sound_that_ends_before_it_says_is_read_where_that_is_asked_for(tmp_path: Path, form: str, suffix: str) -> None:
    """By default it is refused; cut, it is the beginning of what was recorded, with a remark."""
    path, written = tmp_path / f"x{suffix}", tone()
    soundfile.write(path, written, 16_000, format=form, subtype="PCM_16")
    np.testing.assert_array_equal(audio.listen(str(path), options=Options(ending="cut")).samples, written / 32768)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for ending in ("whole", "open"):
        with pytest.raises(SourceError, match="truncated"):
            audio.listen(str(path), options=Options(ending=ending))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="truncated"):
        data.load(path, "test", kind="audio")
    (sequence,) = data.load(path, "test", kind="audio", options={"ending": "cut"})
    assert 0 < len(sequence) < 100
    found = audio.listen(str(path), options=Options(ending="cut"))
    assert 4096 <= len(found.samples) < len(written)
    np.testing.assert_array_equal(np.rint(found.samples * 32768), written[: len(found.samples)])
    assert "ends before its header says" in found.remarks[0]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_the_last_whole_frame_of_a_flac_is_found_wherever_it_is_cut(
    tmp_path: Path, channels: int, subtype: str
) -> None:
    """At forty places, in one and two channels, in 16 and 24 bits: a prefix, and never a frame less than there was."""
    path = tmp_path / "x.flac"
    written = np.stack([tone(), tone()[::-1]][:channels], axis=1)
    soundfile.write(path, written, 16_000, subtype=subtype)
    whole, before = flac(path.read_bytes()), 0
    for cut in np.linspace(len(whole) // 3, len(whole), 40).astype(int):
        path.write_bytes(whole[:cut])
        found = soundfile_free(path)
        assert before <= found <= len(written)
        before = found
    assert before == len(written)


def soundfile_free(path: Path) -> int:
    """How many samples a file has, by its frames alone."""
    return audio.probe(str(path)).samples


def test_a_wav_that_is_closed_and_empty_is_not_read_as_what_follows(tmp_path: Path) -> None:
    """No samples, then a chunk of tags: no sound; and tags after sound are not heard."""
    path, written = tmp_path / "x.wav", tone(400)
    soundfile.write(path, written, 16_000, subtype="PCM_16")
    whole, tags = path.read_bytes(), b"LIST" + struct.pack("<I", 30) + b"INFOISFT" + struct.pack("<I", 18) + bytes(18)
    at = whole.index(b"data")
    path.write_bytes(whole[: at + 4] + bytes(4) + tags)
    with pytest.raises(SourceError, match="no samples"):
        sources.read(str(path))
    path.write_bytes(put(whole, (4, struct.pack("<I", len(whole) + len(tags) - 8))) + tags)
    recording = sources.read(str(path))
    np.testing.assert_array_equal(recording.frames.ravel(), written / 32768)
    assert recording.remarks == ()
    path.write_bytes(whole + b"TAG" + bytes(125))
    assert sources.read(str(path)).remarks == ("128 bytes after the sound are not read.",)


def test_headers_that_claim_too_much_are_refused(tmp_path: Path) -> None:
    """A FLAC of 2^36 samples and a WAV of a thousand channels, by what they would be once decoded."""
    path = tmp_path / "x.flac"
    soundfile.write(path, tone(), 16_000)
    content = path.read_bytes()
    path.write_bytes(put(content, (21, bytes([content[21] | 15])), (22, b"\xff" * 4)))
    with pytest.raises(SourceError, match="max_bytes"):
        sources.read(str(path))
    soundfile.write(tmp_path / "y.wav", np.zeros((400, 2)), 16_000)
    with pytest.raises(SourceError, match="max_bytes"):
        sources.read(str(tmp_path / "y.wav"), Options(max_bytes=3199))
    with pytest.raises(SourceError, match="max_frames"):
        sources.read(str(tmp_path / "y.wav"), Options(max_frames=1))
    assert sources.read(str(tmp_path / "y.wav"), Options(max_bytes=3200, max_frames=2)).frames.shape == (2, 200)
    for rate in (1, 62, 16_000 * 256 + 1):
        soundfile.write(tmp_path / "z.wav", np.zeros(400), rate)
        with pytest.raises(SourceError, match="samples a second"):
            sources.read(str(tmp_path / "z.wav"))
    soundfile.write(tmp_path / "z.wav", np.zeros(400), 250)  # an electrocardiogram
    assert sources.read(str(tmp_path / "z.wav")).frames.shape == (128, 200)
    with pytest.raises(SourceError, match="ending is 'any'"):
        Options(ending="any")  # type: ignore[arg-type]


def test_a_tilde_is_the_users_folder_for_every_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of arrays, archives and sound, streamed or as a data set; and of folders of them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "a.npy", np.eye(40))
    np.savez(tmp_path / "b.npz", x=np.eye(40))
    for name in ("c.wav", "d.flac", "e.aiff"):
        soundfile.write(tmp_path / name, tone(), 16_000)
    for name, shape in {"a.npy": (40, 40), "b.npz": (40, 40), "c.wav": (100, 200), "d.flac": (100, 200)}.items():
        assert sources.read(f"~/{name}").frames.shape == shape
        assert data.describe(f"~/{name}").observation_size == shape[1]
    assert data.load("~/a.npy", "train")[0].shape == (32, 40)
    assert data.recognise("~/e.aiff") == "audio"
    (tmp_path / "folder" / "test").mkdir(parents=True)
    soundfile.write(tmp_path / "folder" / "test" / "x.wav", tone(), 16_000)
    assert data.load("~/folder", "test")[0].shape == (100, 200)
