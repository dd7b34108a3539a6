"""A running alarm for lasting changes of a stream: a sensor that sticks, sound that is lost, a world that is another.

What is heard is a score a step, such as its free energy. Its rank among the row's own last `window` scores makes a
two-sided p-value, so that a stream is judged by what is usual for it, not by what was for a model's training set. Bets
against these being uniform add up (Shiryaev-Roberts), and an alarm is raised where they exceed what they would reach
once in `run_length` steps: at least its logarithm, as for uniform p-values that do not depend on the past, and more
where the stream's own calm stretches reach more, as real ones do, which have days and weather.

The law: a step is a pure function of state and scores, row by row; a row's state is so many float32, of a size that
does not grow, so that it can be stored with what the row belongs to. And whatever the stream, alarms are in the long
run no more than one in `run_length` steps: each raises the threshold by log(run_length), which is given back evenly
over that many steps.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avf_core.errors import ConfigurationError, DataError

State = NDArray[np.float32]
"""(rows, `ChangeDetector.width`)."""

BLOCK = 64  # steps, of each of which the largest statistic is remembered
BLOCKS = 32  # so many of them
DOUBT = 4.0  # blocks that what uniform p-values would do is worth, beside those that were seen
SPREAD = 1.5  # of their largest statistic, in variances of a Gumbel distribution of scale 1
EULER = 0.5772156649015329
HEARD, LARGEST, LIFT, FIRST = 0, 1, 2, 3  # columns of a state; bets, window and blocks follow from FIRST on


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a step's score means, for every row; NaN and False where it was NaN.

    p          two-sided rank among the row's last scores, in (0, 1]: never under 2 / (`window` + 1)
    high       whether the score is above most of them, rather than below
    statistic  log of the evidence for a change that has added up
    threshold  what raises an alarm
    alarm      whether it did; the evidence is then 0 again
    """

    p: NDArray[np.float64]
    high: NDArray[np.bool_]
    statistic: NDArray[np.float64]
    threshold: NDArray[np.float64]
    alarm: NDArray[np.bool_]


