"""Tighter bounds on the evidence of a data set than the free energy, by many samples a sequence.

    iw      -log 1/N sum_n prod_t w_t^n         importance-weighted (Burda, Grosse & Salakhutdinov 2016)
    fivo    -sum_t log sum_n W_{t-1}^n w_t^n    a particle filter (Maddison et al. 2017)

Both are estimates of -log p(x_1..T) that lie above it in expectation, in nats, and reach it as N grows. One sample
gives the free energy. `iw` falls with N but suffers from long sequences, as all weights go to one path; `fivo`
resamples when that begins, so its error grows with the length only linearly.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from avf_core.analysis.batching import batches
from avf_core.analysis.evaluation import NOTHING_OBSERVED, Progress, ratio
from avf_core.errors import ConfigurationError, DataError
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.particles import path_seeds
from avf_core.trees import take

Kind = Literal["iw", "fivo"]
THRESHOLDS: dict[Kind, float] = {"iw": 0.0, "fivo": 0.5}
"""The fraction of effective particles under which a sequence is resampled."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """An upper bound on -log p, in nats per step with any observation; the two averages are those of `Evaluation`.

    `standard_error` is that of `pooled` over sequences (of the ratio of sums), `sequence_mean_error` that of
    `sequence_mean`, None for one sequence. `monte_carlo_error` is that of `pooled` over repeats with other noise,
    None for one repeat.
    `log_evidence` holds the estimate for every sequence in nats, averaged over the repeats. `effective_by_step` is
    the effective sample size after each step, averaged over the sequences that reach it, and `resampled` the
    fraction of steps after which a sequence was resampled.
    """

    kind: Kind
    particles: int
    repeats: int
    pooled: float
    standard_error: float | None
    sequence_mean: float
    sequence_mean_error: float | None
    monte_carlo_error: float | None
    effective: float
    effective_by_step: list[float]
    resampled: float
    log_evidence: list[float]
    steps: int
    sequences: int

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        return asdict(self)


@torch.no_grad()
def bound(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    kind: Kind = "fivo",
    particles: int = 64,
    repeats: int = 1,
    iterations: int | None = None,
    seed: int = 0,
    max_rows: int = 1024,
    progress: Progress | None = None,
) -> Bound:
    """The bound on every sequence, from its first frame; sequence i has the seed `seed` + i in the first repeat.

    The filter's posterior is the proposal. Where it is narrower than the true one, as a mean-field posterior may be,
    weights have heavy tails and the bound converges slowly. NaN marks what was not observed. At most `max_rows`
    particles are filtered together. Raises ConfigurationError for less than one particle or repeat, DataError where
    there is nothing to score.
    """
    if particles < 1 or repeats < 1:
        raise ConfigurationError(f"particles={particles}, repeats={repeats}: each must be at least 1")
    tally = _Tally(sequences, repeats)
    for repeat in range(repeats):
        for batch in batches(filter, sequences, size=max(1, max_rows // particles)):
            belief = filter.spread(_seeds(seed + batch.seeds, repeat), particles=particles)
            for t in range(len(batch.xs)):
                x, observed, scored = batch.at(t)
                now = batch.drive_at(t)
                belief, estimate = filter.step(
                    take(belief, slice(0, len(x))),
                    x,
                    observed=observed,
                    inputs=now.inputs,
                    dt=now.dt,
                    iterations=iterations,
                    threshold=THRESHOLDS[kind],
                )
                tally.add(repeat, batch.rows, t, estimate, scored.cpu().numpy())
                if progress:
                    progress(tally.done, tally.total)
    return tally.result(kind, particles)


def _seeds(seeds: Int64[Tensor, " batch"], repeat: int) -> Int64[Tensor, " batch"]:
    """The sequences' own seeds in the first repeat, others in later ones."""
    return path_seeds(seeds, torch.zeros_like(seeds), repeat + 1)[:, repeat] if repeat else seeds


class _Tally:
    """Sums over the steps of every sequence and repeat."""

    def __init__(self, sequences: Sequence[np.ndarray], repeats: int) -> None:
        longest = max((len(s) for s in sequences), default=0)
        self.log_evidence = np.zeros((repeats, len(sequences)))
        self.steps = np.zeros((repeats, len(sequences)), dtype=np.int64)
        self.effective = np.zeros(longest)
        self.reached = np.zeros(longest, dtype=np.int64)
        self.resampled = 0
        self.total = repeats * sum(len(s) for s in sequences)

    @property
    def done(self) -> int:
        """The frames filtered so far."""
        return int(self.reached.sum())

    def add(self, repeat: int, rows: list[int], t: int, estimate: Estimate, scored: np.ndarray) -> None:
        """Count step t of the first sequences of a batch."""
        places = rows[: len(scored)]
        self.log_evidence[repeat, places] -= estimate.evidence_bound.cpu().numpy()
        self.steps[repeat, places] += scored
        self.effective[t] += float(estimate.effective_sample_size.sum())
        self.reached[t] += len(places)
        if estimate.particles is not None:
            self.resampled += int(estimate.particles.resampled.sum())

    def result(self, kind: Kind, particles: int) -> Bound:
        """The averages, over sequences with any observation."""
        kept = self.steps[0] > 0
        if not kept.any():
            raise DataError(NOTHING_OBSERVED)
        steps, energy = self.steps[0, kept], -self.log_evidence[:, kept]
        mean, repeats = energy.mean(0), len(energy)
        pooled, error = ratio(mean, steps)
        by_repeat = energy.sum(1) / steps.sum()
        return Bound(
            kind=kind,
            particles=particles,
            repeats=repeats,
            pooled=pooled,
            standard_error=error,
            sequence_mean=float((mean / steps).mean()),
            sequence_mean_error=_standard_error(mean / steps),
            monte_carlo_error=_standard_error(by_repeat) if repeats > 1 else None,
            effective=float(self.effective.sum() / self.done),
            effective_by_step=[float(e) for e in self.effective / self.reached],
            resampled=float(self.resampled / self.done),
            log_evidence=[float(e) for e in self.log_evidence.mean(0)],
            steps=int(steps.sum()),
            sequences=int(kept.sum()),
        )


def _standard_error(values: np.ndarray) -> float | None:
    """The standard error of a mean; None of a single value."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
