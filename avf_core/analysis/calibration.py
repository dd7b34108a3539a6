"""Whether predictions mean what they say: coverage, rank histograms and CRPS, all before the observation is heard.

At each step the model draws samples of the next observation, and the observation's rank among them is recorded. Where
predictions are calibrated, ranks are uniform (Dawid 1984; Hamill 2001): a U-shaped histogram says too narrow, a hump
too wide, a slope biased. Ties, as binary observations always have them, are broken at random (Czado, Gneiting & Held
2009), so that the same holds for discrete data.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from avf_core import noise
from avf_core.analysis.evaluation import Progress
from avf_core.analysis.forecasting import forecast
from avf_core.analysis.walking import walk
from avf_core.beliefs import Belief
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter
from avf_core.trees import tree_map

BINS = 10


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Predictions of every observed value of a data set, one step ahead.

    `coverage` is the fraction of values within the central interval of each level in `levels`. `rank_histogram`
    counts the values' places among their samples, in bins of equal probability. `uniformity` is the p-value of all
    dimensions being uniform: that of the worst of them by chi-squared, times their number (Bonferroni), as
    dimensions of one step are not independent. `crps` is the mean continuous ranked probability score of a value, in
    the observation's unit: the mean absolute error of a distribution.
    """

    particles: int
    samples: int
    levels: list[float]
    coverage: list[float]
    rank_histogram: list[int]
    uniformity: float
    crps: float
    values: int

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        return asdict(self)


@torch.no_grad()
def calibrate(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    particles: int = 16,
    samples: int = 99,
    levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    iterations: int | None = None,
    seed: int = 0,
    max_rows: int = 1024,
    progress: Progress | None = None,
) -> Calibration:
    """Predict every step by `samples` samples from `particles` particles, then filter it.

    With one particle these are the predictions of one online row, which are conditional on its sampled past and, for
    that, too narrow; particles average over it. Sequence i has the seed `seed` + i, NaN marks what was not observed.
    Raises ConfigurationError for fewer than 9 samples, DataError where there is nothing to predict.
    """
    if samples < BINS - 1 or particles < 1:
        raise ConfigurationError(f"samples={samples}, particles={particles}: expected at least {BINS - 1} and 1")
    tally = _Tally(levels)
    how: dict[str, Any] = {"particles": particles, "iterations": iterations, "seed": seed, "max_rows": max_rows}
    for step in walk(filter, sequences, progress=progress, **how):
        ahead = tree_map(lambda tensor: tensor[None], step.drive)
        drawn = forecast(filter, step.before, horizon=1, paths=samples, inputs=ahead.inputs, dt=ahead.dt).paths[0]
        tally.add(transform(drawn, step.x, step.before), crps(drawn, step.x), step.known)
    return tally.result(particles, samples)


def transform(
    samples: Float[Tensor, "batch paths observation"], x: Float[Tensor, "batch observation"], belief: Belief
) -> Float64[Tensor, "batch observation"]:
    """The randomised probability integral transform: uniform in (0, 1) if x is one more sample.

    The rank of x among the n samples, ties broken at random, plus a uniform number, over n + 1.
    """
    size = x.shape[-1]
    drawn = noise.uniform(belief.seed, belief.step, streams=[noise.RANKS], size=size)[0]
    below = (samples < x[:, None]).sum(1)
    equal = (samples == x[:, None]).sum(1)
    return (below + drawn * (equal + 1)) / (samples.shape[1] + 1)


def crps(
    samples: Float[Tensor, "batch paths observation"], x: Float[Tensor, "batch observation"]
) -> Float64[Tensor, "batch observation"]:
    """The continuous ranked probability score E|X - x| - E|X - X'| / 2 from two or more samples, without bias.

    The fair form (Ferro 2014): pairs of different samples only, summed in order of size.
    """
    ordered = samples.double().sort(1).values
    count = ordered.shape[1]
    error = (ordered - x.double()[:, None]).abs().mean(1)
    rank = torch.arange(count, device=x.device, dtype=torch.float64)
    spread = ((2.0 * rank - (count - 1))[:, None] * ordered).sum(1) / (count * (count - 1))
    return error - spread


def uniformity(counts: Int64[Tensor, "*batch bins"]) -> Float64[Tensor, "*batch"]:
    """The p-value of Pearson's chi-squared test that all bins are equally likely; 1 where nothing was counted."""
    total = counts.sum(-1, keepdim=True).double()
    expected = (total / counts.shape[-1]).clamp(min=1e-300)
    statistic = ((counts - expected) ** 2 / expected).sum(-1)
    freedom = torch.full_like(statistic, 0.5 * (counts.shape[-1] - 1))
    return torch.where(total[..., 0] > 0, torch.special.gammaincc(freedom, 0.5 * statistic), 1.0)


class _Tally:
    """Ranks and scores of the values so far."""

    def __init__(self, levels: Sequence[float]) -> None:
        self.levels = list(levels)
        self.covered = [0] * len(self.levels)
        self.histogram: Tensor | None = None
        self.crps = 0.0

    def add(
        self,
        transforms: Float64[Tensor, "batch observation"],
        scores: Float64[Tensor, "batch observation"],
        known: Bool[Tensor, "batch observation"],
    ) -> None:
        """Count the known values of one step."""
        size = transforms.shape[-1]
        bins = (transforms * BINS).long().clamp(max=BINS - 1)
        cells = (bins + BINS * torch.arange(size, device=bins.device))[known]
        counts = torch.bincount(cells, minlength=size * BINS).reshape(size, BINS)
        self.histogram = counts if self.histogram is None else self.histogram + counts
        distances = (transforms[known] - 0.5).abs()
        self.covered = [
            n + int((distances < 0.5 * level).sum()) for n, level in zip(self.covered, self.levels, strict=True)
        ]
        self.crps += float(scores[known].sum())

    def result(self, particles: int, samples: int) -> Calibration:
        """The averages."""
        if self.histogram is None or not bool(self.histogram.any()):
            raise DataError("expected at least one observed value")
        values = int(self.histogram.sum())
        worst = float(uniformity(self.histogram).min())
        return Calibration(
            particles=particles,
            samples=samples,
            levels=self.levels,
            coverage=[n / values for n in self.covered],
            rank_histogram=self.histogram.sum(0).tolist(),
            uniformity=min(1.0, worst * len(self.histogram)),
            crps=self.crps / values,
            values=values,
        )
