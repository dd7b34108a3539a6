"""From what users have (lists, arrays, None) to what the wire carries, refusing what can never be right.

The law: NaN means "this dimension is missing" and travels as null, and so does what a mask covers; None means "all of
it is missing"; an infinity (in float32, as models compute) or a wrong dimension is refused before anything is sent.
"""

from collections.abc import Sequence
from typing import TypeAlias

import avf_wire as wire
import numpy as np
from avf_sources import NotNumbersError, numbers
from numpy.typing import NDArray

from avf_client.errors import refused

ObservationLike: TypeAlias = Sequence[float | None] | NDArray[np.generic] | None
"""One observation of shape (D,): numbers, NaN or None for a missing dimension, or a masked array; None where all of it
is missing."""


def to_wire(x: ObservationLike, *, size: int) -> wire.Observation:
    """The observation as the wire carries it. Raises InvalidObservation where it does not fit `size` dimensions."""
    if x is None:
        return None
    try:
        values = numbers(x)
    except NotNumbersError as error:
        raise refused("invalid-observation", f"the observation is not of numbers: {error}", status=422) from error
    if values.shape != (size,):
        raise refused(
            "invalid-observation",
            f"the observation has shape {values.shape}, the model takes ({size},)",
            status=422,
        )
    infinite = np.flatnonzero(np.abs(values.astype(np.longdouble)) > np.finfo(np.float32).max)
    if infinite.size:
        raise refused(
            "invalid-observation",
            f"dimension {infinite[0]} of the observation is infinite, or beyond float32; use NaN for a missing value",
            status=422,
        )
    sent: list[float | None] = values.astype(np.float64).tolist()
    for dimension in np.flatnonzero(np.isnan(values)):
        sent[dimension] = None
    return sent
