"""Whether of two, scored at the same steps, one is ahead: paired differences, averaged over stretches of time.

Neighbouring steps err alike, so that steps are no independent cases; long stretches nearly are (the method of batch
means, Law & Kelton 2000, section 9.5.3). The law: the difference is of first less second, below 0 the first is ahead,
and that is proven only where both tests of `avf compare` say so.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from avf_core.analysis.comparison import is_proven, of_cases

STRETCHES = 20


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of first less second, a step, with its error over `stretches` and the chances of one this far from 0 by accident.

    `p_t` is of Student's t, `p_flips` of flipped signs. Error and chances are None where steps are too few to tell.
    """

    mean: float
    standard_error: float | None
    p_t: float | None
    p_flips: float | None
    stretches: int

    @property
    def proven(self) -> bool:
        """Whether it is no accident."""
        return self.p_t is not None and self.p_flips is not None and is_proven(self.p_t, self.p_flips)

    @property
    def said(self) -> str:
        """In words, for brackets: the larger of the chances."""
        if self.p_t is None or self.p_flips is None:
            return "unproven: too few steps to test"
        p = f"p = {max(self.p_t, self.p_flips):.2g}"
        return p if self.proven else f"unproven: {p}"

    def as_dict(self) -> dict[str, float | int | None]:
        """The figures by name."""
        return dict(vars(self))


def difference(
    first: Float[np.ndarray, " steps"], second: Float[np.ndarray, " steps"], *, stretches: int = STRETCHES
) -> Difference:
    """Of two rows of scores of the same steps, in time's order; steps at which either is NaN count for nothing."""
    gaps = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    gaps = gaps[~np.isnan(gaps)]
    mean = float(gaps.mean()) if len(gaps) else float("nan")
    if len(gaps) < 2 * stretches:
        return Difference(mean=mean, standard_error=None, p_t=None, p_flips=None, stretches=0)
    found = of_cases(averages(gaps, stretches))
    tested = {"standard_error": found.standard_error, "p_t": found.p_t, "p_flips": found.p_flips}
    return Difference(mean=mean, **tested, stretches=stretches)


def averages(gaps: Float64[np.ndarray, " steps"], stretches: int) -> Float64[np.ndarray, " stretches"]:
    """The mean of each of so many stretches, as long as each other but for one step."""
    return np.array([part.mean() for part in np.array_split(gaps, stretches)])
