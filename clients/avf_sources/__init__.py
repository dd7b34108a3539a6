"""What can be streamed: one file a kind of input, found by the ending of a name or by its scheme.

    recording = sources.read("piece.mid")
    recording.frames          (T, D) numbers, NaN where a dimension is missing

The law: a plug-in is a file of this folder with `SUFFIXES` or `SCHEMES` and `read(name, options)`; adding one touches
no other file. It raises SourceError, which says what to do, for whatever it cannot read.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from avf_sources._errors import MissingExtra, SourceError
from avf_sources._limits import Limits
from avf_sources._numbers import NotNumbersError, numbers

__all__ = [
    "KEYS",
    "MIDI_LOW",
    "Limits",
    "MissingExtra",
    "NotNumbersError",
    "Options",
    "Recording",
    "Source",
    "SourceError",
    "Transposition",
    "existing",
    "find",
    "kinds",
    "load",
    "numbers",
    "read",
]

MIDI_LOW, KEYS = 21, 88
"""A piano roll's column j is MIDI note MIDI_LOW + j, of KEYS keys."""

Transposition = Literal["jsb", "c", "none"]


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """How to read a source, and how much of it; a kind of input ignores what does not concern it.

    key        which array of an archive; for archives of piano rolls "split:index", such as "test:0"
    transpose  music: "jsb" to C and up an octave, as the JSB chorales of the data sets are; "c" to C; "none"
    frame      music: quarter notes in one frame
    rate       sound: samples a second, to which a file is resampled
    samples    sound: samples in one frame
    size       video: pixels in a row, and rows, of one frame
    """

    key: str | None = None
    transpose: Transposition = "jsb"
    frame: float = 1.0
    rate: int = 16_000
    samples: int = 200
    size: int = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """Observations to stream.

    name        what they are, for people
    frames      (T, D) float64, NaN where a dimension is missing
    piano_roll  whether column j is the piano key of MIDI note 21 + j
    frame       quarter notes in one frame, where there are such
    rate        samples a second, where an observation is a frame of samples
    remarks     what was done to them, one sentence each
    """

    name: str
    frames: NDArray[np.float64]
    piano_roll: bool = False
    frame: float | None = None
    rate: int | None = None
    remarks: tuple[str, ...] = ()


class Source(Protocol):
    """What a file of this folder offers: at least one of SUFFIXES and SCHEMES, and `read`."""

    SUFFIXES: tuple[str, ...]
    SCHEMES: tuple[str, ...]

    def read(self, name: str, options: Options) -> Recording:
        """The recording of this name. Raises SourceError."""
        ...


def read(name: str, options: Options | None = None) -> Recording:
    """The recording of a file, or of a name with a scheme such as `corpus:bach/bwv66.6`. Raises SourceError."""
    recording = find(name).read(name, options or Options())
    frames = recording.frames
    if frames.ndim != 2 or 0 in frames.shape:
        raise SourceError(f"{name} holds an array of shape {frames.shape}: expected (T, D), one row a time step")
    return recording


def find(name: str) -> Source:
    """The plug-in that reads this name. Raises SourceError with the kinds there are."""
    scheme = name.partition(":")[0] if ":" in name else ""
    suffix = Path(name).suffix.lower()
    plugins = [load(kind) for kind in kinds()]
    for plugin in plugins:
        if scheme in plugin.SCHEMES or (suffix in plugin.SUFFIXES):
            return plugin
    known = [f"*{s}" for plugin in plugins for s in plugin.SUFFIXES]
    known += [f"{s}:NAME" for plugin in plugins for s in plugin.SCHEMES]
    raise SourceError(f"{name} is of no kind that can be streamed; there are {', '.join(known)}")


def kinds() -> list[str]:
    """The kinds of input: the files of this folder but for those that begin with "_"."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if not name.startswith("_"))


def load(kind: str) -> Source:
    """The plug-in of this name."""
    return cast(Source, importlib.import_module(f"{__name__}.{kind}"))


def existing(name: str) -> Path:
    """The path of a file that is there and is not empty. Raises SourceError."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise SourceError(f"{name} is no file")
    if path.stat().st_size == 0:
        raise SourceError(f"{name} is empty; was it copied completely?")
    return path
