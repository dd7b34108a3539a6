"""Observations on the way in: from numbers as they came to a row of the batch, refused here or never; and out again.

The law: whatever passes fits the model (dimension, range, finite numbers), so that no row can spoil a batch. What was
passed is kept with its estimate, to be shown to those who watch.
"""

import avf_wire as wire
import msgspec
import numpy as np
import numpy.typing as npt

from avf_core.models.base import ObservationSpec
from avf_server.codecs.base import Given
from avf_server.problems import InvalidObservationError
from avf_server.stores.base import observation_of, unpack


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


def to_stored(row: npt.NDArray[np.float64]) -> bytes:
    """A row as it is kept: its numbers as little-endian float32, which is what they were rounded to."""
    return row.astype("<f4").tobytes()


def from_stored(data: bytes) -> wire.Observation:
    """What `to_stored` gave, as a message says it: null where missing, null alone where all of it is."""
    row = np.frombuffer(data, dtype="<f4")
    missing = np.isnan(row)
    if not missing.any():
        return list(row.tolist())
    return (
        None if missing.all() else [None if gone else value for value, gone in zip(row.tolist(), missing, strict=True)]
    )


def with_observation(reply: bytes) -> bytes:
    """The estimate of a stored reply, as JSON, with its observation; without, where an older release stored it so."""
    estimate, stored = unpack(reply)[1], observation_of(reply)
    if stored is None:
        return estimate
    return estimate[:-1] + b',"observation":' + msgspec.json.encode(from_stored(stored)) + b"}"
