"""Observations on the way in, checked here or refused; and out again, as messages say them.

The law: an observation is float32 from the codec to the store. Whatever passes fits the model (dimension, range, finite
numbers), so that no row can spoil a batch. What was passed is kept with its estimate, to be shown to those who watch.
"""

import avf_wire as wire
import numpy as np
from avf_wire.binary import Floats
from numpy.typing import ArrayLike

from avf_core.models.base import ObservationSpec
from avf_server.problems import InvalidObservationError


def checked(x: ArrayLike, spec: ObservationSpec) -> Floats:
    """The observation as a row of the batch (observation,), rounded to 32 bits, NaN where missing.

    Raises InvalidObservationError for a wrong dimension, for numbers out of the model's range, and for numbers that
    are not finite as float32, in which the models compute. So the same observation is the same in every codec.
    """
    with np.errstate(over="ignore"):
        row = np.asarray(x, dtype=np.float32)
    if row.shape != (spec.size,):
        raise InvalidObservationError(f"the observation has {row.size} dimensions, expected {spec.size}")
    if np.isinf(row).any():
        raise InvalidObservationError("the observation holds a number that is not finite in 32 bits")
    outside = (row < np.float32(spec.low)) | (row > np.float32(spec.high))  # never where missing: NaN is in no order
    if outside.any():
        worst = int(outside.argmax())
        raise InvalidObservationError(
            f"dimension {worst} is {row[worst]:g}, expected a number in [{spec.low:g}, {spec.high:g}]"
        )
    return row


def to_stored(row: Floats) -> bytes:
    """A row as it is kept: its numbers as little-endian float32."""
    return row.astype("<f4", copy=False).tobytes()


def from_stored(data: bytes) -> wire.Observation:
    """What `to_stored` gave, as a message says it: null where missing, null alone where all of it is."""
    row = np.frombuffer(data, dtype="<f4")
    missing = np.isnan(row)
    if not missing.any():
        return list(row.tolist())
    return (
        None if missing.all() else [None if gone else value for value, gone in zip(row.tolist(), missing, strict=True)]
    )
