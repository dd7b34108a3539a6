"""What can be streamed: one file a kind of input, found by the ending of a name or by its scheme.

    recording = sources.read("piece.mid")
    recording.frames          (T, D) numbers, NaN where a dimension is missing

The law: a plug-in is a file of this folder with `SUFFIXES` or `SCHEMES` and `read(name, options)`; adding one touches
no other file. It raises SourceError, which says what to do, for whatever it cannot read. Other packages add some by
entry points of the group `avf.sources`.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, Protocol, cast, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from avf_sources._channels import Channel
from avf_sources._errors import MissingExtra, SourceError
from avf_sources._files import holds, make_folder, read_set, replace_file, replace_set
from avf_sources._limits import Limits
from avf_sources._npy import archive_file, array_file
from avf_sources._numbers import NotNumbersError, numbers
from avf_sources._units import foreign

__all__ = [
    "KEYS",
    "MIDI_LOW",
    "Channel",
    "Decimal",
    "Ending",
    "Limits",
    "MissingExtra",
    "NotNumbersError",
    "Options",
    "Recording",
    "Source",
    "SourceError",
    "Transposition",
    "archive_file",
    "array_file",
    "available",
    "existing",
    "find",
    "foreign",
    "holds",
    "kinds",
    "load",
    "make_folder",
    "numbers",
    "read",
    "read_set",
    "replace_file",
    "replace_set",
]

GROUP = "avf.sources"
MIDI_LOW, KEYS = 21, 88
"""A piano roll's column j is MIDI note MIDI_LOW + j, of KEYS keys."""

Ending = Literal["whole", "open", "cut"]
Decimal = Literal[".", ","]
Transposition = Literal["jsb", "c", "none"]


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """How to read a source, and how much of it; a kind of input ignores what does not concern it.

    key        which array of an archive; for archives of piano rolls "split:index", such as "test:0"; which sequence of
               a table that has several
    transpose  music: "jsb" to C and up an octave, as the JSB chorales of the data sets are; "c" to C; "none"
    frame      music: quarter notes in one frame
    rate       sound: samples a second, to which a file is resampled
    samples    sound: samples in one frame
    ending     sound, video: "whole" takes files that say how long they are, and are; "open" also those that were never
               closed and say no length; "cut" also those that end before they say; CSV: but for "whole", a last line
               that does not end is left out
    size       video: pixels in a row, and rows, of one frame
    channels   tables: the columns to read, in this order; "state=on" is whether `state` says `on`; all numbers if None
    ignore     tables: columns that are not read
    categorical  tables: columns of text that are read, a channel for each value
    time       tables: the column that says when, in ISO 8601, seconds since 1970 or thousandths, or any number
    group      tables: the column that says which sequence a row belongs to
    decimal    CSV: what stands before decimals, where the file leaves it open
    """

    key: str | None = None
    transpose: Transposition = "jsb"
    frame: float = 1.0
    rate: int = 16_000
    samples: int = 200
    ending: Ending = "open"
    size: int = 64
    channels: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    time: str | None = None
    group: str | None = None
    decimal: Decimal | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ending not in get_args(Ending):
            raise SourceError(f"ending is {self.ending!r}, expected {', '.join(get_args(Ending))}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """Observations to stream.

    name        what they are, for people
    frames      (T, D) float64, NaN where a dimension is missing
    piano_roll  whether column j is the piano key of MIDI note 21 + j
    frame       quarter notes in one frame, where there are such
    rate        samples a second, where an observation is a frame of samples
    remarks     what was done to them, one sentence each
    channels    what each of the D dimensions is, where a file says so
    times       (T,) float64, when each row is, in seconds since the first, where a file says so
    began       when the first is, by the file: seconds since 1970 of dates
    """

    name: str
    frames: NDArray[np.float64]
    piano_roll: bool = False
    frame: float | None = None
    rate: int | None = None
    remarks: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    times: NDArray[np.float64] | None = None
    began: float = 0.0


@runtime_checkable
class Source(Protocol):
    """What a file of this folder offers: at least one of SUFFIXES and SCHEMES, `read`, and an example for tests."""

    SUFFIXES: tuple[str, ...]
    SCHEMES: tuple[str, ...]

    def read(self, name: str, options: Options) -> Recording:
        """The recording of this name. Raises SourceError."""
        ...

    def write_example(self, folder: Path, generator: np.random.Generator) -> str:
        """Write a small valid input into a folder; gives its name."""
        ...


def read(name: str, options: Options | None = None, *, kind: str | None = None) -> Recording:
    """The recording of a file, or of a name with a scheme such as `corpus:bach/bwv66.6`. Raises SourceError."""
    recording = find(name, kind).read(name, options or Options())
    frames = recording.frames
    if frames.ndim != 2 or 0 in frames.shape:
        raise SourceError(f"{name} holds an array of shape {frames.shape}: expected (T, D), one row a time step")
    return recording


def find(name: str, kind: str | None = None) -> Source:
    """The plug-in of this kind, or the one that reads this name. Raises SourceError with the kinds there are."""
    if kind is not None:
        return load(kind)
    scheme = name.partition(":")[0] if ":" in name else ""
    suffix = Path(name).suffix.lower()
    plugins = [load(each) for each in available()]
    for plugin in plugins:
        if scheme in plugin.SCHEMES or (suffix in plugin.SUFFIXES):
            return plugin
    known = [f"*{s}" for plugin in plugins for s in plugin.SUFFIXES]
    known += [f"{s}:NAME" for plugin in plugins for s in plugin.SCHEMES]
    raise SourceError(f"{name} is of no kind that can be streamed; there are {', '.join(known)}")


def kinds() -> list[str]:
    """The kinds of input of this folder: its files but for those that begin with "_"."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if not name.startswith("_"))


def available() -> list[str]:
    """The kinds of this folder, and then those of other packages, which come last."""
    own = kinds()
    return own + sorted({entry.name for entry in entry_points(group=GROUP)} - set(own))


def load(kind: str) -> Source:
    """The plug-in of this name, or at a place such as `package.module` or `module:name`. Raises SourceError."""
    if kind in kinds():
        return cast(Source, importlib.import_module(f"{__name__}.{kind}"))
    values = sorted({entry.value for entry in entry_points(group=GROUP, name=kind)}) or [kind]
    if len(values) > 1:
        raise SourceError(f"{' and '.join(values)} are both installed as {kind!r}: give one of them as the kind")
    module, _, name = values[0].partition(":")
    if values[0] == kind and "." not in kind and ":" not in kind:
        raise SourceError(f"no kind {kind!r} of input; there are {', '.join(available())}, or package.module")
    try:
        found: object = importlib.import_module(module)
        found = getattr(found, name) if name else found
    except (ImportError, AttributeError) as error:
        raise SourceError(f"the plug-in {values[0]!r} cannot be imported: {error}; install its package") from error
    if not isinstance(found, Source):
        raise SourceError(f"{values[0]!r} is no kind of input: it has no SUFFIXES, SCHEMES, read and write_example")
    return found


def existing(name: str) -> Path:
    """The path of a file that is there and is not empty. Raises SourceError."""
    try:
        path = Path(name).expanduser()
        there = path.is_file()
    except (RuntimeError, ValueError, OSError) as error:  # no such user; a name with a zero byte, or too long
        raise SourceError(f"{name!r} cannot be read: {error}") from error
    if not there:
        raise SourceError(f"{name} is no file")
    if path.stat().st_size == 0:
        raise SourceError(f"{name} is empty; was it copied completely?")
    return path
