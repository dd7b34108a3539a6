"""Sequences as real numbers, with NaN where one is missing; what stands behind a mask is not read."""

import avf_sources
from numpy import ndarray

from avf_core.errors import DataError


def numbers(sequence: object) -> ndarray:
    """A sequence as an array of real numbers, masked values as NaN. Raises DataError for what is none."""
    try:
        return avf_sources.numbers(sequence)
    except avf_sources.NotNumbersError as error:
        raise DataError(f"a sequence is not of numbers: {error}") from error
