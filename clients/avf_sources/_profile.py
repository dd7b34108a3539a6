"""What is in a file before anything is made of it: its channels in figures, its times, and what looks odd.

The law: nothing is refused here that can be told. Figures are of what is there, without what is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from avf_sources import Channel, Options, find, read, tables
from avf_sources._columns import Array

FAR = 20.0
"""Robust deviations (1.4826 times the median distance from the median) beyond which a value is an outlier."""
_NORMAL = 1.4826
_FEW, _ENOUGH = 10, 30
"""So few whole numbers, of so many values, look like categories."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A channel: its smallest, middle and largest value, None where there is none, and the share that is missing."""

    name: str
    unit: str | None
    minimum: float | None
    median: float | None
    maximum: float | None
    missing: float


@dataclass(frozen=True, kw_only=True)
class Times:
    """The steps of time, over all sequences: the median in seconds, the share that is far from it, and odd rows."""

    step: float
    uneven: float
    repeated: int
    backward: int


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a file holds. `remarks` say what was done to it, `warnings` what looks odd in it."""

    name: str
    rows: int
    sequences: int
    channels: tuple[Figures, ...]
    times: Times | None
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]


def profile(name: str, options: Options, *, kind: str | None = None) -> Profile:
    """The profile of whatever can be streamed; of a table, of all its sequences. Raises SourceError."""
    sheet = tables.sheet(name, options) if find(name, kind) is tables else _sheet(name, options, kind)
    frames = [sequence.frames for sequence in sheet.sequences.values()]
    columns = np.concatenate(frames).T
    times = _times(sheet)
    warnings = list(_of_times(times))
    for channel, values in zip(sheet.channels, columns, strict=True):
        warnings += [f"{channel}: {text}" for text in _odd(values[~np.isnan(values)])]
    return Profile(
        name=name,
        rows=sum(map(len, frames)),
        sequences=len(frames),
        channels=tuple(_figures(channel, values) for channel, values in zip(sheet.channels, columns, strict=True)),
        times=times,
        remarks=sheet.remarks,
        warnings=tuple(warnings),
    )


def _sheet(name: str, options: Options, kind: str | None) -> tables.Sheet:
    """What is no table as one."""
    recording = read(name, options, kind=kind)
    size = recording.frames.shape[1]
    sequence = tables.Sequence(frames=recording.frames, times=recording.times, rows=np.arange(len(recording.frames)))
    return tables.Sheet(
        channels=recording.channels or tuple(Channel(name=f"x{d}") for d in range(size)),
        sequences={"": sequence},
        remarks=recording.remarks,
    )


def _figures(channel: Channel, values: Array) -> Figures:
    there = values[~np.isnan(values)]
    found = [float(f(there)) for f in (np.min, np.median, np.max)] if there.size else [None] * 3
    missing = 1.0 - there.size / values.size
    return Figures(
        name=channel.name, unit=channel.unit, minimum=found[0], median=found[1], maximum=found[2], missing=missing
    )


def _times(sheet: tables.Sheet) -> Times | None:
    there = [sequence.times for sequence in sheet.sequences.values() if sequence.times is not None]
    if not there:
        return None
    steps = np.concatenate([np.diff(times) for times in there])
    repeated, step, uneven = tables.steps_of(steps)
    return Times(step=step, uneven=uneven, repeated=repeated, backward=int(np.count_nonzero(steps < 0)))


def _of_times(times: Times | None) -> Iterator[str]:
    if times is None:
        return
    if times.backward:
        yield f"{times.backward} rows are before the row that precedes them: sort the rows by time, they are refused"
    if times.repeated:
        yield f"{times.repeated} rows are at the time of the row before"
    if times.uneven:
        yield f"{times.uneven:.1%} of the steps of time are not the median one, {times.step:g} s"


def _odd(there: Array) -> Iterator[str]:
    """What looks odd in the values of a channel."""
    if not there.size:
        yield "nothing is there"
        return
    if there.min() == there.max():
        yield f"it is always {there[0]:g}"
        return
    middle = np.median(there)
    with np.errstate(over="ignore"):
        distance = np.abs(there - middle)
        far = distance > FAR * _NORMAL * np.median(distance)
    if np.median(distance) > 0 and far.any():
        yield (
            f"{np.count_nonzero(far)} values are more than {FAR:g} robust deviations from the median, such as "
            f"{there[np.argmax(distance)]:g}"
        )
    different = np.unique(there[: 1 << 20])
    if there.size >= _ENOUGH and len(different) <= _FEW and (different == np.rint(different)).all():
        yield f"it has only {len(different)} different whole numbers: name it in categorical if they are categories"
