"""Speech and other sound by soundfile: WAV and RF64, FLAC, AIFF, Ogg and NIST SPHERE; an observation is some samples.

The law of the samples: mono (channels are averaged), at the rate that was asked for (resampled by soxr), on the
levels of 16 bits within [-1, 1): what is discretised by a 16-bit level has a probability. A file that is 16 bits,
mono and at that rate is read bit for bit. The last samples that fill no frame are left out, and counted.

The law of the ends: a recorder that was not stopped properly leaves a header without a length. What is there of such a
file is read, and a remark says so; a file that ends before its header says is refused. `Options.ending` says otherwise.
"""

import importlib
import io
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avf_sources import MissingExtra, Options, Recording, SourceError, _sound, existing

SUFFIXES: tuple[str, ...] = (".wav", ".flac", ".sph", ".aif", ".aiff", ".aifc", ".ogg", ".oga", ".rf64")
SCHEMES: tuple[str, ...] = ()

LEVELS = 1 << 15
"""A sample of 16 bits is k / LEVELS, with k from -LEVELS to LEVELS - 1."""
_BLOCK = 1 << 22  # samples of each channel that are decoded at once
_MOST_RESAMPLING = 256
"""How many times more, or fewer, samples a second are made of a file's; beyond it its header is damaged."""
_DEFAULT = Options()
_FLOAT32 = 4  # bytes


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
    sound = listen(name, rate=options.rate, options=options)
    frames, left = cut(sound.samples, options.samples)
    if not len(frames):
        raise SourceError(f"{name} has {left} samples, fewer than the {options.samples} of one frame")
    rest = [f"The last {left} samples fill no frame and are left out."] if left else []
    options.check_frames(name, len(frames))
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


def listen(name: str, *, rate: int | None = None, options: Options = _DEFAULT) -> Sound:
    """The samples of a file at `rate`, or at the file's own. Raises SourceError, and MissingExtra."""
    with _opened(name, options) as (file, remarks):
        own, channels = file.samplerate, file.channels
        rate = own if rate is None else rate
        if rate > 0 and not 1 <= max(own, rate) <= _MOST_RESAMPLING * min(own, rate):
            raise SourceError(f"{name} claims {own} samples a second, {rate} are wanted: is it damaged?")
        options.check_bytes(name, max(channels, -(-rate // max(own, 1))) * file.frames * _FLOAT32)
        blocks = list(file.blocks(_BLOCK, dtype="float32", always_2d=True))
        data = np.concatenate(blocks) if blocks else np.zeros((0, channels), np.float32)
        if len(data) != file.frames and options.ending != "cut":
            raise _unreadable(name, f"{len(data)} of {file.frames} samples are there")
    if not len(data):
        raise SourceError(f"{name} has no samples")
    if not np.isfinite(data).all():
        raise SourceError(f"{name} holds NaN or infinities: expected samples within [-1, 1]")
    if channels > 1:
        remarks.append(f"The average of {channels} channels.")
    clipped = int(np.count_nonzero(np.abs(data) > 1.0))
    if clipped:
        remarks.append(f"{clipped} samples beyond [-1, 1] are clipped.")
    samples = data.clip(-1.0, 1.0).mean(axis=1)
    if rate != own:
        remarks.append(f"Resampled from {own} to {rate} Hz.")
    return Sound(samples=resample(samples, own=own, rate=rate), rate=rate, remarks=tuple(remarks))


def resample(samples: NDArray[np.float32], *, own: int, rate: int) -> NDArray[np.float32]:
    """Samples at `own` Hz as they are at `rate` Hz, on the levels of 16 bits. Raises SourceError, and MissingExtra."""
    if rate < 1:
        raise SourceError(f"a rate of {rate} Hz: expected at least 1")
    if rate != own:
        samples = _library("soxr").resample(samples, own, rate, quality="VHQ")
    levels = np.rint(samples * LEVELS).clip(-LEVELS, LEVELS - 1)
    return (levels / LEVELS).astype(np.float32)


def probe(name: str, options: Options = _DEFAULT) -> Format:
    """What a sound file holds, by its header; the file must be whole. Raises SourceError, and MissingExtra."""
    with _opened(name, options) as (file, _):
        return Format(rate=file.samplerate, channels=file.channels, samples=file.frames)


@contextmanager
def _opened(name: str, options: Options) -> Iterator[tuple[Any, list[str]]]:
    """A file of sound as soundfile opens it, once its end is as `options.ending` asks; and what there is to remark."""
    path = existing(name)
    soundfile = _library("soundfile")
    size = path.stat().st_size
    options.check_bytes(name, size)
    try:
        with path.open("rb") as raw:
            extent = _sound.extent(raw, size)
        early = extent.closed and options.ending == "cut" and extent.short(size)
        patches = extent.patches if early or not extent.closed else ()
        _check_end(name, extent, size, options)
        with soundfile.SoundFile(_patched(path, patches) if patches else path) as file:
            if file.frames < 1:
                raise SourceError(f"{name} has no samples")
            yield file, _remarks(extent, file.frames, early=early)
    except SourceError:
        raise
    except (soundfile.SoundFileError, ValueError, OSError, MemoryError, OverflowError) as error:
        raise _unreadable(name, error) from error


def _check_end(name: str, extent: _sound.Extent, size: int, options: Options) -> None:
    """Raise SourceError where a file does not end as `options.ending` asks."""
    if not extent.closed and options.ending == "whole":
        raise SourceError(
            f"{name} cannot be read as a whole: its header says no length, it was never closed; ending 'open' reads "
            "what is there"
        )
    if extent.closed and extent.expected > size and options.ending != "cut":
        raise _unreadable(name, f"{size} of {extent.expected} bytes are there; ending 'cut' reads these")


def _patched(path: Path, patches: tuple[tuple[int, bytes], ...]) -> io.BytesIO:
    """A file with another header, in memory."""
    data = bytearray(path.read_bytes())
    for at, value in patches:
        data[at : at + len(value)] = value
    return io.BytesIO(data)


def _remarks(extent: _sound.Extent, samples: int, *, early: bool) -> list[str]:
    """What is to be said of the end of a file."""
    if not extent.closed:
        return [f"The file was never closed, its header says no length: the {samples} samples that are there are read."]
    if early:
        return [f"The file ends before its header says: the {samples} samples that are there are read."]
    return [f"{extent.beyond} bytes after the sound are not read."] if extent.beyond else []


def _unreadable(name: str, detail: object) -> SourceError:
    return SourceError(f"{name} cannot be read as sound, it may be truncated; copy or export it again ({detail})")


def _library(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: the wheel has no libsndfile for this machine
        raise MissingExtra("reading sound", "audio") from error
