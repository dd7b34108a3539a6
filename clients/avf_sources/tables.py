"""Tables of columns: CSV and TSV, and Parquet and Feather (Arrow IPC) by pyarrow; a row is a time step.

The law: columns are found by name, never by place. Columns of numbers are the channels, in the file's order, unless
`Options.channels` says which; what is left out is said by its name. Missing values are NaN. Time may not go back; steps
that are uneven stay as they are, and are said. `Options.group` makes a sequence of the rows that say the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avf_sources import Channel, Options, Recording, SourceError, _arrow, _csv, existing
from avf_sources._channels import channel, in_other_order, picked, place, told, without_unit
from avf_sources._columns import Array, Column, Table, indicators, refuse_infinities, seconds

SUFFIXES: tuple[str, ...] = (".csv", ".tsv", ".parquet", ".feather", ".arrow")
SCHEMES: tuple[str, ...] = ()

_TEXT = (".csv", ".tsv")
_FLOAT64 = 8  # bytes
_UNEVEN = 0.01
"""How much a step of time may differ from the median one, as a part of it, and be even."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequence:
    """Rows of a table that belong together: when they are, in seconds from the first, and which rows of the file.

    `began` is when the first is, by the column itself: seconds since 1970 of dates.
    """

    frames: Array
    times: Array | None
    rows: NDArray[np.intp]
    began: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """What a table holds: its channels, its sequences by the group that they are of, and what is to be said of it."""

    channels: tuple[Channel, ...]
    sequences: dict[str, Sequence]
    remarks: tuple[str, ...]


def read(name: str, options: Options) -> Recording:
    """The rows of a table, or of the sequence `options.key` of it. Raises SourceError, and MissingExtra."""
    found = sheet(name, options)
    key = options.key
    if key is None and len(found.sequences) > 1:
        raise SourceError(f"{name} has several sequences, name one with --key: {told(list(found.sequences))}")
    if key is not None and (options.group is None or key not in found.sequences):
        there = "no group is named" if options.group is None else f"there are {told(list(found.sequences))}"
        raise SourceError(f"{name} has no sequence {key!r}: {there}")
    chosen = next(iter(found.sequences.values())) if key is None else found.sequences[key]
    said = [] if chosen.times is None else in_time(name, chosen)
    return Recording(
        name=Path(name).name if key is None else f"{Path(name).name}[{key}]",
        frames=chosen.frames,
        remarks=(*found.remarks, *said),
        channels=found.channels,
        times=chosen.times,
        began=chosen.began,
    )


def sheet(name: str, options: Options) -> Sheet:
    """All of a table, whatever its times are. Raises SourceError, and MissingExtra."""
    path = existing(name)
    table = (_csv if path.suffix.lower() in _TEXT else _arrow).read(name, path, options)
    remarks = [*table.remarks]
    channels, columns = _chosen(name, table, options, remarks)
    options.check_bytes(name, table.rows * len(channels) * _FLOAT64)
    frames = np.stack(columns, axis=1)
    times = None
    if options.time is not None:
        times, said = seconds(name, table.columns[place(name, table.headings, options.time)])
        remarks += said
    sequences = {
        label: Sequence(
            frames=frames[rows],
            times=None if times is None else times[rows] - times[rows[0]],
            rows=rows,
            began=0.0 if times is None else float(times[rows[0]]),
        )
        for label, rows in _groups(name, table, options)
    }
    return Sheet(channels=channels, sequences=sequences, remarks=tuple(remarks))


def in_time(name: str, sequence: Sequence) -> list[str]:
    """What is to be said of a sequence's times. Raises SourceError where they go back."""
    assert sequence.times is not None
    steps = np.diff(sequence.times)
    back = np.flatnonzero(steps < 0)
    if back.size:
        raise SourceError(
            f"{name} goes back in time: row {sequence.rows[back[0] + 1] + 1} is {-steps[back[0]]:g} s before the row "
            "that precedes it; sort the rows by time"
        )
    same, step, uneven = steps_of(steps)
    said = [f"{same} rows are at the time of the row before."] if same else []
    if uneven:
        said.append(
            f"Steps of time are uneven: the median is {step:g} s, {uneven:.1%} of them are others; rows stay "
            "as they are."
        )
    return said


