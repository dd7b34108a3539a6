"""Speech and other sound by soundfile: WAV, FLAC and NIST SPHERE files, one frame of samples an observation.

The law of the samples: mono (channels are averaged), at the rate that was asked for (resampled by soxr), on the
levels of 16 bits within [-1, 1): what is discretised by a 16-bit level has a probability. A file that is 16 bits,
mono and at that rate is read bit for bit. The last samples that fill no frame are left out, and counted.
"""

import importlib
import struct
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from avf_sources import MissingExtra, Options, Recording, SourceError, existing

SUFFIXES: tuple[str, ...] = (".wav", ".flac", ".sph")
SCHEMES: tuple[str, ...] = ()

LEVELS = 1 << 15
"""A sample of 16 bits is k / LEVELS, with k from -LEVELS to LEVELS - 1."""
LONGEST = 1 << 29
"""Samples of all channels; a file that claims more is damaged, or too long to be read at once."""
_UNKNOWN_LENGTH = (0, 0xFFFFFFFF)  # in a WAV header that was written before the length was known


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a sound file holds: samples a second, channels, and samples of each channel."""

    rate: int
    channels: int
    samples: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Sound:
    """Samples (T,) float32 within [-1, 1), mono, at `rate`; `remarks` say what was done to the file's."""

    samples: NDArray[np.float32]
    rate: int
    remarks: tuple[str, ...] = ()


def read(name: str, options: Options) -> Recording:
    """The frames (T, options.samples) of a sound file, at options.rate. Raises SourceError, and MissingExtra."""
    sound = listen(name, rate=options.rate)
    frames, left = cut(sound.samples, options.samples)
    if not len(frames):
        raise SourceError(f"{name} has {left} samples, fewer than the {options.samples} of one frame")
    rest = [f"The last {left} samples fill no frame and are left out."] if left else []
    return Recording(
        name=Path(name).name, frames=frames.astype(np.float64), remarks=(*sound.remarks, *rest), rate=options.rate
    )


def write_example(folder: Path, generator: np.random.Generator) -> str:
    """A tenth of a second of noise at 16 kHz, as WAV."""
    path = folder / "example.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(generator.integers(-9000, 9000, 1600).astype("<i2").tobytes())
    return str(path)


def cut(samples: NDArray[np.float32], size: int) -> tuple[NDArray[np.float32], int]:
    """The frames (T, size) of these samples, and how many samples are left over."""
    if size < 1:
        raise SourceError(f"a frame of {size} samples: expected at least 1")
    count = len(samples) // size
    return samples[: count * size].reshape(count, size), len(samples) - count * size


def listen(name: str, *, rate: int | None = None) -> Sound:
    """The samples of a file at `rate`, or at the file's own. Raises SourceError, and MissingExtra."""
    found = probe(name)
    soundfile = _library("soundfile")
    try:
        data, own = soundfile.read(name, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, ValueError) as error:
        raise _unreadable(name, error) from error
    if len(data) != found.samples:
        raise _unreadable(name, f"{len(data)} of {found.samples} samples are there")
    if not np.isfinite(data).all():
        raise SourceError(f"{name} holds NaN or infinities: expected samples within [-1, 1]")
    remarks = []
    if found.channels > 1:
        remarks.append(f"The average of {found.channels} channels.")
    clipped = int(np.count_nonzero(np.abs(data) > 1.0))
    if clipped:
        remarks.append(f"{clipped} samples beyond [-1, 1] are clipped.")
    samples = data.clip(-1.0, 1.0).mean(axis=1)
    if rate is not None and rate != own:
        remarks.append(f"Resampled from {own} to {rate} Hz.")
    samples = resample(samples, own=own, rate=own if rate is None else rate)
    return Sound(samples=samples, rate=rate or own, remarks=tuple(remarks))


def resample(samples: NDArray[np.float32], *, own: int, rate: int) -> NDArray[np.float32]:
    """Samples at `own` Hz as they are at `rate` Hz, on the levels of 16 bits. Raises SourceError, and MissingExtra."""
    if rate < 1:
        raise SourceError(f"a rate of {rate} Hz: expected at least 1")
    if rate != own:
        samples = _library("soxr").resample(samples, own, rate, quality="VHQ")
    levels = np.rint(samples * LEVELS).clip(-LEVELS, LEVELS - 1)
    return (levels / LEVELS).astype(np.float32)


def probe(name: str) -> Format:
    """What a sound file holds, by its header; the file must be whole. Raises SourceError, and MissingExtra."""
    path = existing(name)
    soundfile = _library("soundfile")
    with path.open("rb") as file:
        expected = _expected_bytes(name, file)
    if expected > path.stat().st_size:
        raise _unreadable(name, f"{path.stat().st_size} of {expected} bytes are there")
    try:
        info = soundfile.info(name)
    except (soundfile.SoundFileError, ValueError) as error:
        raise _unreadable(name, error) from error
    if info.frames < 1:
        raise SourceError(f"{name} has no samples")
    if info.frames * info.channels > LONGEST:
        raise SourceError(f"{name} claims {info.frames} samples, more than {LONGEST} are read: is it damaged?")
    return Format(rate=info.samplerate, channels=info.channels, samples=info.frames)


def _expected_bytes(name: str, file: BinaryIO) -> int:
    """How long the file must be, by its header: soundfile reads what is left of a truncated one as if it were all."""
    start = file.read(12)
    if start.startswith(b"NIST_1A"):
        return _sphere_bytes(name, start + file.read(4096 - len(start)))
    if start[:4] == b"RIFF" and start[8:] == b"WAVE":
        return _wave_bytes(file)
    return 0


def _sphere_bytes(name: str, header: bytes) -> int:
    """NIST SPHERE: lines `field -type value` up to `end_head`, in a header whose length is its second line."""
    lines = header.partition(b"end_head")[0].decode("latin-1").splitlines()
    fields = {words[0]: words[-1] for words in (line.split() for line in lines[2:]) if len(words) == 3}
    if fields.get("sample_coding", "pcm") not in ("pcm", "ulaw", "alaw"):
        raise _unreadable(name, f"its samples are coded as {fields['sample_coding']}: convert it with sph2pipe")
    try:
        numbers = [int(fields[key]) for key in ("sample_count", "channel_count", "sample_n_bytes")]
        return int(lines[1]) + numbers[0] * numbers[1] * numbers[2]
    except (KeyError, ValueError, IndexError) as error:
        raise _unreadable(name, f"its SPHERE header is damaged, {error!r}") from error


def _wave_bytes(file: BinaryIO) -> int:
    """RIFF WAVE: chunks of a name, a length and so many bytes, padded to even ones; `data` holds the samples."""
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            return 0 if size in _UNKNOWN_LENGTH else file.tell() + int(size)
        file.seek(size + size % 2, 1)
    return 0


def _unreadable(name: str, detail: object) -> SourceError:
    return SourceError(f"{name} cannot be read as sound, it may be truncated; copy or export it again ({detail})")


def _library(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: the wheel has no libsndfile for this machine
        raise MissingExtra("reading sound", "audio") from error
