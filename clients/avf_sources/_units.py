"""Whether numbers are in the units that are expected: a column in Kelvin, or two that are swapped, told by name.

Of each channel it is known about which number it lay, and how far it spread. The law: what is missing tells nothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAR = 6.0  # spreads by which the middle of the numbers is away from what is expected
WIDE = 8.0  # times the spread
TENTHS = 2.6  # spreads of a Gaussian between its first and its last tenth


def foreign(rows: Array, *, center: Sequence[float], scale: Sequence[float], names: Sequence[str]) -> dict[str, str]:
    """What looks as if it were in other units, of (T, D) numbers: a sentence by the name of each such channel."""
    found = {}
    for n, column in enumerate(rows.T):
        there = column[~np.isnan(column)]
        if not len(there) or _fits(there, center[n], scale[n]):
            continue
        others = [names[m] for m in range(len(names)) if m != n and _fits(there, center[m], scale[m])]
        hint = f"; it looks like {others[0]}: are columns swapped?" if others else ": are its units the model's?"
        found[names[n]] = (
            f"{names[n]} lies about {np.median(there):.4g}, where the model's training data lay about "
            f"{center[n]:.4g}, give or take {scale[n]:.3g}{hint}"
        )
    return found


def _fits(values: Array, center: float, scale: float) -> bool:
    """Whether these may be numbers of a channel that lay about there."""
    low, middle, high = np.percentile(values, (10.0, 50.0, 90.0))
    return bool(abs(middle - center) <= FAR * scale and high - low <= WIDE * TENTHS * scale)
