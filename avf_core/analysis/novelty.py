"""A running alarm for what a stream has not shown before: each step judged by references that roll along with it.

Four statistics of a step are heard, smoothed over so many steps: the filter's prediction error (5), how far what is
observed is from the stream's own slow level (10), and from what is usual at this hour, on weekdays and at weekends
apart (1, 40). Each has a rolling reference, its own distribution in the stream's past, against which it has a p-value.
Without a clock, all hours are one. The geometric mean of p-values, times e, is a p-value whatever their dependence
(Vovk & Wang 2020), and its negative logarithm is the statistic.

The laws: a step is a pure function of state and what is heard, row by row, and a row's state is so many numbers,
however long the stream. A novelty is an event: only the first of what is as new, within `hold` steps, counts. And
whatever the stream, alarms are in the long run no more than one in `run_length` steps: each raises the threshold by
log(run_length), which is given back evenly over that many steps.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray

from avf_core.analysis.changes import Verdict
from avf_core.analysis.rolling import RollingReference
from avf_core.errors import ConfigurationError, DataError

State = Float64[ndarray, "rows width"]

HOURS, DAYS = 24, 7
SPANS = (5, 10, 1, 40)  # steps over which error, level, and what is usual at the hour (twice) are smoothed
FREEDOM = 5.0  # degrees of a Student t distribution, by which outliers weigh less
SLOW = 0.0005  # the least weight of a step in the slow level
SEASONAL = 0.01  # and in what is usual at an hour
FEW = 3  # steps at an hour, before which it is judged by other hours
RECENT = 0.01  # the weight of a step in the recent level
LEAST_VARIANCE = 1e-4  # of a level, in the variance of the first step's prediction
PARTS = 16  # of `hold`, of each of which the largest statistic is remembered
HEARD, LIFT, LARGEST, FIRST = 0, 1, 2, 3  # columns of a state


def hour_class(time: Float64[ndarray, " rows"]) -> Int64[ndarray, " rows"]:
    """The hour (UTC) of times in seconds since 1970: 24 of weekdays, then 24 of weekends; 0 for NaN."""
    known = np.where(np.isfinite(time), time, 0.0)
    hour, day = (known // 3600.0) % HOURS, (known // 86400.0 + 3.0) % DAYS  # it began on a Thursday
    found: ndarray = np.where(np.isfinite(time), hour + HOURS * (day >= DAYS - 2), 0).astype(np.int64)
    return found


class Heard(NamedTuple):
    """What is heard of a step: an observation, NaN where missing, its prediction's moments, and when it was.

    `time` is in seconds since 1970, NaN where that is not known.
    """

    x: Float64[ndarray, "rows channels"]
    mean: Float64[ndarray, "rows channels"]
    deviation: Float64[ndarray, "rows channels"]
    time: Float64[ndarray, " rows"]


class _Parts(NamedTuple):
    """A state's columns, as views of it."""

    references: Float64[ndarray, "rows statistics bins"]
    blocks: Float64[ndarray, "rows parts"]
    steps: Float64[ndarray, "rows channels"]
    level: Float64[ndarray, "rows channels"]
    spread: Float64[ndarray, "rows channels"]  # the variance about it
    unit: Float64[ndarray, "rows channels"]  # the variance of the first prediction
    recent: Float64[ndarray, "rows channels"]
    usual: Float64[ndarray, "rows channels hours kinds"]  # mean, variance, steps
    rings: Float64[ndarray, "rows channels steps"]


