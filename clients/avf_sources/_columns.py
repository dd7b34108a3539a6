"""What a column of a table becomes: numbers, labels or times; by what is wanted of it, not by guessing.

The law: a missing value is NaN, whatever the file writes for it. A column in which one value is no number has no
numbers, and says where that one stands. Times are seconds, in float64.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avf_sources import Options, SourceError
from avf_sources._channels import picked, place, told

Array = NDArray[np.float64]
Role = Literal["numbers", "labels", "times", "nothing"]
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none"})
MOST_COLUMNS = 4096
MOST_LABELS = 256
_SCALES = ((1e17, 1e-9, "nanoseconds"), (1e14, 1e-6, "microseconds"), (1e11, 1e-3, "milliseconds"))
"""From which size on numbers are no seconds since 1970: 1e11 of them are three thousand years."""
_FARTHEST = 1e19  # nanoseconds since 1970: three hundred years


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """A column: numbers, times in seconds, or indices of `labels`; NaN where one is missing.

    `text` says why these are no numbers, where a column has none; its values mean nothing then.
    """

    heading: str
    values: Array
    labels: tuple[str, ...] | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Columns of as many values each, those of no role left out of `columns`; `headings` has them all."""

    headings: tuple[str, ...]
    columns: dict[int, Column]
    rows: int
    remarks: tuple[str, ...] = ()


def roles(name: str, headings: Sequence[str], options: Options) -> list[Role]:
    """What is wanted of each column. Raises SourceError for names that no column has, and for two that exclude."""
    _check_headings(name, headings)
    found: list[Role] = ["numbers" if heading.strip() else "nothing" for heading in headings]
    chosen: set[int] = set()
    if options.channels is not None:
        found = ["nothing"] * len(headings)
        for pick in picked(name, headings, options.channels):
            found[pick.column] = "numbers" if pick.value is None else "labels"
            chosen.add(pick.column)
    for heading in options.categorical:
        i = place(name, headings, heading)
        if options.channels is not None and found[i] != "labels":
            raise SourceError(
                f"{heading!r} is categorical, and channels name no value of it: name them, such as '{heading}=on'"
            )
        found[i] = "labels"
        chosen.add(i)
    others: list[tuple[str | None, Role]] = [(heading, "nothing") for heading in options.ignore]
    for wanted, role in [*others, (options.group, "labels"), (options.time, "times")]:
        if wanted is not None:
            i = place(name, headings, wanted)
            if i in chosen:
                raise SourceError(f"{wanted!r} of {name} is wanted twice: as channel, category, group, time or ignored")
            found[i] = role
            chosen.add(i)
    return found


def check_labels(name: str, heading: str, count: int) -> None:
    """Raise SourceError where so many labels are too many for a channel each."""
    if count > MOST_LABELS:
        raise SourceError(f"{name} has more than {MOST_LABELS} values in {heading!r}: too many for a channel each")


def refuse_infinities(name: str, column: Column) -> None:
    """Raise SourceError where a number is beyond float64."""
    at = np.flatnonzero(np.isinf(column.values))
    if at.size:
        raise SourceError(
            f"{name} has an infinity in {column.heading!r}, row {at[0] + 1}: expected finite numbers, and nothing "
            "where one is missing"
        )


def seconds(name: str, column: Column) -> tuple[Array, list[str]]:
    """Numbers as seconds: those too large to be seconds since 1970 are thousandths of them, or less."""
    if not np.isfinite(column.values).all():
        row = int(np.flatnonzero(~np.isfinite(column.values))[0]) + 1
        raise SourceError(f"{name} has no time in {column.heading!r}, row {row}: fill it, or leave the row out")
    if (np.abs(column.values) > _FARTHEST).any():
        row = int(np.flatnonzero(np.abs(column.values) > _FARTHEST)[0]) + 1
        raise SourceError(
            f"{name} has no time in {column.heading!r}, row {row}: {column.values[row - 1]:g} is beyond all"
        )
    largest = float(np.median(np.abs(column.values))) if len(column.values) else 0.0
    for least, scale, what in _SCALES:
        if largest > least:
            return column.values * scale, [f"The times in {column.heading!r} are taken as {what} since 1970."]
    return column.values, []


def indicators(name: str, column: Column, expected: Sequence[str] | None) -> Iterator[tuple[str, Array]]:
    """A channel for each label, in their order: 1 where it stands, 0 where another does, NaN where none does.

    Raises SourceError for labels that are not `expected`.
    """
    labels = column.labels or ()
    wanted = sorted(labels) if expected is None else expected
    strange = sorted(set(labels) - set(wanted))
    if strange:
        raise SourceError(
            f"{name} has {told(strange)} in {column.heading!r}, which no channel stands for; expected {told(wanted)}"
        )
    missing = np.isnan(column.values)
    for label in wanted:
        index = labels.index(label) if label in labels else -1
        yield label, np.where(missing, np.nan, (column.values == index).astype(np.float64))


def _check_headings(name: str, headings: Sequence[str]) -> None:
    if len(headings) > MOST_COLUMNS:
        raise SourceError(
            f"{name} has {len(headings)} columns, more than the {MOST_COLUMNS} that are read: take the ones that you "
            "need, or store an array as .npy"
        )
    named = [heading for heading in headings if heading.strip()]
    twice = sorted({heading for heading in named if named.count(heading) > 1}) if len(set(named)) < len(named) else []
    if twice:
        raise SourceError(f"{name} has several columns {told(twice)}: give each a name of its own")
