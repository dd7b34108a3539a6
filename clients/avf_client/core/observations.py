"""From what users have (lists, arrays, None) to what the wire carries, refusing what can never be right.

The law: NaN means "this dimension is missing" and travels as null; None means "all of it is missing"; an infinity or
a wrong dimension is refused before anything is sent.
"""

from collections.abc import Sequence
from typing import TypeAlias

import avf_wire as wire
import numpy as np
from numpy.typing import NDArray

from avf_client.errors import refused

ObservationLike: TypeAlias = Sequence[float | None] | NDArray[np.generic] | None
"""One observation of shape (D,): numbers, NaN or None for a missing dimension; None where all of it is missing."""


def to_wire(x: ObservationLike, *, size: int) -> wire.Observation:
    """The observation as the wire carries it. Raises InvalidObservation where it does not fit `size` dimensions."""
    if x is None:
        return None
    try:
        values = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise refused("invalid-observation", f"the observation is not of numbers: {error}", status=422) from error
    if values.shape != (size,):
        raise refused(
            "invalid-observation",
            f"the observation has shape {values.shape}, the model takes ({size},)",
            status=422,
        )
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise refused(
            "invalid-observation",
            f"dimension {infinite[0]} of the observation is infinite; use NaN for a missing value",
            status=422,
        )
    numbers: list[float | None] = values.tolist()
    for dimension in np.flatnonzero(np.isnan(values)):
        numbers[dimension] = None
    return numbers
