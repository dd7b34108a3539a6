"""The mean and standard deviation of data, by which models standardise what they observe."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from avf_core.data._numbers import numbers
from avf_core.errors import DataError


def statistics(sequences: Iterable[Shaped[ndarray, "_time observation"]]) -> tuple[float, float]:
    """The mean and the standard deviation of all numbers in these sequences, in the data's units.

    Sums are in float64, NaNs and masked values are left out. Two passes: the squares are those of the differences from
    the mean. Raises DataError where there is no number, or all are the same.
    """
    sequences = [numbers(sequence) for sequence in sequences]
    count = int(sum(np.count_nonzero(~np.isnan(s)) for s in sequences))
    if not count:
        raise DataError("there are no numbers to take the mean of: every value is missing")
    mean = sum(float(np.nansum(s, dtype=np.float64)) for s in sequences) / count
    squares = sum(float(np.nansum(np.square(s.astype(np.float64) - mean))) for s in sequences)
    deviation = float(np.sqrt(squares / count))
    if not 0.0 < deviation < float("inf"):
        raise DataError(f"the data has a standard deviation of {deviation}: expected finite values that differ")
    return mean, deviation