def steps_of(steps: Array) -> tuple[int, float, float]:
    """Of steps of time: how many are 0, the median of the others, and which part of all is far from it."""
    ahead = steps[steps > 0]
    if not ahead.size:
        return len(steps), 0.0, 0.0
    median = float(np.median(ahead))
    return int(np.count_nonzero(steps == 0)), median, float(np.mean(np.abs(steps - median) > _UNEVEN * median))


def write_example(folder: Path, generator: np.random.Generator) -> str:
    """Two sensors with units, and a gap."""
    path = folder / "example.csv"
    rows = [f"{i},{a:.4f},{b:.4f}" for i, (a, b) in enumerate(generator.normal(size=(12, 2)))]
    rows[4] = "4,,0.5000"
    path.write_text("\n".join(["n,temp [degC],wind (m/s)", *rows, ""]))
    return str(path)


def _chosen(name: str, table: Table, options: Options, remarks: list[str]) -> tuple[tuple[Channel, ...], list[Array]]:
    """The channels that are read, and their numbers. Raises SourceError where there are none."""
    found = list(_expected(name, table, options, remarks) if options.channels else _all(name, table, options, remarks))
    if not found:
        raise SourceError(
            f"{name} has no column of numbers; it has {told(table.headings)}: name columns of text in categorical"
        )
    return tuple(each for each, _ in found), [values for _, values in found]


def _expected(name: str, table: Table, options: Options, remarks: list[str]) -> Iterator[tuple[Channel, Array]]:
    """The channels that are named, in that order."""
    picks = picked(name, table.headings, options.channels or ())
    if in_other_order(picks):
        remarks.append("Columns stand in another order in the file: they are taken by their names.")
    if unsaid := without_unit(table.headings, picks, options.channels or ()):
        remarks.append(f"Columns say no unit, and are taken for what is expected: {told(unsaid)}.")
    for pick in picks:
        column = table.columns[pick.column]
        if pick.value is None:
            _check_numbers(name, column)
            yield channel(column.heading), column.values
        else:
            values = [each.value for each in picks if each.column == pick.column and each.value is not None]
            found = dict(indicators(name, column, values))
            yield Channel(name=f"{column.heading}={pick.value}"), found[pick.value]


def _all(name: str, table: Table, options: Options, remarks: list[str]) -> Iterator[tuple[Channel, Array]]:
    """All columns of numbers, and the values of those that are categorical, in the file's order."""
    categorical = {place(name, table.headings, heading) for heading in options.categorical}
    aside = {place(name, table.headings, heading) for heading in (options.group, options.time) if heading is not None}
    for i, column in table.columns.items():
        if i in categorical:
            for label, values in indicators(name, column, None):
                yield Channel(name=f"{column.heading}={label}"), values
        elif i in aside:
            continue
        elif column.text is not None:
            remarks.append(
                f"The column {column.heading!r} is left out, it is no numbers: {column.text}; categorical reads values."
            )
        elif np.isnan(column.values).all():
            remarks.append(f"The column {column.heading!r} is left out, it is empty.")
        else:
            _check_numbers(name, column)
            if options.time is None and len(column.values) > 2 and (column.values[1:] > column.values[:-1]).all():
                remarks.append(
                    f"The column {column.heading!r} rises with every row: if it is the time, name it by time."
                )
            yield channel(column.heading), column.values
    unnamed = sum(not heading.strip() for heading in table.headings)
    if unnamed:
        remarks.append(f"{unnamed} columns without a name are left out.")


def _check_numbers(name: str, column: Column) -> None:
    if column.text is not None:
        raise SourceError(f"{name} has no numbers in {column.heading!r}, a channel that is expected: {column.text}")
    refuse_infinities(name, column)


def _groups(name: str, table: Table, options: Options) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """The rows of each sequence, by what its group is called, in the order of their first rows."""
    if options.group is None:
        yield "", np.arange(table.rows)
        return
    column = table.columns[place(name, table.headings, options.group)]
    missing = np.flatnonzero(np.isnan(column.values))
    if missing.size:
        raise SourceError(
            f"{name} has no group in {options.group!r}, row {missing[0] + 1}: fill it, or leave the row out"
        )
    order = np.argsort(column.values, kind="stable")
    bounds = np.searchsorted(column.values[order], np.arange(len(column.labels or ()) + 1))
    for index, label in enumerate(column.labels or ()):
        yield label, order[bounds[index] : bounds[index + 1]]
