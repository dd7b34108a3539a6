"""Observations on the way in: from JSON numbers to a row of the batch, refused here or never.

The law: whatever passes fits the model (dimension, range, finite numbers), so that no row can spoil a batch.
"""

import numpy as np
import numpy.typing as npt
from avf_client import wire

from avf_core.models.base import ObservationSpec
from avf_server.problems import InvalidObservationError


def to_row(x: wire.Observation, spec: ObservationSpec) -> npt.NDArray[np.float64]:
    """The observation as numbers of shape (observation,), NaN where missing.

    Raises InvalidObservationError for a wrong dimension, for numbers out of the model's range, and for numbers that
    are not finite as float32, in which the models compute.
    """
    if x is None:
        return np.full(spec.size, np.nan)
    if len(x) != spec.size:
        raise InvalidObservationError(f"the observation has {len(x)} dimensions, expected {spec.size}")
    row = np.array([np.nan if value is None else value for value in x], dtype=np.float64)
    given = np.array([value is not None for value in x])
    with np.errstate(over="ignore"):
        finite = np.isfinite(row.astype(np.float32))
    if not finite[given].all():
        raise InvalidObservationError("the observation holds a number that is not finite in 32 bits")
    outside = given & ((row < spec.low) | (row > spec.high))
    if outside.any():
        worst = int(outside.argmax())
        raise InvalidObservationError(
            f"dimension {worst} is {row[worst]:g}, expected a number in [{spec.low:g}, {spec.high:g}]"
        )
    return row
