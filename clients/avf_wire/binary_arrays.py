"""Arrays within messages of the sub-protocol `avf.v1.bin`: what each is of, by its name, and its bytes.

    an array, little-endian    u16 name | u16 type (0 f32, 1 f64) | u32 length in words of 4 bytes | the numbers

The law: names are never used again for anything else, and those that a release does not know are passed over, whatever
their type. Whatever the bytes are, MalformedFrame is all that is raised.
"""

import math
import struct
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from avf_wire.errors import ProtocolError

Floats: TypeAlias = NDArray[np.float32]
Numbers: TypeAlias = NDArray[np.floating[Any]]
"""float32, or float64 where a model computes in it."""

FREE_ENERGIES = 1
ALWAYS = ("prior", "posterior", "prediction", "likelihood")
PARTS = (*ALWAYS, "prediction_at_prior_mean", "smoothed")
"""Distributions, first those of every estimate. Arrays of their means are named 2, 4, ..., 12, of their deviations 3,
5, ..., 13."""
SMOOTHED_SEQ, QUANTILE_LEVELS, QUANTILES = 14, 15, 16
SCALARS = {"time": 17, "evidence_bound": 18, "effective_sample_size": 19, "gradient_samples": 21}
"""The names of arrays of one number each, f64, by the fields of an estimate."""
ALARM = 20
"""Five f64: whether one was raised, p, whether it is high, statistic, threshold; NaN where nothing was heard."""
KNOWN = frozenset(range(1, 22))
FIRST = (*SCALARS.values(), ALARM)
"""What stands first, and stays where arrays are left out."""
ORDER = (*FIRST, *sorted(KNOWN - {*FIRST}))
"""In which arrays come."""

TYPES: tuple[np.dtype[np.floating[Any]], ...] = (np.dtype("<f4"), np.dtype("<f8"))
"""Of the numbers in an array, by their codes."""
HEAD = struct.Struct("<HHI")
"""What stands before the numbers."""
ALARM_NUMBERS = 5
LARGEST_WHOLE = 2.0**53


class MalformedFrame(ProtocolError):  # noqa: N818 - like the other errors of the client
    """These bytes are no message of `avf.v1.bin`; the text says what was expected."""


MOMENTS = {part: (2 * i + 2, 2 * i + 3) for i, part in enumerate(PARTS)}
"""The names of the arrays of a part's means and of its deviations."""


def mean_name(part: str) -> int:
    """The name of the array of a part's means."""
    return MOMENTS[part][0]


def deviation_name(part: str) -> int:
    """The name of the array of a part's deviations."""
    return MOMENTS[part][1]


def type_code(dtype: np.dtype[Any]) -> int:
    """The code of the type in which numbers of this one are written."""
    return int(dtype.itemsize == 8)


def encode(name: int, x: Numbers) -> bytes:
    """The bytes of an array."""
    code = type_code(x.dtype)
    data = x.astype(TYPES[code], copy=False).tobytes()
    return HEAD.pack(name, code, len(data) // 4) + data


def decode(count: int, payload: memoryview) -> dict[int, Numbers]:
    """`count` arrays by their names; those whose names this release does not know are passed over."""
    arrays: dict[int, Numbers] = {}
    at, end = 0, len(payload)
    for _ in range(count):
        if end - at < HEAD.size:
            raise MalformedFrame(f"{end - at} bytes are left, expected the header of an array: {HEAD.size} bytes")
        name, code, words = HEAD.unpack_from(payload, at)
        start, at = at + HEAD.size, at + HEAD.size + 4 * words
        if at > end:
            raise MalformedFrame(f"array {name} of {words} words is cut: {end - start} bytes are left")
        if name in KNOWN:
            arrays[name] = _of_type(name, code, payload[start:at])
    if at < end:
        raise MalformedFrame(f"{end - at} bytes are left after {count} arrays")
    return arrays


def _of_type(name: int, code: int, data: memoryview) -> Numbers:
    if code >= len(TYPES):
        raise MalformedFrame(f"the type of array {name} is {code}, expected one of 0 to {len(TYPES) - 1}")
    dtype = TYPES[code]
    if code and len(data) % dtype.itemsize:  # words are of the other type's size
        raise MalformedFrame(f"array {name} has {len(data)} bytes, expected a multiple of {dtype.itemsize}")
    return np.frombuffer(data, dtype=dtype)


def one(arrays: dict[int, Numbers], name: int) -> float | None:
    """The number of an array of one; None where it is absent, or NaN."""
    found = arrays.get(name)
    if found is None:
        return None
    if len(found) != 1:
        raise MalformedFrame(f"array {name} has {len(found)} numbers, expected 1")
    value = found.item()
    return None if math.isnan(value) else value


def alarm(arrays: dict[int, Numbers]) -> Numbers | None:
    """The five numbers of an alarm; None where there is none, or nothing was heard."""
    found = arrays.get(ALARM)
    if found is not None and len(found) != ALARM_NUMBERS:
        raise MalformedFrame(f"array {ALARM} has {len(found)} numbers, expected {ALARM_NUMBERS}")
    return None if found is None or np.isnan(found).any() else found


def whole(arrays: dict[int, Numbers], name: int) -> int | None:
    """The whole number of such an array."""
    value = one(arrays, name)
    if value is None:
        return None
    if not 0 <= value <= LARGEST_WHOLE:
        raise MalformedFrame(f"array {name} holds {value:g}, expected a number in [0, {LARGEST_WHOLE:g}]")
    return int(value)


def by_level(arrays: dict[int, Numbers]) -> Numbers | None:
    """The quantiles, by level first."""
    if QUANTILES not in arrays:
        return None
    levels, values = len(arrays.get(QUANTILE_LEVELS, ())), arrays[QUANTILES]
    if not levels or len(values) % levels:
        raise MalformedFrame(f"{len(values)} quantiles at {levels} levels, expected as many of each level")
    return values.reshape(levels, -1)
