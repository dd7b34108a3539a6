"""What the speech sets share: sound read by the client's source, its errors in the library's terms, and frames."""

import importlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from avf_sources import SourceError, audio
from jaxtyping import Float32, Int16
from numpy import ndarray

from avf_core.data._limits import Limits
from avf_core.errors import ConfigurationError, DataError

FRAME = 200
"""Samples of an observation; the paper's."""
MOST_RATE = 768_000


def check_frame(frame: int) -> None:
    """Raise ConfigurationError unless a frame has samples."""
    if frame < 1:
        raise ConfigurationError(f"frame is {frame} samples, expected at least 1")


def listen(path: Path, *, rate: int | None, limits: Limits) -> Float32[ndarray, " samples"]:
    """The samples of a sound file, mono, at `rate` or at its own, within [-1, 1). Raises DataError."""
    try:
        return audio.listen(str(path), rate=rate, options=limits.of_source).samples
    except SourceError as error:
        raise DataError(str(error)) from error


def probe(path: Path, limits: Limits) -> audio.Format:
    """What a sound file holds, by its header. Raises DataError."""
    try:
        return audio.probe(str(path), limits.of_source)
    except SourceError as error:
        raise DataError(str(error)) from error


def frames(samples: Float32[ndarray, " samples"], size: int, name: object) -> Float32[ndarray, "time frame"]:
    """The samples as frames of `size`; the last samples, which fill no frame, are left out. Raises DataError."""
    cut, left = audio.cut(samples, size)
    if not len(cut):
        raise DataError(f"{name} has {left} samples, fewer than the {size} of one frame: leave it out")
    return np.ascontiguousarray(cut)


def check_rate(rate: int) -> None:
    """Raise ConfigurationError unless there are samples in a second."""
    if not 1 <= rate <= MOST_RATE:
        raise ConfigurationError(f"rate is {rate} Hz, expected 1 to {MOST_RATE}")


def resample(samples: Float32[ndarray, " samples"], own: int, rate: int) -> Float32[ndarray, " resampled"]:
    """Samples at `own` Hz as they are at `rate` Hz."""
    return audio.resample(samples, own=own, rate=rate) if own != rate else samples


def noise(count: int, generator: np.random.Generator) -> Int16[ndarray, " samples"]:
    """Samples of 16 bits, for examples."""
    return generator.integers(-9000, 9000, count).astype(np.int16)


def write(path: Path, samples: Int16[ndarray, " samples"], *, rate: int, form: Literal["FLAC", "NIST"]) -> None:
    """Write samples, mono, without loss. Raises DataError where soundfile is not installed."""
    try:
        soundfile: Any = importlib.import_module("soundfile")
    except ImportError as error:
        raise DataError("writing sound needs soundfile: pip install 'avf[audio]'") from error
    soundfile.write(path, samples, rate, format=form, subtype="PCM_16")
