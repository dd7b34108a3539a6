"""Cells of text as values, a block of rows at a time: numbers, labels and times.

The law: a number is what Python's float takes, with a point, or with a comma where the file has decimal commas; a
column has one of the two. Times are all numbers, or all ISO 8601, and all with a zone or all without one.
"""

from array import array
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from avf_sources import Decimal, SourceError
from avf_sources._columns import MISSING, Column, Role, check_labels

_NAN = float("nan")
_WORDS = {**dict.fromkeys(MISSING, _NAN), "true": 1.0, "false": 0.0}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class Numbers:
    """A column of numbers, until a cell is none. `decimal` None: what comes first in the column, point or comma."""

    def __init__(self, name: str, heading: str, decimal: Decimal | None) -> None:
        self._name, self._heading, self._decimal = name, heading, decimal
        self._values = array("d")
        self._text: str | None = None

    def add(self, cells: Sequence[str]) -> None:
        """The cells of the rows that follow."""
        if self._text is not None:
            return
        joined = "".join(cells)
        if self._decimal is None and ("," in joined or "." in joined):
            self._settle(joined)
        if "_" not in joined and (self._decimal != "," or "." not in joined):  # Python's float takes 1_000
            try:
                self._values.extend(list(map(float, cells)))
                return
            except ValueError:
                pass
        for cell in cells:
            self._values.append(self._number(cell))
            if self._text is not None:
                return

    def column(self) -> Column:
        """What the column holds."""
        return Column(heading=self._heading, values=np.array(self._values), text=self._text)

    def _settle(self, joined: str) -> None:
        """Point or comma, by the cells that have them first; both at once cannot be told."""
        if "," in joined and "." in joined:
            raise SourceError(
                f"{self._name} has points and commas in {self._heading!r}: say which stands before decimals, "
                "decimal '.' or ','; or ignore the column"
            )
        self._decimal = "," if "," in joined else "."

    def _number(self, cell: str) -> float:
        plain = cell.strip()
        word = plain.lower()
        if word in _WORDS:
            return _WORDS[word]
        if self._decimal == ",":
            plain = "?" if "." in plain else plain.replace(",", ".", 1)
        try:
            if "_" not in plain:
                return float(plain)
        except ValueError:
            pass
        self._text = f"{cell[:40]!r} in row {len(self._values) + 1}"
        return _NAN


class Labels:
    """A column of labels, few of them unless it says which sequence a row belongs to."""

    def __init__(self, name: str, heading: str, *, group: bool) -> None:
        self._name, self._heading, self._group = name, heading, group
        self._places: dict[str, int] = {}
        self._values = array("d")

    def add(self, cells: Sequence[str]) -> None:
        """The cells of the rows that follow."""
        places = self._places
        for cell in cells:
            label = cell.strip()
            self._values.append(_NAN if label.lower() in MISSING else places.setdefault(label, len(places)))
        if not self._group:
            check_labels(self._name, self._heading, len(places))

    def column(self) -> Column:
        """What the column holds."""
        return Column(heading=self._heading, values=np.array(self._values), labels=tuple(self._places))


class Times:
    """A column of times: ISO 8601, or numbers."""

    def __init__(self, name: str, heading: str, decimal: Decimal | None) -> None:
        self._name, self._heading = name, heading
        self._numbers = Numbers(name, heading, decimal)
        self._values = array("d")
        self._zoned: bool | None = None
        self._iso: bool | None = None

    def add(self, cells: Sequence[str]) -> None:
        """The cells of the rows that follow. Raises SourceError where one is no time."""
        if self._iso is None:
            self._iso = not self._is_number(cells[0])
        if not self._iso:
            self._numbers.add(cells)
            if text := self._numbers.column().text:
                raise self._none(text)
            return
        for cell in cells:
            self._values.append(self._seconds(cell.strip()))

    def column(self) -> Column:
        """What the column holds."""
        if not self._iso:
            return self._numbers.column()
        return Column(heading=self._heading, values=np.array(self._values))

    def _is_number(self, cell: str) -> bool:
        probe = Numbers(self._name, self._heading, None)
        probe.add([cell])
        return probe.column().text is None

    def _seconds(self, cell: str) -> float:
        row = len(self._values) + 1
        try:
            when = datetime.fromisoformat(cell)
        except ValueError as error:
            raise self._none(f"{cell[:40]!r} in row {row}") from error
        zoned = when.tzinfo is not None
        if self._zoned not in (None, zoned):
            raise SourceError(f"{self._name} has times with a zone and without in {self._heading!r}, row {row}")
        self._zoned = zoned
        return ((when if zoned else when.replace(tzinfo=UTC)) - _EPOCH) / _SECOND

    def _none(self, text: str) -> SourceError:
        return SourceError(
            f"{self._name} has no time in {self._heading!r} ({text}): expected ISO 8601, such as "
            "2024-05-01T12:00:00Z, or numbers, all of one form"
        )


Cells = Numbers | Labels | Times


def cells(name: str, heading: str, role: Role, *, decimal: Decimal | None, group: bool) -> Cells | None:
    """What takes the cells of a column of this role."""
    match role:
        case "numbers":
            return Numbers(name, heading, decimal)
        case "labels":
            return Labels(name, heading, group=group)
        case "times":
            return Times(name, heading, decimal)
        case "nothing":
            return None
