"""What the video sets share: grey levels as observations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from avf_sources import SourceError, video
from jaxtyping import Float32, UInt8
from numpy import ndarray

from avf_core.data._limits import Limits
from avf_core.errors import ConfigurationError, DataError

SIZE = 64
MOST_SIZE = 1024


def check_size(size: int) -> None:
    """Raise ConfigurationError unless this is a size of frames."""
    if not 1 <= size <= MOST_SIZE:
        raise ConfigurationError(f"size is {size} pixels, expected 1 to {MOST_SIZE}")


def check_length(length: int | None) -> None:
    """Raise ConfigurationError unless this is a number of steps, or None."""
    if length is not None and length < 1:
        raise ConfigurationError(f"length is {length}, expected at least 1")


def check(path: Path, frames: ndarray, name: str) -> None:
    """Raise DataError unless these are grey levels (time, height, width)."""
    if frames.ndim != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise DataError(f"{path}: {name} are {frames.dtype} {frames.shape}, expected uint8 (time, height, width)")


def observations(frames: UInt8[ndarray, "time height width"]) -> Float32[ndarray, "time pixels"]:
    """Grey levels k as k / 255, a row a frame."""
    return frames.reshape(len(frames), -1).astype(np.float32) / np.float32(255.0)


def watch(path: Path, size: int, upto: int, limits: Limits) -> UInt8[ndarray, "time size size"]:
    """The first `upto` frames of a video, or all there are, size by size. Raises DataError."""
    frames = []
    try:
        for frame in video.Film(str(path), replace(limits.of_source, size=size)):
            frames.append(frame)
            if len(frames) == upto:
                break
    except SourceError as error:
        raise DataError(str(error)) from error
    return np.stack(frames) if frames else np.zeros((0, size, size), dtype=np.uint8)


def write(path: Path, frames: UInt8[ndarray, "time height width"], *, rate: int) -> None:
    """Write a video without loss. Raises DataError where PyAV is not installed."""
    try:
        video.write(path, frames, rate=rate)
    except SourceError as error:
        raise DataError(str(error)) from error
