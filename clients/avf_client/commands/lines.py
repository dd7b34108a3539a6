"""Rows from standard input, as they come, for `avf stream -`: lines of CSV, with a heading or without, or of JSON.

    tail -n +1 -f plant.csv | avf stream - --model plant --time when

The law: columns are found by the names of the model's channels, whatever their order, and one that is absent, or has
another unit, is an error that names it, as is a time that goes back. Lines without a heading hold the model's channels
in its order, after them its inputs, before them, where there is one cell more, the time.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import avf_wire as wire
import numpy as np
from avf_sources import Recording
from avf_sources._channels import channel
from avf_sources._columns import MISSING
from rich.console import Console

from avf_client.blocking.client import Session
from avf_client.commands.describe import describer
from avf_client.commands.view import open_view
from avf_client.commands.watch import tell_alarm
from avf_client.core.units import Watch
from avf_client.errors import InvalidArgument
from avf_client.observations import Step
from avf_client.results.estimates import Estimate

NAME = "standard input"
DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What lines hold: channels, inputs, and the column of times, by name."""

    channels: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    time: str | None = None
    timed: bool = False

    @classmethod
    def of(
        cls, info: wire.ModelInfo, *, channels: Sequence[str] = (), inputs: Sequence[str] = (), time: str | None = None
    ) -> "Wanted":
        """Of a model, by its own names where none are given. Raises InvalidArgument."""
        observed = tuple(channels) or tuple(info.channels or map(str, range(info.observation_size)))
        moved = tuple(inputs) or tuple(info.inputs or map(str, range(info.input_size)))
        for names, what, size in ((observed, "channels", info.observation_size), (moved, "inputs", info.input_size)):
            if len(names) != size:
                raise InvalidArgument(f"{len(names)} {what} are named for the {size} of {info.name}: name each")
        if info.calendar and time is None:
            raise InvalidArgument(f"the model {info.name} hears the calendar: name the column of times by --time")
        return cls(channels=observed, inputs=moved, time=time, timed=info.timed)


@dataclass(kw_only=True)
class Tally:
    """What a stream came to, of which nothing else is kept: it may have no end."""

    model: str
    steps: int = 0
    alarms: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, estimate: Estimate) -> None:
        """One more."""
        self.steps += 1
        self.alarms += bool(estimate.alarm and estimate.alarm.raised)
        for name in ("free_energy", "reconstruction", "kl"):
            self.sums[name] = self.sums.get(name, 0.0) + float(getattr(estimate, name))

    def mean(self, name: str) -> float | None:
        """Nats per step; None where there are none."""
        return self.sums[name] / self.steps if self.steps else None

    @property
    def mean_free_energy(self) -> float | None:
        """Nats per step."""
        return self.mean("free_energy")


def follow(
    session: Session,
    lines: Iterable[str],
    wanted: Wanted,
    *,
    info: wire.ModelInfo,
    console: Console,
    limit: int | None = None,
) -> Tally:
    """Stream lines through a session as they come, until they end or Ctrl-C, and show each estimate.

    Numbers that look as if they were in other units than the model's are told by name.
    """
    tally = Tally(model=session.info.model)
    shown = Recording(
        name=NAME,
        frames=np.zeros((0, len(wanted.channels))),
        channels=tuple(channel(name) for name in wanted.channels),
    )
    heard: list[Step] = []
    units = Watch(info=info)

    def source() -> Iterator[Step]:
        for number, step in enumerate(steps(lines, wanted), 1):
            heard.append(step)
            for text in units.warnings(np.asarray(step.x, dtype=np.float64)):
                console.print(f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)
            yield step
            if number == limit:
                return

    title = f"{NAME} through {session.info.model}"
    with open_view(console, describer(shown), title=title) as view:
        try:
            for estimate in session.stream(source(), in_flight=1):
                view.add(np.asarray(heard.pop(0).x, dtype=np.float64), estimate)
                tally.add(estimate)
                tell_alarm(console, estimate)
        except KeyboardInterrupt:
            console.print("stopped", highlight=False)
    return tally


