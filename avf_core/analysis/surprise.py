"""Surprise as a calibrated score: from nats to p-values, and from a stream of p-values to an alarm.

A step's score is any number in nats that is larger the less the step was expected: its free energy F_t, or a
tighter -log p(x_t | x_<t) by particles. `ReferenceDistribution` holds the distribution of that score on data that are
normal, as a table for a model card; against it a score has a p-value, the probability of one at least as large.
`ChangeDetector` adds evidence up over steps.

The law: a p-value is never 0, and never depends on the steps around it. What the detector remembers is a value that
the caller carries.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from avf_core.analysis import particles
from avf_core.analysis.evaluation import Progress, batches
from avf_core.beliefs import State
from avf_core.data import numbers
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter

FEWEST = 100  # scores that make a reference
TAIL = 0.02  # the part of the scores, from the top, that the tail is fitted to
TAIL_SCORES = 50  # or so many, if that is more
LEVELS = 200  # of the table
SMALLEST = 1e-300
HEAVIEST = 0.9  # shape of the tail; its mean is finite under 1

Score = Literal["free_energy", "evidence"]


@dataclass(frozen=True, kw_only=True)
class ReferenceDistribution:
    """The distribution of a step's score on normal data.

    `values` are the quantiles in nats at `levels`. Above the last of them the tail is a generalised Pareto
    distribution (Pickands 1975) with `tail_scale` in nats and `tail_shape`, 0 for an exponential one. `count` scores
    made it.
    """

    levels: tuple[float, ...]
    values: tuple[float, ...]
    tail_scale: float
    tail_shape: float
    count: int

    @classmethod
    def fit(cls, scores: Sequence[float] | np.ndarray) -> "ReferenceDistribution":
        """The reference of these scores; NaN, that of steps with nothing observed, is left out.

        Raises DataError for fewer than 100 scores, or infinite ones.
        """
        known = numbers(scores).astype(np.float64).ravel()
        known = known[~np.isnan(known)]
        if len(known) < FEWEST or not np.isfinite(known).all():
            raise DataError(f"{len(known)} scores, some of them infinite or too few: expected {FEWEST} finite ones")
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
        )

    def p_value(self, scores: Float[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """P(score >= this one) on normal data, in (0, 1]; NaN for NaN."""
        return torch.from_numpy(self.p_values(scores.double().cpu().numpy())).to(scores.device)

    def p_values(self, scores: Float64[np.ndarray, "*batch"]) -> Float64[np.ndarray, "*batch"]:
        """`p_value` of numbers in the host's memory: few of them, at every step of a stream, so that calls count."""
        values, levels = self._table
        last, shape = values[-1], self.tail_shape
        above = np.minimum(np.maximum(values.searchsorted(scores), 1), len(values) - 1)
        below, low, high = above - 1, values[above - 1], values[above]
        part = np.minimum(np.maximum((scores - low) / np.maximum(high - low, SMALLEST), 0.0), 1.0)
        p = 1.0 - (levels[below] + part * (levels[above] - levels[below]))
        beyond = scores > last
        if beyond.any():
            excess = np.where(beyond, scores - last, 0.0) / self.tail_scale
            log_tail = -np.log1p(shape * excess) / shape if shape > 0.0 else -excess
            p = np.where(beyond, (1.0 - levels[-1]) * np.exp(log_tail), p)
        found: np.ndarray = np.minimum(np.maximum(p, SMALLEST), 1.0)  # both pass NaN on
        return found

    def quantile(self, level: float) -> float:
        """The score in nats that a part `level`, in [0, 1), of normal data stays under; as `p_value` has it."""
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
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no reference distribution: {error!r}") from error
        rising = len(levels) == len(values) > 1 and all(np.diff(levels) > 0) and all(np.diff(values) >= 0)
        if not rising or not (levels[0] >= 0.0 and levels[-1] < 1.0 and scale > 0.0 and 0.0 <= shape < 1.0):
            raise DataError("this is no reference distribution: its levels and values do not rise, or its tail is none")
        return cls(levels=levels, values=values, tail_scale=scale, tail_shape=shape, count=count)


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


@torch.no_grad()
def step_scores(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    score: Score = "free_energy",
    particles_count: int = 64,
    iterations: int | None = None,
    seed: int = 0,
    max_rows: int = 1024,
    progress: Progress | None = None,
) -> list[Float64[np.ndarray, " time"]]:
    """The score of every step in nats, a sequence an array; NaN where nothing was observed.

    `free_energy` is F_t of one row, as `Filter.step` gives it online: cheap, and noisy by the row's sampled past.
    `evidence` is -log p(x_t | x_<t) by `particles_count` particles: what separates faults best.
    """
    count = particles_count if score == "evidence" else 1
    scores = [np.full(len(s), np.nan) for s in sequences]
    total, done = sum(len(s) for s in sequences), 0
    for batch in batches(filter, sequences, size=max(1, max_rows // count)):
        cloud = particles.initial(filter, seed + batch.seeds, count=count)
        for t in range(len(batch.xs)):
            x, observed, scored = batch.at(t)
            cloud, w = particles.step(filter, cloud.first(len(x)), x, observed=observed, iterations=iterations)
            found = -w.log_evidence if score == "evidence" else w.estimate.free_energy.double()
            for n in scored.nonzero()[:, 0].tolist():
                scores[batch.rows[n]][t] = float(found[n])
            done += len(x)
            if progress:
                progress(done, total)
    return scores


@dataclass(frozen=True, kw_only=True)
class ChangeDetector:
    """An alarm for a lasting rise of surprise, by betting against the p-values being uniform.

    Each of `bets` k turns p into an e-value k p^(k-1), whose mean is 1 under uniform p; small k bets on very small p.
    The Shiryaev-Roberts sums M <- (M + 1) e of the bets are averaged, and an alarm is raised at `run_length`: an
    e-detector (Shin, Ramdas & Rinaldo 2022). As M minus the number of steps is a martingale, false alarms are on
    average at least `run_length` steps apart, while p is uniform, or larger, given the steps before.
    """

    run_length: float = 10_000.0
    bets: tuple[float, ...] = (0.2, 0.5, 0.8)

    def __post_init__(self) -> None:
        if not self.run_length > 1.0 or not self.bets or not all(0.0 < bet < 1.0 for bet in self.bets):
            raise ConfigurationError(
                f"run_length={self.run_length}, bets={self.bets}: expected more than 1 step, and bets between 0 and 1"
            )

    def initial(self, batch_size: int) -> State:
        """What the detector knows at first: nothing."""
        return {"log_statistic": torch.full((batch_size, len(self.bets)), -math.inf, dtype=torch.float64)}

    def step(
        self, state: State, p: Float64[Tensor, " batch"]
    ) -> tuple[State, Float64[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """Hear one p-value of every row: the state after it, log M, and whether that is an alarm.

        NaN, for a step with nothing observed, leaves a row as it was. After an alarm the sum goes on; a caller who
        has acted on it starts that row again from `initial`.
        """
        bets = torch.tensor(self.bets, dtype=torch.float64, device=p.device)
        before = state["log_statistic"]
        log_e = bets.log() + (bets - 1.0) * p.clamp(min=SMALLEST).log()[:, None]
        raised = torch.logaddexp(before, torch.zeros_like(before)) + log_e
        after = torch.where(p.isnan()[:, None], before, raised)
        log_statistic = after.logsumexp(-1) - math.log(len(self.bets))
        return {"log_statistic": after}, log_statistic, log_statistic >= math.log(self.run_length)
