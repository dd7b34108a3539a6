"""Whether data are in the units that a model knows: a column in Kelvin, or two that are swapped, is no surprise of the
world, and should be told before its free energy is.

A model that standardises by channel knows the middle of each in its training data, and how far it spread.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

FAR = 6.0  # spreads by which the middle of the data is away from the training data's
WIDE = 8.0  # times the spread, or its part


def warnings(settings: Mapping[str, Any], names: Sequence[str] | None, sequences: Sequence[ndarray]) -> list[str]:
    """What looks as if it were in other units than the model's, a sentence a channel; of settings as `build` takes."""
    center, scale = (
        np.atleast_1d(np.asarray(settings["model"].get(key, default), dtype=np.float64))
        for key, default in (("center", 0.0), ("scale", 1.0))
    )
    channels = sequences[0].shape[1]
    if not (len(center) == len(scale) == channels) or channels < 1 or "scale" not in settings["model"]:
        return []
    called = names or [f"channel {n}" for n in range(channels)]
    rows = np.concatenate([np.asarray(sequence, dtype=np.float64) for sequence in sequences])
    found = []
    for n, column in enumerate(rows.T):
        there = column[~np.isnan(column)]
        if not len(there) or _fits(there, center[n], scale[n]):
            continue
        others = [called[m] for m in range(channels) if m != n and _fits(there, center[m], scale[m])]
        hint = f"; it looks like {others[0]}: are columns swapped?" if others else ": are its units the model's?"
        found.append(
            f"{called[n]} lies about {np.median(there):.4g}, where the model's training data lay about "
            f"{center[n]:.4g}, give or take {scale[n]:.3g}{hint}"
        )
    return found


def _fits(values: ndarray, center: float, scale: float) -> bool:
    """Whether these may be numbers of a channel that lay about there."""
    low, middle, high = np.percentile(values, (10.0, 50.0, 90.0))
    return bool(abs(middle - center) <= FAR * scale and high - low <= WIDE * 2.6 * scale)
