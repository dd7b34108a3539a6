"""Reliability curves: what predictions say, beside what came, and p-values of surprise piece by piece.

Of zeros and ones: in bins of the probability of a one, how often ones came, for the predictions that are served and for
those at the prior's mean, which leave out what the prior is unsure of. Of real numbers: how many lie within the central
band of each level. By piece: the share of its judged steps whose p-value, by what a server hears of them, is below
LEVEL, which is LEVEL where what is heard is like what the reference was made of. The law: every value is predicted
before it is heard.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avf_core.analysis.sign_reference import SignReference, scores_and_signs
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.analysis.walking import walk
from avf_core.errors import DataError
from avf_core.filtering import Filter

BINS = 20
LEVELS = (*(k / 20 for k in range(1, 20)), 0.98)
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Of each bin that has values in it: the mean of what was said, how often a one came, and the number of values."""

    said: list[float]
    came: list[float]
    count: list[int]

    @property
    def error(self) -> float:
        """The expected calibration error: |said - came|, weighted by the values."""
        weights = np.array(self.count) / sum(self.count)
        return float(weights @ np.abs(np.array(self.said) - np.array(self.came)))


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """`served` and `at_prior_mean` are of zeros and ones, `covered` of real numbers at `levels`; else None.

    `below` has, of each piece, the share of its judged steps with a p-value under LEVEL; None without a reference.
    """

    served: Bins | None
    at_prior_mean: Bins | None
    levels: list[float]
    covered: list[float] | None
    below: list[float] | None
    steps: int

    def as_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)


@torch.no_grad()
def reliability(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    reference: ReferenceDistribution | SignReference | None = None,
    seed: int = 0,
    max_rows: int = 128,
) -> Reliability:
    """Hold predictions and p-values against what came; sequence i has the seed `seed` + i.

    Raises DataError where there is nothing to predict.
    """
    served, plain, covered, values, steps = _Counts(), _Counts(), np.zeros(len(LEVELS)), 0, 0
    for step in walk(filter, sequences, seed=seed, max_rows=max_rows):
        e, x, known = step.estimate, step.x, step.known
        values, steps = values + int(known.sum()), steps + int(step.scored.sum())
        if e.prediction.discrete:
            served.add(e.prediction.mean, x, known)
            plain.add(e.prediction_at_prior_mean.mean, x, known)
        else:
            distances = (e.prediction.cdf(x)[known].double() - 0.5).abs()
            covered += [int((distances < 0.5 * level).sum()) for level in LEVELS]
    if not values:
        raise DataError("expected at least one observed value")
    discrete = served.any
    return Reliability(
        served=served.bins() if discrete else None,
        at_prior_mean=plain.bins() if discrete else None,
        levels=list(LEVELS),
        covered=None if discrete else (covered / values).tolist(),
        below=None if reference is None else _below(reference, filter, sequences, seed=seed, max_rows=max_rows),
        steps=steps,
    )


def _below(
    reference: ReferenceDistribution | SignReference, filter: Filter, sequences: Sequence[np.ndarray], **how: Any
) -> list[float]:
    """Of each sequence with judged steps, the share of these that are stranger than all but LEVEL of normal ones."""
    if isinstance(reference, SignReference):
        both = zip(*scores_and_signs(filter, sequences, **how), strict=True)
        found = [reference.p_values(scores[None], signs[None])[0] for scores, signs in both]
    else:
        found = [reference.p_values(scores) for scores in step_scores(filter, sequences, **how)]
    judged = [p[np.isfinite(p)] for p in found]
    return [float((p < LEVEL).mean()) for p in judged if len(p)]


class _Counts:
    """Sums by bins of what was said."""

    def __init__(self) -> None:
        self.said, self.came, self.count = (np.zeros(BINS) for _ in range(3))

    @property
    def any(self) -> bool:
        """Whether there is a value."""
        return bool(self.count.any())

    def add(self, mean: Tensor, x: Tensor, known: Tensor) -> None:
        """Count the known values of one step."""
        said, came = (values[known].double().cpu().numpy() for values in (mean, x))
        bins = np.minimum((said * BINS).astype(int), BINS - 1)
        self.said += np.bincount(bins, said, minlength=BINS)
        self.came += np.bincount(bins, came, minlength=BINS)
        self.count += np.bincount(bins, minlength=BINS)

    def bins(self) -> Bins:
        """The means of the bins that hold something."""
        held = self.count > 0
        said, came = (sums[held] / self.count[held] for sums in (self.said, self.came))
        return Bins(said=said.tolist(), came=came.tolist(), count=self.count[held].astype(int).tolist())
