"""The columns of a table as channels: names with units, and the ones that are wanted, found by name and never by place.

The law: a channel that is expected is there, in no other unit, or the error names it. `temp [degC]` and `wind (m/s)`
are names with units; a column is meant by its whole heading, or by its name where only one has it. `state=on` is the
channel that is 1 where the column `state` says `on`, and 0 where it says anything else.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from avf_sources._errors import SourceError

_UNIT = re.compile(r"(.*\S)\s*(?:\[([^\[\]]*)\]|\(([^()]*)\))")
_MOST_TOLD = 20


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A dimension of observations: its name, and the unit of its numbers where one is said."""

    name: str
    unit: str | None = None

    def __str__(self) -> str:
        return self.name if self.unit is None else f"{self.name} [{self.unit}]"


@dataclass(frozen=True)
class Pick:
    """A column by its place, or whether it says this value."""

    column: int
    value: str | None = None


def channel(heading: str) -> Channel:
    """The channel of a column of this heading."""
    heading = heading.strip()
    found = _UNIT.fullmatch(heading)
    if found is None:
        return Channel(name=heading)
    return Channel(name=found[1], unit=(found[2] if found[2] is not None else found[3]).strip() or None)


def place(name: str, headings: Sequence[str], wanted: str) -> int:
    """Which column is meant by `wanted`. Raises SourceError where none is, several are, or its unit is another."""
    found = _meant(name, headings, wanted)
    if found is None:
        raise SourceError(f"{name} has no column {wanted!r}; it has {told(headings)}")
    return found


def picked(name: str, headings: Sequence[str], expected: Iterable[str]) -> list[Pick]:
    """The columns that these channels are of, in their order. Raises SourceError for the first that is not there."""
    picks = []
    for wanted in expected:
        column, value = _meant(name, headings, wanted), None
        if column is None and "=" in wanted:
            heading, _, value = wanted.partition("=")
            column = _meant(name, headings, heading)
        if column is None:
            raise SourceError(f"{name} has no column {wanted!r}, a channel that is expected; it has {told(headings)}")
        picks.append(Pick(column, value))
    if len(set(picks)) < len(picks):
        raise SourceError(f"channels name a column of {name} twice: {told(list(expected))}")
    return picks


def in_other_order(picks: Iterable[Pick]) -> bool:
    """Whether a file has its columns in another order than they are wanted in."""
    return any(a.column > b.column for a, b in pairwise(picks))


def without_unit(headings: Sequence[str], picks: Sequence[Pick], expected: Sequence[str]) -> list[str]:
    """The channels that are expected in a unit, of columns that say none."""
    pairs = ((channel(headings[pick.column]), channel(wanted)) for pick, wanted in zip(picks, expected, strict=True))
    return [str(wanted) for there, wanted in pairs if wanted.unit is not None and there.unit is None]


def told(names: Sequence[str]) -> str:
    """Names for people, the first of many."""
    shown = ", ".join(map(repr, names[:_MOST_TOLD]))
    return f"{shown} and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else shown


def _meant(name: str, headings: Sequence[str], wanted: str) -> int | None:
    if wanted in headings:
        return headings.index(wanted)
    sought = channel(wanted)
    same = [i for i, heading in enumerate(headings) if channel(heading).name == sought.name]
    if len(same) > 1:
        raise SourceError(f"{name} has several columns {sought.name!r}, name one with its unit: {told(headings)}")
    if not same:
        return None
    unit = channel(headings[same[0]]).unit
    if None not in (sought.unit, unit) and sought.unit != unit:
        raise SourceError(
            f"{name} has {sought.name!r} in {unit}, expected {sought.unit}: convert it, or change its heading"
        )
    return same[0]