@dataclass(kw_only=True)
class Clock:
    """The times of lines, which go on."""

    column: str | None
    last: float | None = None

    def read(self, row: Mapping[str, Any], number: int) -> float | None:
        """When a row was; None where nothing says so. Raises InvalidArgument where it is before the last one."""
        if self.column is None:
            return None
        if self.column not in row:
            raise InvalidArgument(f"line {number} has no {self.column!r}, the time; it has {', '.join(row)}")
        time = _seconds(row[self.column], number)
        if self.last is not None and time < self.last:
            raise InvalidArgument(
                f"line {number} goes back in time: {self.column} is {row[self.column]}, "
                f"{self.last - time:g} s before the line that precedes it; expected lines in the order of time"
            )
        self.last = time
        return time


def steps(lines: Iterable[str], wanted: Wanted) -> Iterator[Step]:
    """The observations that lines hold. Raises InvalidArgument, which names the line and the column."""
    delimiter, places, clock = None, None, Clock(column=wanted.time)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if line.lstrip().startswith("{"):
            yield _step(_object(line, number), wanted, number, clock)
            continue
        if delimiter is None:
            delimiter = max(DELIMITERS, key=line.count)
        cells = next(csv.reader([line], delimiter=delimiter))
        if places is None:
            places = _places(cells, wanted)
            if not _is_row(cells, wanted):
                continue
        if len(cells) < len(places):
            raise InvalidArgument(f"line {number} has {len(cells)} cells, expected {len(places)}")
        yield _step({name: cells[place] for name, place in places.items()}, wanted, number, clock)


def _step(row: Mapping[str, Any], wanted: Wanted, number: int, clock: "Clock") -> Step:
    found = _by_name(row, wanted, number)
    observed = np.array([_number(found[name], name, number) for name in wanted.channels])
    inputs = [_number(found[name], name, number) for name in wanted.inputs]
    for name, value in zip(wanted.inputs, inputs, strict=True):
        if np.isnan(value):
            raise InvalidArgument(f"line {number} has no value of the input {name}: inputs may not be missing")
    time = clock.read(row, number)
    return Step(observed, np.array(inputs) if inputs else None, time if wanted.timed else None)


def _by_name(row: Mapping[str, Any], wanted: Wanted, number: int) -> dict[str, Any]:
    """The cells of a row by the model's names."""
    found = {}
    for name in (*wanted.channels, *wanted.inputs):
        key = name if name in row else _heading(name, list(row), number)
        found[name] = row[key]
    return found


def _heading(name: str, headings: Sequence[str], number: int) -> str:
    """The heading of this channel. Raises InvalidArgument where there is none, or it has another unit."""
    asked = channel(name)
    for heading in headings:
        there = channel(heading)
        if there.name != asked.name:
            continue
        if there.unit is not None and asked.unit is not None and there.unit != asked.unit:
            raise InvalidArgument(f"line {number} has {asked.name} in {there.unit}, the model's is in {asked.unit}")
        return heading
    raise InvalidArgument(f"line {number} has no {name!r}, a channel that is expected; it has {', '.join(headings)}")


def _places(cells: Sequence[str], wanted: Wanted) -> dict[str, int]:
    """Where the columns are: by a heading, or by their order."""
    if not _is_row(cells, wanted):
        return {cell.strip(): place for place, cell in enumerate(cells)}
    names = (*wanted.channels, *wanted.inputs)
    before = len(cells) - len(names)
    if before not in (0, 1):
        raise InvalidArgument(
            f"the first line has {len(cells)} cells and no names of columns, expected the {len(names)} of the model, "
            "or one more, the time, before them"
        )
    timed = {wanted.time or "time": 0} if before else {}
    return {**timed, **{name: place + before for place, name in enumerate(names)}}


def _is_row(cells: Sequence[str], wanted: Wanted) -> bool:
    """Whether these are values rather than names: the last one is a number, or missing."""
    try:
        _number(cells[-1], "", 1)
    except InvalidArgument:
        return False
    return not any(cell.strip() in wanted.channels for cell in cells)


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise InvalidArgument(f"line {number} is no JSON: {error}") from error
    return dict(found)


def _number(cell: Any, name: str, number: int) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return float("nan")
    try:
        return float(cell)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"line {number} has {cell!r} for {name}, expected a number") from error


def _seconds(cell: Any, number: int) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        pass
    try:
        when = datetime.fromisoformat(str(cell).strip())
    except ValueError as error:
        raise InvalidArgument(f"line {number} has no time ({cell!r}): expected ISO 8601, or seconds") from error
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
