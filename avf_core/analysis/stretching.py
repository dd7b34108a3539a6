"""How much wider predictions are to be than they say, by what changed lately: fitted for a recalibration.

By place, values are sorted by the change around them in deviations that are said; in each group of them, the factor of
deviations is the one by which the quantile of errors is a Gaussian's. What is then left of whole observations goes with
their mean change, of which the usual one is kept.

The law: only what was known before a value is heard, and only where a likelihood knows of changes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from avf_core.analysis.walking import walk
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.mixtures import Mixture
from avf_core.recalibration import Stretch

LEVEL, WITHIN = 0.9, 1.6448536269514722  # the part of errors that is looked at, and a Gaussian's deviations for it
PARTS = (*(k / 24 for k in range(24)), 0.98, 0.99, 0.995, 0.999, 1.0)  # where groups by ratio end
CELLS = 400  # of ratios, and of errors
FAR = 8.0  # logarithms of ratios and of errors lie within
LEAST = 1e-3  # deviations, that an error counts as at least


@torch.no_grad()
def fitted(filter: Filter, sequences: Sequence[np.ndarray], *, seed: int = 0, max_rows: int = 128) -> Stretch | None:
    """The stretch of a filter without recalibration on these sequences; None where its likelihood knows of no changes.

    Raises DataError where there are no two observations that differ.
    """
    counts = np.zeros((CELLS, CELLS))
    for step in walk(filter, sequences, seed=seed, max_rows=max_rows):
        prediction = step.estimate.prediction
        if prediction.changes is None:
            return None
        counts += _counted(prediction, step.x, step.known)
    by_place = _by_place(counts)
    whole, steps = 0.0, 0
    for step in walk(filter, sequences, seed=seed, max_rows=max_rows):
        prediction = step.estimate.prediction
        change, nearby, deviation, moved = _known(prediction)
        found = by_place.whole(change, nearby, deviation)[moved]
        whole, steps = whole + float(found.double().sum()), steps + int(moved.sum())
    ratios, factors = by_place.ratios, by_place.factors
    return Stretch(ratios=ratios, factors=factors, usual=round(whole / steps, 6))


def _known(prediction: Mixture) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Changes, those around, the deviations that are said, and the rows in which anything changed."""
    assert prediction.changes is not None
    change, nearby = prediction.changes
    return change, nearby, prediction.deviation, change.amax(-1) > 0.0


def _counted(prediction: Mixture, x: Tensor, known: Tensor) -> np.ndarray:
    """How many values have such a ratio and such an error, both in deviations."""
    _, nearby, deviation, moved = _known(prediction)
    errors = ((x - prediction.mean).abs() / deviation).clamp(min=LEAST)
    rows, columns = (_cells(torch.log(sizes)[known & moved[:, None]]) for sizes in (nearby / deviation, errors))
    found = torch.bincount(rows * CELLS + columns, minlength=CELLS * CELLS)
    return np.asarray(found.reshape(CELLS, CELLS).cpu().numpy())


def _cells(logarithms: Tensor) -> Tensor:
    return ((logarithms + FAR) * (CELLS / (2.0 * FAR))).long().clamp(0, CELLS - 1)


def _by_place(counts: np.ndarray) -> Stretch:
    """Ratios that end groups of the values, and the factor of each group at its mean ratio."""
    values = counts.sum()
    if not values:
        raise DataError("expected two observations that differ")
    middles = (np.arange(CELLS) + 0.5) * (2.0 * FAR / CELLS) - FAR
    reached = np.cumsum(counts.sum(1)) / values
    ends = np.unique(np.searchsorted(reached, PARTS[1:]))
    ratios, factors = [], []
    for group in np.split(np.arange(CELLS), np.clip(ends, 0, CELLS - 1) + 1):
        here = counts[group]
        if here.sum():
            errors = np.cumsum(here.sum(0)) / here.sum()
            ratios.append(round(float(here.sum(1) @ middles[group] / here.sum()), 6))
            factors.append(round(float(np.interp(LEVEL, errors, middles + FAR / CELLS) - np.log(WITHIN)), 6))
    if len(ratios) == 1:  # as where all changes are alike: one factor for all
        ratios, factors = [ratios[0], ratios[0] + 1.0], factors * 2
    return Stretch(ratios=tuple(ratios), factors=tuple(factors))
