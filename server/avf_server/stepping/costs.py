"""What a batch takes: seconds as a linear function of rows, iterations and samples, fitted to those that there were.

    seconds = pace (a + b iterations + c rows + d rows iterations + e rows samples)

`samples` counts those of all iterations of a row. `pace` is how much slower than usual the machine is just now.

The law: the fit follows the machine: a batch of long ago counts less, and the pace is that of the last few. Until a
model has stepped nothing is known of it, and its cost is 0. No clock, and no I/O.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORGETTING = 0.999  # what a batch still counts after the next one
RIDGE = 1e-3  # of the normal equations: what is never seen is taken for small
SMOOTHING = 0.1  # of the pace
PACES = (0.25, 4.0)  # beyond which a batch is taken for an accident
SOLVED = 16  # batches, after which coefficients are found anew; while there were few, after each
FEW = 64  # batches
ENOUGH = 20  # batches, before which nothing is said of the pace
UNIT = 1e-3  # seconds, in which the fit is made
TERMS = 5


@dataclass(frozen=True)
class Work:
    """What a batch does: `samples` of all iterations of a row together. Arrays of it are made once."""

    rows: int
    iterations: int
    samples: int

    @cached_property
    def terms(self) -> NDArray[np.float64]:
        """What the coefficients are of, of about the same size each."""
        rows, iterations = float(self.rows), float(self.iterations)
        return np.array([1.0, iterations / 4.0, rows / 16.0, rows * iterations / 64.0, rows * self.samples / 512.0])

    @cached_property
    def normal(self) -> NDArray[np.float64]:
        """What it adds to the normal equations, and what keeps small there what is never seen."""
        return self.terms[:, None] * self.terms + (1.0 - FORGETTING) * RIDGE * np.eye(TERMS)


@dataclass
class _Fit:
    normal: NDArray[np.float64] = field(default_factory=lambda: RIDGE * np.eye(TERMS))
    moments: NDArray[np.float64] = field(default_factory=lambda: np.zeros(TERMS))
    pace: float = 1.0
    seen: int = 0
    coefficients: NDArray[np.floating[Any]] | None = None

    def usual(self, work: Work) -> float:
        if self.coefficients is None:
            self.coefficients = np.linalg.solve(self.normal, self.moments)
        return max(0.0, float(work.terms.dot(self.coefficients)))


class Costs:
    """The fit of each model."""

    def __init__(self) -> None:
        self._fits: dict[str, _Fit] = {}

    def took(self, model: str, work: Work, *, seconds: float) -> None:
        """A batch of this model took so long."""
        fit = self._fits.setdefault(model, _Fit())
        usual = fit.usual(work) if fit.seen >= ENOUGH else 0.0
        if usual > 0.0:
            pace = min(max(seconds / UNIT / usual, PACES[0]), PACES[1])
            fit.pace += SMOOTHING * (pace - fit.pace)
        fit.seen += 1
        fit.normal = FORGETTING * fit.normal + work.normal
        fit.moments = FORGETTING * fit.moments + work.terms * (seconds / UNIT / fit.pace)
        if fit.seen < FEW or fit.seen % SOLVED == 0:
            fit.coefficients = None

    def seconds(self, model: str, work: Work) -> float:
        """How long a batch of this model will take; 0 where nothing is known of it."""
        fit = self._fits.get(model)
        return 0.0 if fit is None else fit.pace * fit.usual(work) * UNIT
