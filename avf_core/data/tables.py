"""Tables of sensors: CSV, TSV, Parquet and Feather; a row is a step, and channels are known by their names.

One file is one stream, split by time, or a sequence for each value of the column `group`, of which some are held out
whole. A folder is a sequence a file; the channels of its first file, by name, are those of all. What is left out, and
why, `avf data describe` says. The channels go into the card of what is trained, and are asked of what is read for it.
Columns that are `inputs` move the sequence and are not observed; where there is a column of times, steps have a dt,
and the `calendar` may be inputs, too, after those of columns.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import avf_sources
import numpy as np
from avf_sources import tables
from numpy import ndarray

from avf_core import calendar
from avf_core.data import _cuts, _folders, _parts
from avf_core.data._driven import Driven
from avf_core.data.base import TEST, TRAIN, VALID, DataSet, Modality, Sequences, Split, existing
from avf_core.errors import ConfigurationError, DataError

MODALITY: Modality = "series"
GENERAL = True

Piece = tuple[tables.Sequence, int, int]
"""A stretch of a sequence: its first row, and the row after it."""


@dataclass(frozen=True, kw_only=True)
class Options(_folders.Parts):
    """How to read tables.

    `channels`: the columns to read, in this order; `ignore`: those not to read; `categorical`: columns of text that are
    read, a channel for each value. `inputs`: columns that are no channels but what was done or known before the rest of
    their row came, such as a setting; none may be missing. `time`: the column that says when, which may not go back.
    `calendar`: cycles of it that are inputs, of "hour" (of the day), "halfday", "weekday" and "yearday", a sine and a
    cosine each; or name these in `inputs`, as what was trained does. `group`: of one file, the column that says which
    sequence a row is of. `decimal`: of CSV, what stands before decimals. `ending`: "open" leaves a last line out that
    does not end. `length`: sequences are cut into pieces of so many steps, the last one shorter.
    """

    channels: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    time: str | None = None
    calendar: tuple[str, ...] = ()
    group: str | None = None
    decimal: Literal[".", ","] | None = None
    ending: Literal["whole", "open"] = "whole"
    length: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length is not None and self.length < 1:
            raise ConfigurationError(f"length is {self.length}, expected at least 1")
        both = set(self.inputs) & set(self.channels or ())
        if both:
            raise ConfigurationError(f"{', '.join(sorted(both))} is named in channels and in inputs: name it in one")
        if self.of_calendar and self.time is None:
            raise ConfigurationError("inputs of the calendar are made of times: name their column, say time=COLUMN")

    @property
    def of_calendar(self) -> list[str]:
        """The names of the inputs that the calendar gives, in its order."""
        named = {*calendar.names(self.calendar), *calendar.among(self.inputs)}
        return [name for name in calendar.names(list(calendar.CYCLES)) if name in named]

    @property
    def of_columns(self) -> tuple[str, ...]:
        """The inputs that are columns."""
        named = calendar.among(self.inputs)
        return tuple(name for name in self.inputs if name not in named)

    @property
    def of_source(self) -> avf_sources.Options:
        """The same for the reader."""
        return replace(
            super().of_source,
            channels=None if self.channels is None else (*self.channels, *self.of_columns),
            ignore=self.ignore,
            categorical=self.categorical,
            time=self.time,
            group=self.group,
            decimal=self.decimal,
            ending=self.ending,
        )


EXAMPLES: Mapping[str, Options] = {"files": Options(), "pieces": Options(length=5, channels=("wind", "temp [degC]"))}


def recognises(path: Path) -> bool:
    """A table, or a folder with one somewhere below it, and with nothing that another reader takes."""
    if not path.is_dir():
        return path.suffix.lower() in tables.SUFFIXES and path.is_file()
    others = [suffix for kind in avf_sources.kinds() for suffix in avf_sources.load(kind).SUFFIXES]
    others = [suffix for suffix in others if suffix not in tables.SUFFIXES]
    return _parts.has_file(path, tables.SUFFIXES) and not _parts.has_file(path, others)


def survey(path: Path, options: Options) -> DataSet:
    """The splits of a file or a folder: float32 sequences of shape (time, channels).

    Raises DataError where there is no table, too few files or groups to split, or a table is not to be read.
    """
    if path.is_dir():
        return _folder(path, options)
    sheet = _sheet(existing(path, "a table, or of a folder of them"), options)
    if options.group is None:
        ((_, stream),) = sheet.sequences.items()
        cuts = _cuts.by_time(len(stream.frames), valid=options.valid, test=options.test, length=options.length)
        found = {name: [(stream, a, b) for a, b in stretches] for name, stretches in cuts.items()}
    else:
        parts = _parts.split_by(list(sheet.sequences), str, valid=options.valid, test=options.test)
        if not parts[TRAIN]:
            raise DataError(f"{path} has {len(sheet.sequences)} groups, too few to hold some out for valid and test")
        found = {
            name: [piece for label in labels for piece in _pieces(sheet.sequences[label], options)]
            for name, labels in parts.items()
        }
    return DataSet(
        splits={
            name: Split(sequences=len(pieces), read=partial(_arrays, path, sheet, pieces, options))
            for name, pieces in found.items()
            if pieces
        },
        **_named(path, sheet, options),
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """A file of sensors a split, as CSV."""
    for split in (TRAIN, VALID, TEST):
        (folder / split).mkdir()
        tables.write_example(folder / split, generator)
    return folder


def _folder(path: Path, options: Options) -> DataSet:
    if options.group is not None:
        raise DataError(f"{path} is a folder, of a sequence a file: group is for a file of its own")
    files = _parts.files_by_split(
        path, tables.SUFFIXES, valid=options.valid, test=options.test, whole_folders=options.whole == "folder"
    )
    first = min(file for chosen in files.values() for file in chosen)
    named = _named(first, _sheet(first, options), options)
    alike = replace(options, channels=named["channels"])

    def read(chosen: list[Path]) -> Iterator[ndarray]:
        for file in chosen:
            sheet = _sheet(file, alike)
            (stream,) = sheet.sequences.values()
            yield from _arrays(file, sheet, _pieces(stream, options), alike)

    def count(chosen: list[Path]) -> int:
        return len(chosen) if options.length is None else sum(1 for _ in read(chosen))

    return DataSet(
        splits={name: Split(sequences=count(chosen), read=partial(read, chosen)) for name, chosen in files.items()},
        **named,
    )


def _named(path: Path, sheet: tables.Sheet, options: Options) -> dict[str, Any]:
    """What a table's columns are called: those that are observed, and those that are inputs. Raises DataError."""
    inputs = _inputs(path, sheet, options)
    names = tuple(map(str, sheet.channels))
    observed = tuple(name for place, name in enumerate(names) if place not in inputs)
    if not observed:
        raise DataError(f"{path} has inputs, but no channels: every column is named in `inputs`")
    moved = (*(names[place] for place in inputs), *options.of_calendar)
    called = {"input_size": len(moved), "inputs": moved} if moved else {}
    return {"observation_size": len(observed), "channels": observed, **called}


