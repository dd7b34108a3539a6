"""Whether data are in the units that a model knows: a column in Kelvin, or two that are swapped, is no surprise of the
world, and should be told before its free energy is.

A model that standardises by channel knows the middle of each in its training data, and how far it spread.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from avf_sources import foreign
from numpy import ndarray


def known(settings: Mapping[str, Any], *, channels: int) -> tuple[list[float], list[float]] | None:
    """The middle and the spread of each channel, of settings as `build` takes; None where a model has no such."""
    model = settings["model"]
    if "center" not in model or "scale" not in model:
        return None
    center, scale = (np.atleast_1d(np.asarray(model[key], dtype=np.float64)) for key in ("center", "scale"))
    if not (len(center) == len(scale) == channels) or channels < 1:
        return None
    return center.tolist(), scale.tolist()


def warnings(settings: Mapping[str, Any], names: Sequence[str] | None, sequences: Sequence[ndarray]) -> list[str]:
    """What looks as if it were in other units than the model's, a sentence a channel; of settings as `build` takes."""
    channels = sequences[0].shape[1]
    expected = known(settings, channels=channels)
    if expected is None:
        return []
    called = names or [f"channel {n}" for n in range(channels)]
    rows = np.concatenate([np.asarray(sequence, dtype=np.float64) for sequence in sequences])
    return list(foreign(rows, center=expected[0], scale=expected[1], names=called).values())
