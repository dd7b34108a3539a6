"""Whether served predictions mean what they say: bands and probabilities, as `Estimate.prediction` has them.

Each value is predicted before it is heard, by the very distribution that a client is given: coverage of its central
bands for real values, for zeros and ones how often what is said to be likely happens.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avf_core.analysis import stretching
from avf_core.analysis.evaluation import Progress
from avf_core.analysis.walking import walk
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.mixtures import Mixture
from avf_core.recalibration import Recalibration

LEVELS = (0.5, 0.9, 0.98)
WITHIN_90 = 1.6448536269514722  # standard deviations that hold 90 % of a Gaussian
BINS = 10  # of probabilities
FINE = 10_000  # cells of the numbers that recalibrations are fitted to
FAR = 8.0  # normal scores, in which cells of probabilities are of one width
WIDEST = 50.0  # deviations
KNOTS = (0.0, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, *(k / 40 for k in range(1, 40)))
KNOTS += (0.98, 0.99, 0.995, 0.9975, 0.999, 0.9995, 1.0)


@dataclass(frozen=True, kw_only=True)
class Predictive:
    """Predictions one step ahead, of every observed value.

    For real values `coverage` is the part of them within the central band of each level in `levels`, and `band_90` that
    within mean +- 1.645 deviations. For zeros and ones `calibration_error` is the expected calibration error: over ten
    bins of the probability of a one, |what was said - how often it happened|, weighted by the values in them;
    `likely_error` is that of probabilities of 0.1 and more alone. What does not apply is None.
    """

    particles: int
    samples: int
    levels: list[float]
    coverage: list[float] | None
    band_90: float | None
    calibration_error: float | None
    likely_error: float | None
    values: int

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        return asdict(self)


@torch.no_grad()
def predictive(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    particles: int = 1,
    iterations: int | None = None,
    seed: int = 0,
    max_rows: int = 128,
    progress: Progress | None = None,
) -> Predictive:
    """Hold the predictions of a filter against what came; sequence i has the seed `seed` + i.

    Raises DataError where there is nothing to predict.
    """
    tally = _Tally()
    how: dict[str, Any] = {"particles": particles, "iterations": iterations, "seed": seed, "max_rows": max_rows}
    for step in walk(filter, sequences, progress=progress, **how):
        tally.add(step.estimate.prediction, step.x, step.known)
    return tally.result(particles, filter.prediction_samples)


@torch.no_grad()
def recalibrate(
    filter: Filter, sequences: Sequence[np.ndarray], *, seed: int = 0, max_rows: int = 128
) -> Recalibration | None:
    """What the probabilities of a filter mean on these sequences; None for zeros and ones, whose means say all.

    Raises DataError where there is nothing to predict.
    """
    said, apart = np.zeros(FINE), np.zeros(FINE)
    before, filter.recalibration = filter.recalibration, None
    try:
        stretch = stretching.fitted(filter, sequences, seed=seed, max_rows=max_rows)
        if stretch is not None:
            filter.recalibration = Recalibration(said=(0.0, 1.0), found=(0.0, 1.0), spread=1.0, stretch=stretch)
        for step in walk(filter, sequences, seed=seed, max_rows=max_rows):
            prediction = step.estimate.prediction
            if prediction.discrete:
                return None
            scores = torch.special.ndtri(prediction.cdf(step.x)[step.known].double())
            said += _counted(scores / (2.0 * FAR) + 0.5)
            apart += _counted(((step.x - prediction.mean).abs() / prediction.deviation)[step.known] / WIDEST)
    finally:
        filter.recalibration = before
    if not said.any():
        raise DataError("expected at least one observed value")
    reached = np.concatenate([[0.0], np.cumsum(said) / said.sum()])
    edges = np.linspace(0.0, 1.0, FINE + 1)
    # Knots stand at equal parts of the values. One value more, spread over all cells, keeps the map rising.
    smooth = (reached * said.sum() + edges) / (said.sum() + 1.0)
    scores = 2.0 * FAR * (np.interp(KNOTS[1:-1], smooth, edges) - 0.5)
    places, means = _rising(torch.special.ndtr(torch.as_tensor(scores)).tolist())
    width = np.interp(0.9, np.cumsum(apart) / apart.sum(), edges[1:]) * WIDEST
    return Recalibration(said=places, found=means, spread=round(float(width / WITHIN_90), 6), stretch=stretch)


def _counted(values: Tensor) -> np.ndarray:
    """How many of these numbers, from 0 to 1, are in each of the cells."""
    cells = (values.double() * FINE).clamp(0, FINE - 1).long()
    return np.asarray(torch.bincount(cells.flatten().cpu(), minlength=FINE).numpy())


def _rising(places: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The knots at these places that rise, where they are and what they mean."""
    said, found = [0.0], [0.0]
    for place, knot in zip(places, KNOTS[1:-1], strict=True):
        if said[-1] < place < 1.0:
            said.append(place)
            found.append(knot)
    return (*said, 1.0), (*found, 1.0)


class _Tally:
    """Sums over the values so far."""

    def __init__(self) -> None:
        self.within, self.band = np.zeros(len(LEVELS)), 0
        self.said, self.came, self.count = (np.zeros(BINS) for _ in range(3))
        self.values, self.discrete = 0, False

    def add(self, prediction: Mixture, x: Tensor, known: Tensor) -> None:
        """Count the known values of one step."""
        self.values += int(known.sum())
        self.discrete = prediction.discrete
        if self.discrete:
            said, came = (values[known].double().cpu().numpy() for values in (prediction.mean, x))
            bins = np.minimum((said * BINS).astype(int), BINS - 1)
            self.said += np.bincount(bins, said, minlength=BINS)
            self.came += np.bincount(bins, came, minlength=BINS)
            self.count += np.bincount(bins, minlength=BINS)
            return
        distances = (prediction.cdf(x)[known] - 0.5).abs()
        self.within += [int((distances < 0.5 * level).sum()) for level in LEVELS]
        self.band += int(((x - prediction.mean).abs() < WITHIN_90 * prediction.deviation)[known].sum())

    def result(self, particles: int, samples: int) -> Predictive:
        """The averages."""
        if not self.values:
            raise DataError("expected at least one observed value")
        errors = np.abs(self.said - self.came)
        likely = self.count[1:].sum()
        return Predictive(
            particles=particles,
            samples=samples,
            levels=list(LEVELS),
            coverage=None if self.discrete else (self.within / self.values).tolist(),
            band_90=None if self.discrete else self.band / self.values,
            calibration_error=float(errors.sum() / self.values) if self.discrete else None,
            likely_error=float(errors[1:].sum() / likely) if self.discrete and likely else None,
            values=self.values,
        )