class _Parts(NamedTuple):
    """A state's columns, as views of it."""

    heard: NDArray[np.float32]
    largest: NDArray[np.float32]
    lift: NDArray[np.float32]
    evidence: NDArray[np.float32]
    window: NDArray[np.float32]
    blocks: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ChangeDetector:
    """Alarms at least `run_length` steps apart on average, where nothing changes.

    Each of `bets` k turns p into an e-value k p^(k-1), whose mean is 1 under uniform p and at most 1 under larger
    ones; small k bets on very small p. Their Shiryaev-Roberts sums M <- (M + 1) e are averaged (e-detectors: Shin,
    Ramdas & Rinaldo 2022). Of every block of 64 steps the largest log M is remembered, 32 of them; the threshold is
    what a Gumbel distribution of these (Fisher & Tippett 1928) exceeds once in `run_length` steps, by moments, with
    four blocks of uniform p-values to begin with.
    """

    run_length: float = 10_000.0
    window: int = 256
    bets: tuple[float, ...] = (0.2, 0.5, 0.8)

    def __post_init__(self) -> None:
        if not (1.0 < self.run_length < math.inf and self.window >= 2):
            raise ConfigurationError(
                f"run_length={self.run_length}, window={self.window}: expected more than 1 step, and 2 or more scores"
            )
        if not self.bets or not all(0.0 < bet < 1.0 for bet in self.bets):
            raise ConfigurationError(f"bets={self.bets}: expected some numbers between 0 and 1")

    @property
    def width(self) -> int:
        """Numbers in the state of a row."""
        return FIRST + len(self.bets) + self.window + BLOCKS

    def initial(self, rows: int) -> State:
        """What is known at first: nothing."""
        state = np.full((rows, self.width), -np.inf, dtype=np.float32)
        state[:, [HEARD, LIFT]] = 0.0
        state[:, FIRST + len(self.bets) :] = np.nan
        return state

    def step(self, state: State, scores: NDArray[np.floating]) -> tuple[State, Verdict]:
        """Hear one score of every row, in nats: the state after it, and what it means.

        NaN, for a step with nothing observed, leaves a row as it was. Raises DataError where shapes do not fit.
        """
        if state.shape != (len(scores), self.width) or scores.ndim != 1:
            raise DataError(
                f"scores have shape {scores.shape}, the state {state.shape}: expected (rows,) and (rows, {self.width})"
            )
        heard = scores.astype(np.float32)
        after = state.copy()
        parts = self._parts(after)
        p, high = _rank(parts.window, heard)
        statistic = self._bet(parts, p)
        threshold = np.maximum(self._base, self._usual(parts.blocks)) + parts.lift.astype(np.float64)
        alarm = statistic >= threshold
        self._remember(parts, heard, statistic, alarm)
        gone = np.isnan(heard)
        after[gone] = state[gone]
        nan = np.where(gone, np.nan, 0.0)
        return after, Verdict(
            p=p + nan, high=high & ~gone, statistic=statistic + nan, threshold=threshold + nan, alarm=alarm & ~gone
        )

    def recent(self, state: State, count: int) -> NDArray[np.float32]:
        """The last `count` scores that rows have heard, the newest first: (rows, count); NaN where there are fewer."""
        parts = self._parts(state)
        back = (parts.heard[:, None].astype(np.int64) - 1 - np.arange(count)) % self.window
        known = np.arange(count) < np.minimum(parts.heard, self.window)[:, None]
        return np.where(known, np.take_along_axis(parts.window, back, axis=1), np.float32(np.nan))

    @property
    def _base(self) -> float:
        return math.log(self.run_length)

    def _parts(self, state: State) -> _Parts:
        window = FIRST + len(self.bets)
        blocks = window + self.window
        columns = slice(FIRST, window), slice(window, blocks), slice(blocks, None)
        return _Parts(state[:, HEARD], state[:, LARGEST], state[:, LIFT], *(state[:, part] for part in columns))

    def _bet(self, parts: _Parts, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the bets on these p-values; log M, their average."""
        bets = np.array(self.bets)
        raised = np.logaddexp(parts.evidence, 0.0) + np.log(bets) + (bets - 1.0) * np.log(p)[:, None]
        parts.evidence[:] = raised
        largest = raised.max(axis=1)
        found: NDArray[np.float64] = largest + np.log(np.mean(np.exp(raised - largest[:, None]), axis=1))
        return found

    def _usual(self, blocks: NDArray[np.float32]) -> NDArray[np.float64]:
        """The statistic that a block's largest exceeds once in `run_length` steps, by moments of those that were."""
        expected, spread = math.log(BLOCK) + EULER, SPREAD * math.pi**2 / 6.0
        count = np.isfinite(blocks).sum(axis=1)
        weight = count / (count + DOUBT)
        values = np.where(np.isfinite(blocks), blocks, 0.0).astype(np.float64)
        mean = values.sum(axis=1) / np.maximum(count, 1)
        squares = np.where(np.isfinite(blocks), values - mean[:, None], 0.0) ** 2
        variance = weight * squares.sum(axis=1) / np.maximum(count, 1) + (1.0 - weight) * spread
        variance += weight * (1.0 - weight) * (mean - expected) ** 2
        scale = np.maximum(1.0, np.sqrt(6.0 * variance) / math.pi)
        centre = weight * mean + (1.0 - weight) * expected - EULER * scale
        level: NDArray[np.float64] = centre + scale * math.log(self.run_length / BLOCK)
        return level

    def _remember(
        self, parts: _Parts, heard: NDArray[np.float32], statistic: NDArray[np.float64], alarm: NDArray[np.bool_]
    ) -> None:
        """Put the score in the window and the statistic in its block; an alarm begins anew, with more to reach."""
        rows, steps = np.arange(len(heard)), parts.heard.astype(np.int64)
        parts.window[rows, steps % self.window] = heard
        parts.lift[:] = np.maximum(parts.lift - self._base / self.run_length, 0.0) + np.where(alarm, self._base, 0.0)
        parts.evidence[alarm] = -np.inf
        parts.largest[:] = np.maximum(parts.largest, statistic)
        full = rows[steps % BLOCK == BLOCK - 1]
        parts.blocks[full, (steps[full] // BLOCK) % BLOCKS] = parts.largest[full]
        parts.largest[full] = -np.inf
        period = math.lcm(self.window, BLOCK * BLOCKS)  # so that the count stays exact, however long a row goes on
        parts.heard[:] = np.where(steps + 1 >= 2 * period, steps + 1 - period, steps + 1)


def _rank(window: NDArray[np.float32], scores: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Two-sided p-values of scores among those of their rows' windows, NaN where these are not full; ties count twice.

    Ranks of exchangeable scores are uniform; counting ties against the score makes p larger, never smaller.
    """
    known = (~np.isnan(window)).sum(axis=1)
    above = (window >= scores[:, None]).sum(axis=1)
    below = (window <= scores[:, None]).sum(axis=1)
    p = np.minimum(1.0, 2.0 * (np.minimum(above, below) + 1) / (known + 1))
    return p, above < below