@dataclass(frozen=True, kw_only=True)
class NoveltyDetector:
    """Alarms at least `run_length` steps apart on average, each at what was not met before.

    A novelty is the most in `hold` steps. References forget as `RollingReference` says, by `memory`. `daily` tells
    hours apart.
    """

    channels: int = 1
    run_length: float = 10_000.0
    daily: bool = False
    hold: int = 200
    memory: float = 10_000.0

    def __post_init__(self) -> None:
        if not (1.0 < self.run_length < math.inf and self.hold >= PARTS and self.channels >= 1):
            raise ConfigurationError(
                f"run_length={self.run_length}, hold={self.hold}, channels={self.channels}: expected more than 1 step, "
                f"{PARTS} steps or more, and a channel"
            )

    @cached_property
    def reference(self) -> RollingReference:
        """Of every statistic."""
        return RollingReference(memory=self.memory)

    @property
    def width(self) -> int:
        """Numbers in the state of a row."""
        return FIRST + sum(math.prod(shape) for shape in self._shapes)

    def initial(self, rows: int) -> State:
        """What is known at first: nothing."""
        state = np.zeros((rows, self.width))
        parts = self._parts(state)
        state[:, LARGEST] = parts.blocks[:] = -np.inf
        parts.rings[:] = np.nan
        return state

    def step(self, state: State, heard: Heard) -> tuple[State, Verdict]:
        """Hear a step of every row: the state after it, and what it means; a row without any number stays as it was.

        `Verdict.p` is of the step alone, `statistic` is its novelty in nats, 0 where as much was met within `hold`
        steps. Raises DataError where shapes do not fit.
        """
        if state.shape != (len(heard.x), self.width) or heard.x.shape[1:] != (self.channels,):
            raise DataError(
                f"observations have shape {heard.x.shape}, the state {state.shape}: expected (rows, {self.channels}) "
                f"and (rows, {self.width})"
            )
        after = state.copy()
        parts = self._parts(after)
        signals = self._signals(parts, heard)
        smoothed = self._smoothed(parts, after[:, HEARD], signals)
        size = _energy(np.sqrt(_mean(smoothed**2)))
        nats = self.reference.log_p(parts.references, size)
        parts.references[:] = self.reference.remember(parts.references, size)
        said = np.maximum(nats.mean(axis=1) - 1.0, 0.0)
        leading = np.take_along_axis(_mean(smoothed), nats.argmax(axis=1)[:, None], axis=1)[:, 0]
        statistic = np.where(said > np.maximum(parts.blocks.max(axis=1), after[:, LARGEST]), said, 0.0)
        threshold = math.log(self.run_length) + after[:, LIFT]
        alarm = statistic >= threshold
        self._remember(parts, after, said, alarm)
        gone = ~np.isfinite(heard.x).any(axis=1)
        after[gone] = state[gone]
        nan = np.where(gone, np.nan, 0.0)
        return after, Verdict(
            p=np.exp(-said) + nan,
            high=(leading > 0.0) & ~gone,
            statistic=statistic + nan,
            threshold=threshold + nan,
            alarm=alarm & ~gone,
        )

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        hours = 2 * HOURS if self.daily else 1
        several = (self.channels,)
        return (
            (len(SPANS), self.reference.width),
            (PARTS,),
            *(several,) * 5,
            (*several, hours, 3),
            (*several, sum(SPANS)),
        )

    def _parts(self, state: State) -> _Parts:
        begins = np.cumsum([FIRST, *(math.prod(shape) for shape in self._shapes)])
        views = [
            state[:, begin:end].reshape(len(state), *shape)
            for begin, end, shape in zip(begins[:-1], begins[1:], self._shapes, strict=True)
        ]
        return _Parts(*views)

    def _signals(self, parts: _Parts, heard: Heard) -> Float64[ndarray, "rows channels statistics"]:
        """Deviations of a step by each statistic, NaN where nothing is observed; levels and hours are taught it."""
        new = np.isfinite(heard.x) & (parts.steps == 0.0)
        unit = heard.deviation**2
        moments = (parts.level, heard.mean), (parts.recent, heard.mean), (parts.spread, unit), (parts.unit, unit)
        for part, first in moments:
            part[new] = first[new]
        error = (heard.x - heard.mean) / heard.deviation
        usual = self._by_the_hour(parts, heard)
        from_level = (heard.x - parts.level) / np.sqrt(parts.spread)
        rate = np.maximum(1.0 / (parts.steps + 2.0), SLOW)
        _teach((parts.level, parts.spread), heard.x, parts.level, from_level, rate, least=parts.unit * LEAST_VARIANCE)
        known = np.isfinite(heard.x)
        parts.recent[known] += RECENT * (heard.x - parts.recent)[known]
        parts.steps[:] += known
        return np.stack([error, from_level, usual, usual], axis=-1)

    def _by_the_hour(self, parts: _Parts, heard: Heard) -> Float64[ndarray, "rows channels"]:
        """Deviations from what is usual at the hour, before that is known at the hour of other days, or of late."""
        rows, hours = np.arange(len(heard.x)), parts.usual.shape[2]
        now = hour_class(heard.time) if self.daily else np.zeros(len(rows), dtype=np.int64)
        mean, variance, count = (parts.usual[rows, :, now, kind] for kind in range(3))
        other = parts.usual[rows, :, (now + hours // 2) % hours]
        both = count + other[..., 2]
        shared = np.where(count > 0.0, mean, 0.0) + np.where(other[..., 2] > 0.0, other[..., 0], 0.0)
        shared = shared / np.maximum(1.0, (count > 0.0) * 1.0 + (other[..., 2] > 0.0))
        expected = np.where(count >= FEW, mean, np.where(both >= FEW, shared, parts.recent))
        variance = np.where(count > 0.0, variance, parts.unit)
        deviations: ndarray = (heard.x - expected) / np.sqrt(variance)
        rate = np.maximum(1.0 / (count + 1.0), SEASONAL)
        least = parts.unit * LEAST_VARIANCE
        kept = mean.copy(), variance.copy()
        _teach(kept, heard.x, expected, deviations, rate, least=least)
        known = np.isfinite(heard.x)
        parts.usual[rows, :, now] = np.where(
            known[..., None], np.stack([*kept, count + 1.0], axis=-1), parts.usual[rows, :, now]
        )
        return deviations

    def _smoothed(
        self, parts: _Parts, steps: Float64[ndarray, " rows"], signals: Float64[ndarray, "rows channels statistics"]
    ) -> Float64[ndarray, "rows channels statistics"]:
        """Means over the last steps, in deviations of a mean of independent ones; 0 where nothing is known."""
        found, begin, rows = [], 0, np.arange(len(signals))
        for each, span in enumerate(SPANS):
            parts.rings[rows, :, begin + steps.astype(np.int64) % span] = signals[..., each]
            ring = parts.rings[..., begin : begin + span]
            count = np.isfinite(ring).sum(axis=-1)
            found.append(np.where(np.isfinite(ring), ring, 0.0).sum(axis=-1) / np.sqrt(np.maximum(count, 1)))
            begin += span
        return np.stack(found, axis=-1)

    def _remember(
        self, parts: _Parts, state: State, said: Float64[ndarray, " rows"], alarm: Bool[ndarray, " rows"]
    ) -> None:
        """Put the statistic in its block; an alarm leaves more to reach."""
        base, block = math.log(self.run_length), max(1, self.hold // PARTS)
        state[:, LIFT] = np.maximum(state[:, LIFT] - base / self.run_length, 0.0) + np.where(alarm, base, 0.0)
        state[:, LARGEST] = np.maximum(state[:, LARGEST], said)
        steps, rows = state[:, HEARD].astype(np.int64), np.arange(len(state))
        full = rows[steps % block == block - 1]
        parts.blocks[full, (steps[full] // block) % PARTS] = state[full, LARGEST]
        state[full, LARGEST] = -np.inf
        state[:, HEARD] += 1.0


def _energy(size: Float64[ndarray, "rows statistics"]) -> Float64[ndarray, "rows statistics"]:
    """-log of a Student t density, but for its constant: what grows with how far out a number is, and not too fast."""
    found: ndarray = 0.5 * (FREEDOM + 1.0) * np.log1p(size**2 / FREEDOM)
    return found


def _mean(values: Float64[ndarray, "rows channels statistics"]) -> Float64[ndarray, "rows statistics"]:
    """Over channels."""
    found: ndarray = values.mean(axis=1)
    return found


def _teach(
    moments: tuple[ndarray, ndarray],
    x: ndarray,
    expected: ndarray,
    deviations: ndarray,
    rate: ndarray,
    *,
    least: ndarray,
) -> None:
    """Move mean and variance towards an observation, as a Student t distribution does: outliers weigh less."""
    mean, variance = moments
    known = np.isfinite(x)
    weight = rate * (FREEDOM + 1.0) / (FREEDOM + np.minimum(deviations**2, 1e6))
    error = x - expected
    moved = np.maximum((1.0 - rate) * variance + weight * error**2, least)
    mean[known] = (expected + weight * error)[known]
    variance[known] = moved[known]
