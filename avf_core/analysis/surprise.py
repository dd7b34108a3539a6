"""Surprise as a calibrated score: from nats to p-values.

A step's score is any number in nats that is larger the less the step was expected: its free energy F_t, or a
tighter -log p(x_t | x_<t) by particles. `ReferenceDistribution` holds the distribution of that score on data that are
normal, as a table for a model card; against it a score has a p-value, the probability of one at least as far out, on
either side: what is far too well expected, as of a sensor that is stuck or sound that is lost, is strange like a bang.
Most of the small p-values go to the high side, where faults that are none of these show.

The law: a p-value is never 0, and depends on the steps before only where the reference says how, by its `memory`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from avf_core.analysis.evaluation import Progress
from avf_core.analysis.tables import SMALLEST, Tables
from avf_core.analysis.walking import walk
from avf_core.data import numbers
from avf_core.errors import DataError
from avf_core.filtering import Filter

FEWEST = 100  # scores that make a reference
TAIL = 0.02  # the part of the scores, from the top, that the tail is fitted to
TAIL_SCORES = 50  # or so many, if that is more
LOW_TAIL = 0.02  # the part of the scores, from the bottom, below which the table is gone on with exponentially
LEVELS = 200  # of the table
LOW = 0.1  # the part of small p-values that is given to scores that are low, the rest to those that are high
HEAVIEST = 0.9  # shape of the tail; its mean is finite under 1

Score = Literal["free_energy", "evidence"]


@dataclass(frozen=True, kw_only=True)
class ReferenceDistribution:
    """The distribution of a step's score on normal data.

    `values` are the quantiles in nats at `levels`. Above the last of them the tail is a generalised Pareto
    distribution (Pickands 1975) with `tail_scale` in nats and `tail_shape`, 0 for an exponential one; below 0.02 it is
    exponential. `count` scores made it.

    With a `memory` w it is conditional: a score is taken less sum_i w_i (s_{t-i} - `center`), what the scores before
    it lead to expect. `center` is their mean.
    """

    levels: tuple[float, ...]
    values: tuple[float, ...]
    tail_scale: float
    tail_shape: float
    count: int
    memory: tuple[float, ...] = ()
    center: float = 0.0

    @classmethod
    def fit(
        cls, scores: Sequence[float] | Sequence[np.ndarray] | np.ndarray, *, memory: int = 0
    ) -> "ReferenceDistribution":
        """The reference of these scores; NaN, that of steps with nothing observed, is left out.

        With a `memory`, conditional on so many scores before, by least squares; scores may then be sequences, each
        an array. Raises DataError for fewer than 100 scores, or infinite ones.
        """
        sequences = [numbers(s).astype(np.float64).ravel() for s in (scores if _nested(scores) else [scores])]
        weights, center = _autoregression(sequences, memory) if memory else (np.zeros(0), 0.0)
        known = np.concatenate([_innovations(s, weights, center) for s in sequences])
        known = known[~np.isnan(known)]
        if (infinite := np.isinf(known).sum()) > 0:
            raise DataError(f"{infinite} of {len(known)} scores are infinite: look at these data, or leave them out")
        if len(known) < FEWEST:
            raise DataError(
                f"{len(known)} steps have a score, expected {FEWEST} or more: give more data, or longer sequences "
                "(steps have none where nothing was observed, or while a model's memory takes up its first ones)"
            )
        tail = min(0.5, max(TAIL, TAIL_SCORES / len(known)))
        levels = np.linspace(0.0, 1.0 - tail, LEVELS + 1)
        values = np.quantile(known, levels, method="weibull")
        scale, shape = _pareto(np.sort(known[known > values[-1]] - values[-1]))
        return cls(
            levels=tuple(levels.tolist()),
            values=tuple(values.tolist()),
            tail_scale=scale,
            tail_shape=shape,
            count=len(known),
            memory=tuple(weights.tolist()),
            center=center,
        )

    def p_value(
        self, scores: Float[Tensor, "*batch"], *, past: Float[Tensor, "*batch memory"] | None = None
    ) -> Float64[Tensor, "*batch"]:
        """The smaller of P(score >= this one) / 0.9 and P(score <= this one) / 0.1 on normal data; NaN for NaN.

        It is in (0, 1], and uniform on normal data, as p-values are: a part p of these is as far out as p, or farther.

        past: the scores before, the newest first, where the reference has a `memory`; NaN where there was none.
        """
        before = None if past is None else past.double().cpu().numpy()
        return torch.from_numpy(self.p_values(scores.double().cpu().numpy(), past=before)).to(scores.device)

    def p_values(
        self, scores: Float64[np.ndarray, "*batch"], *, past: Float64[np.ndarray, "*batch memory"] | None = None
    ) -> Float64[np.ndarray, "*batch"]:
        """`p_value` of numbers in the host's memory: few of them, at every step of a stream, so that calls count."""
        if self.memory and past is not None:
            led = np.nan_to_num(past[..., : len(self.memory)] - self.center, nan=0.0)
            scores = scores - led @ np.array(self.memory[: led.shape[-1]])
        either = np.minimum(self.above(scores) / (1.0 - LOW), self._below(scores) / LOW)
        p: np.ndarray = np.minimum(1.0, either)  # NaN passes on
        return p

    def _below(self, scores: Float64[np.ndarray, "*batch"]) -> Float64[np.ndarray, "*batch"]:
        """P(score <= this one): by the table, and below its `LOW_TAIL` by an exponential that meets it there."""
        values, levels = self._table
        knot, scale = self._low
        within = self._alone.below(scores.reshape(1, -1), equal=True).reshape(scores.shape)
        p = np.where(scores > values[-1], 1.0, within)
        under = scores < values[knot]
        if under.any():
            p = np.where(under, levels[knot] * np.exp(np.where(under, scores - values[knot], 0.0) / scale), p)
        found: np.ndarray = np.minimum(np.maximum(p, SMALLEST), 1.0)
        return found

    @cached_property
    def _low(self) -> tuple[int, float]:
        """Where in the table the lower tail begins, and its scale: by the lowest quantile but one.

        The lowest is a single score; one far below all others would make usual what lies between them.
        """
        values, levels = self._table
        knot = min(max(2, int(levels.searchsorted(LOW_TAIL))), len(levels) - 1)
        lower = 1 if knot > 1 else 0
        halvings = math.log(levels[knot] / max(levels[lower], 1.0 / (self.count + 1)))
        scale = float(values[knot] - values[lower]) / halvings
        return knot, scale if scale > 0.0 else self.tail_scale

    def above(self, scores: Float64[np.ndarray, "*batch"]) -> Float64[np.ndarray, "*batch"]:
        """P(score >= this one) on normal data, in (0, 1]: by the table, and above it by the tail; NaN for NaN."""
        return self._alone.above(scores.reshape(1, -1)).reshape(scores.shape)

    def quantile(self, level: float) -> float:
        """The score in nats that a part `level`, in [0, 1), of normal data stays under, with a usual past."""
        beyond = (1.0 - level) / (1.0 - self.levels[-1])
        if beyond >= 1.0:
            return float(np.interp(level, self.levels, self.values))
        shape = self.tail_shape
        return self.values[-1] + self.tail_scale * (
            (beyond**-shape - 1.0) / shape if shape > 0.0 else -math.log(beyond)
        )

    @cached_property
    def _table(self) -> tuple[Float64[np.ndarray, " levels"], Float64[np.ndarray, " levels"]]:
        """Values and levels, made once: p-values are asked for at every step of a stream."""
        return np.array(self.values, dtype=np.float64), np.array(self.levels, dtype=np.float64)

    @cached_property
    def _alone(self) -> Tables:
        """The table as one of one."""
        return Tables([self])

    def as_dict(self) -> dict[str, object]:
        """The reference for a model card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ReferenceDistribution":
        """Read what `as_dict` gave. Raises DataError where that is no reference distribution."""
        try:
            levels, values = (tuple(float(v) for v in data[name]) for name in ("levels", "values"))
            scale, shape = float(data["tail_scale"]), float(data["tail_shape"])
            count = int(data["count"])
            memory, center = tuple(float(v) for v in data.get("memory", ())), float(data.get("center", 0.0))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no reference distribution: {error!r}") from error
        rising = len(levels) == len(values) > 1 and all(np.diff(levels) > 0) and all(np.diff(values) >= 0)
        if not rising or not (levels[0] >= 0.0 and levels[-1] < 1.0 and scale > 0.0 and 0.0 <= shape < 1.0):
            raise DataError("this is no reference distribution: its levels and values do not rise, or its tail is none")
        return cls(
            levels=levels,
            values=values,
            tail_scale=scale,
            tail_shape=shape,
            count=count,
            memory=memory,
            center=center,
        )


def _nested(scores: object) -> bool:
    """Whether these are sequences of scores, each an array, rather than scores."""
    return isinstance(scores, list | tuple) and any(isinstance(each, np.ndarray) and each.ndim for each in scores)


def _lagged(scores: np.ndarray, count: int) -> np.ndarray:
    """The `count` scores before each, the newest first; NaN where there were none: (time, count)."""
    padded = np.concatenate([np.full(count, np.nan), scores])
    return np.stack([padded[count - lag : len(padded) - lag] for lag in range(1, count + 1)], axis=-1)


def _autoregression(sequences: list[np.ndarray], memory: int) -> tuple[np.ndarray, float]:
    """Weights of the `memory` scores before, by least squares, and the mean of all. Raises DataError."""
    scores, past = np.concatenate(sequences), np.concatenate([_lagged(s, memory) for s in sequences])
    center = float(np.nanmean(scores)) if np.isfinite(scores).any() else 0.0
    known = np.isfinite(scores) & np.isfinite(past).all(axis=-1)
    if known.sum() < FEWEST:
        raise DataError(f"{known.sum()} scores with {memory} before them, expected at least {FEWEST}")
    weights: np.ndarray = np.linalg.lstsq(past[known] - center, scores[known] - center, rcond=None)[0]
    return weights, center


def _innovations(scores: np.ndarray, weights: np.ndarray, center: float) -> np.ndarray:
    """Scores less what those before lead to expect; one that is not known leads to nothing."""
    if not len(weights):
        return scores
    innovations: np.ndarray = scores - np.nan_to_num(_lagged(scores, len(weights)) - center, nan=0.0) @ weights
    return innovations


def _pareto(excesses: np.ndarray) -> tuple[float, float]:
    """Scale and shape of a generalised Pareto distribution by probability-weighted moments (Hosking & Wallis 1987).

    A tail that would end is taken as exponential, so that no score is impossible.
    """
    if len(excesses) < 2:
        return 1.0, 0.0
    count = len(excesses)
    mean = float(excesses.mean())
    survival = 1.0 - (np.arange(1, count + 1) - 0.35) / count
    weighted = float((survival * excesses).mean())
    shape = 2.0 - mean / (mean - 2.0 * weighted) if mean > 2.0 * weighted else HEAVIEST
    shape = min(max(shape, 0.0), HEAVIEST)
    return mean * (1.0 - shape), shape


def step_scores(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    score: Score = "free_energy",
    first: bool = False,
    particles_count: int = 64,
    iterations: int | None = None,
    seed: int = 0,
    max_rows: int = 1024,
    progress: Progress | None = None,
) -> list[Float64[np.ndarray, " time"]]:
    """The score of every step in nats, a sequence an array; NaN where nothing was observed, or the model is `warming`.

    `free_energy` is F_t of one row, as `Filter.step` gives it online: cheap, and noisy by the row's sampled past. Both
    are less what the scale of the observation accounts for (`Estimate.score`). `first`: also of steps that warm.
    `evidence` is -log p(x_t | x_<t) by `particles_count` particles: not noisy by one sampled past, and as many times
    as dear.
    """
    count = particles_count if score == "evidence" else 1
    scores = [np.full(len(s), np.nan) for s in sequences]
    steps = walk(
        filter,
        sequences,
        particles=count,
        iterations=iterations,
        seed=seed,
        max_rows=max_rows,
        progress=progress,
    )
    for step in steps:
        e = step.estimate
        found = e.score.double()
        told = found + e.evidence_bound - e.free_energy if score == "evidence" else found
        step.put(scores, told, step.scored if first else step.judged)
    return scores
