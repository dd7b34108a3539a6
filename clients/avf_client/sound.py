"""From samples that users have, of any kind of number, to the bytes that a session takes.

The law: what is no sound is refused before anything is sent, and full scale stays full scale in every type of number.
"""

from typing import Any

import avf_wire as wire
import numpy as np
from avf_sources import NotNumbersError, numbers
from avf_wire import binary
from numpy.typing import NDArray

from avf_client.errors import ProblemError, refused
from avf_client.observations import ObservationLike


def to_bytes(samples: ObservationLike, *, encoding: wire.Encoding) -> bytes:
    """Samples (T,), 16-bit integers or numbers within [-1, 1], as the session takes them.

    Raises InvalidObservation for what is no sound.
    """
    try:
        values = numbers(samples)
    except NotNumbersError as error:
        raise no_sound(f"the samples are not of numbers: {error}") from error
    if values.ndim != 1:
        raise no_sound(f"the samples have shape {values.shape}, expected (T,): mono, average the channels")
    if values.dtype.kind == "i" and values.dtype.itemsize == 2:
        return _from_levels(values.astype(np.int16), encoding)
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        kind = "NaN (or masked samples) or infinities" if values.dtype.kind == "f" else f"the type {values.dtype}"
        raise no_sound(f"the samples have {kind}, expected 16-bit integers or finite numbers within [-1, 1]")
    values = values.astype(np.float64)  # half floats have no number between 32,752 and 32,768
    if np.abs(values).max(initial=0.0) > 1.0:
        raise no_sound("the samples go beyond [-1, 1]: scale them down, or clip them")
    if encoding == "f32":
        return values.astype("<f4").tobytes()
    levels: NDArray[Any] = np.rint(values * binary.LEVELS).clip(-binary.LEVELS, binary.LEVELS - 1)
    return levels.astype("<i2").tobytes()


def _from_levels(values: NDArray[np.int16], encoding: wire.Encoding) -> bytes:
    if encoding == "s16":
        return values.astype("<i2").tobytes()
    return (values.astype("<f4") / np.float32(binary.LEVELS)).astype("<f4").tobytes()


def no_sound(detail: str) -> ProblemError:
    """The problem of samples that are none."""
    return refused("invalid-observation", detail, status=422)
