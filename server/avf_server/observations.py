"""Observations on the way in: from numbers as they came to a row of the batch, refused here or never.

The law: whatever passes fits the model (dimension, range, finite numbers), so that no row can spoil a batch.
"""

import numpy as np
import numpy.typing as npt

from avf_core.models.base import ObservationSpec
from avf_server.codecs.base import Given
from avf_server.problems import InvalidObservationError


def to_row(x: Given, spec: ObservationSpec) -> npt.NDArray[np.float64]:
    """The observation as numbers of shape (observation,), rounded to 32 bits, NaN where missing.

    Raises InvalidObservationError for a wrong dimension, for numbers out of the model's range, and for numbers that
    are not finite as float32, in which the models compute. So the same observation is the same in every codec.
    """
    if x is None:
        return np.full(spec.size, np.nan)
    if len(x) != spec.size:
        raise InvalidObservationError(f"the observation has {len(x)} dimensions, expected {spec.size}")
    if not isinstance(x, np.ndarray):
        x = np.array([np.nan if value is None else value for value in x], dtype=np.float64)
    with np.errstate(over="ignore"):
        row = x.astype(np.float32)
    if np.isinf(row).any():
        raise InvalidObservationError("the observation holds a number that is not finite in 32 bits")
    outside = (row < np.float32(spec.low)) | (row > np.float32(spec.high))  # never where missing: NaN is in no order
    if outside.any():
        worst = int(outside.argmax())
        raise InvalidObservationError(
            f"dimension {worst} is {row[worst]:g}, expected a number in [{spec.low:g}, {spec.high:g}]"
        )
    return row.astype(np.float64)