def _inputs(path: Path, sheet: tables.Sheet, options: Options) -> list[int]:
    """Where the inputs stand among the channels of a table, in the order they are named in. Raises DataError."""
    places = []
    for wanted in options.of_columns:
        called = [(str(channel), channel.name, channel.name.partition("=")[0]) for channel in sheet.channels]
        found = [place for place, names in enumerate(called) if wanted in names]
        if not found:
            there = ", ".join(map(str, sheet.channels))
            raise DataError(f"{path} has no column {wanted} to be an input; it has {there}")
        places += [place for place in found if place not in places]
    return places


def _arrays(path: Path, sheet: tables.Sheet, pieces: list[Piece], options: Options) -> Sequences:
    """Pieces of sequences as float32, with inputs and dt where there are some. Raises DataError."""
    return [_array(path, sheet, piece, options) for piece in pieces]


def _array(path: Path, sheet: tables.Sheet, piece: Piece, options: Options) -> ndarray:
    stream, start, end = piece
    # What is beyond float32 is an infinity, which is refused below; a NaN that signals is as missing as any other.
    with np.errstate(over="ignore", invalid="ignore"):
        frames = stream.frames[start:end].astype(np.float32)
    if bool(np.isinf(frames).any()):
        raise DataError(f"{path} holds numbers that are infinite as float32: change their unit")
    places = _inputs(path, sheet, options)
    if not places and stream.times is None:
        return frames
    dt = None if stream.times is None else np.diff(stream.times, prepend=np.nan)[start:end]
    inputs = frames[:, places]
    if bool(np.isnan(inputs).any()):
        row, column = np.argwhere(np.isnan(inputs))[0]
        name, number = sheet.channels[places[column]], stream.rows[start + row] + 1
        raise DataError(
            f"{path} has no value of the input {name} in row {number}: inputs may not be missing; fill them, or let "
            "the column be a channel"
        )
    times = None if stream.times is None else stream.began + stream.times[start:end]
    if times is not None and options.of_calendar:
        inputs = np.concatenate([inputs, _calendar(path, times, options)], axis=1)
    given = inputs if inputs.shape[1] else None
    return Driven(np.delete(frames, places, axis=1), inputs=given, dt=dt, times=times)


def _calendar(path: Path, times: ndarray, options: Options) -> ndarray:
    """The inputs that the calendar gives at these times. Raises DataError where they are no dates."""
    if not calendar.are_dates(times):
        raise DataError(
            f"{path} has times in {options.time!r} from {times[0]:g} to {times[-1]:g}, which are no dates: the "
            "calendar takes ISO 8601, or numbers since 1970"
        )
    return calendar.inputs_at(times, options.of_calendar).astype(np.float32)


def _pieces(stream: tables.Sequence, options: Options) -> list[Piece]:
    return [(stream, a, b) for a, b in _cuts.shorter(0, len(stream.frames), options.length)]


def _sheet(path: Path, options: Options) -> tables.Sheet:
    """What a table holds; its time does not go back. Raises DataError."""
    with _told():
        try:
            there = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        return _read(path, there.st_mtime_ns, there.st_size, options)


@lru_cache(maxsize=1)
def _read(path: Path, written: int, size: int, options: Options) -> tables.Sheet:
    """The last file that was read, which describing and loading each of its splits ask for in turn."""
    sheet = tables.sheet(str(path), options.of_source)
    for sequence in sheet.sequences.values():
        if sequence.times is not None:
            tables.in_time(str(path), sequence)
    return sheet


@contextmanager
def _told() -> Iterator[None]:
    """The reader's errors in the library's terms."""
    try:
        yield
    except avf_sources.SourceError as error:
        raise DataError(str(error)) from error
