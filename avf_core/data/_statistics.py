"""Where data lies and how far it spreads, by which models standardise what they observe."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from avf_core.data._numbers import numbers
from avf_core.errors import DataError

WITHIN = (
    5.0,
    95.0,
)  # percentiles between which a channel's spread is taken: a glitch in twenty numbers moves it little
DEVIATIONS = 3.2897  # between these percentiles of a Gaussian


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


def channel_statistics(
    sequences: Iterable[Shaped[ndarray, "_time observation"]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A center and a scale for each number of an observation, each in its own units, whatever a few outliers are.

    The median, and the width between the 5th and the 95th percentile in deviations of a Gaussian. Where that is 0, as
    in a channel that hardly ever changes, the standard deviation; where that is 0 too, 1. NaNs and masked values are
    left out. Raises DataError where a channel has no number at all, or its spread is beyond float64.
    """
    rows = np.concatenate([numbers(sequence).astype(np.float64) for sequence in sequences])
    centers, scales = [], []
    for channel, column in enumerate(rows.T):
        there = column[~np.isnan(column)]
        if not len(there):
            raise DataError(f"channel {channel} of the data has no number: every value is missing")
        low, high = np.percentile(there, WITHIN)
        spread = float(high - low) / DEVIATIONS or float(there.std()) or 1.0
        if not spread < float("inf"):
            raise DataError(f"channel {channel} of the data has a spread of {spread}: expected finite values")
        centers.append(float(np.median(there)))
        scales.append(spread)
    return tuple(centers), tuple(scales)
