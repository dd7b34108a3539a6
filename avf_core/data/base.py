"""What a data set is: for each split so many sequences, read when they are asked for.

    Options                               a frozen keyword-only dataclass: how to read it
    EXAMPLES                              options by name, small enough for tests
    MODALITY                              what observations are of: music, audio, video, or a series of numbers
    GENERAL                               True for formats that anything may have, False for a data set known by name
    recognises(path) -> bool              whether the path looks like this data set; cheap, reads no arrays
    survey(path, options) -> DataSet      which splits there are, and how to read each
    write_example(folder, generator)      writes a small valid one, and gives its path

A data set, or a format of files, is one file in this folder with these; the file's name is its kind, and the suites
test it unasked. Sound has the `rate` of its options, or `RATE`, where nothing else is said. The law:
sequences have shape (time, observation) and natural units: piano keys are 0 or 1 (uint8), audio lies in [-1, 1] and
pixels in [0, 1] (float32), arrays are as they are (float32, NaN where a number is missing). Models standardise inside.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from avf_core.errors import DataError

Sequences = list[Shaped[ndarray, "_time observation"]]  # each of its own length
Modality = Literal["music", "audio", "video", "series"]
TRAIN, VALID, TEST, SELECT = "train", "valid", "test", "select"


@dataclass(frozen=True, kw_only=True)
class Split:
    """A part of a data set: how many sequences it has, and what reads them."""

    sequences: int
    read: Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set that was surveyed, not read.

    `observation_size` is the length of an observation and `shape` what it is a flattened form of, (64, 64) pixels,
    say. `rate` is in Hz: audio samples, or video frames, a second; None where the data has no such rate. `channels` are
    the names of an observation's numbers, where they have some; a kind that gives them has an option `channels`, which
    asks for these in this order. `input_size` is the number of inputs that come with an observation (its sequences are
    then `Driven`), and `inputs` are their names.
    """

    splits: Mapping[str, Split]
    observation_size: int
    shape: tuple[int, ...] | None = None
    rate: int | None = None
    channels: tuple[str, ...] | None = None
    input_size: int = 0
    inputs: tuple[str, ...] | None = None


@runtime_checkable
class Plugin(Protocol):
    """What a file of this folder offers."""

    Options: type[Any]
    EXAMPLES: Mapping[str, Any]
    MODALITY: Modality
    GENERAL: bool

    def recognises(self, path: Path) -> bool:
        """Whether this path looks like such a data set."""
        ...

    def survey(self, path: Path, options: Any) -> DataSet:
        """The splits of the data set at this path. Raises DataError."""
        ...

    def write_example(self, folder: Path, generator: np.random.Generator) -> Path:
        """Write a small valid data set into a folder; gives its path."""
        ...


def existing(path: Path, what: str) -> Path:
    """The path of a file that is there. Raises DataError."""
    if not path.is_file():
        raise DataError(f"no file {path}: give the path of {what}")
    return path
