"""From what users call an array to real numbers, with NaN where one is missing.

The law: what stands behind a mask is not read. A masked value, and None, is missing; what is no real number (complex
numbers, text, dates, records, other objects) is refused, never converted.
"""

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

REAL_KINDS = "biuf"
_HINTS = {
    "c": "complex numbers: take their real and imaginary parts as two dimensions",
    "V": "records: take one field, or stack the fields as dimensions",
    "M": "dates: take the seconds since one of them",
    "m": "spans of time: divide them by np.timedelta64(1, 's')",
}


class NotNumbersError(ValueError):
    """These are no real numbers. The message says what they are, and what to do."""


def numbers(values: object) -> NDArray[Any]:
    """An array of real numbers, of any kind that numpy has; of float64 where something is missing.

    Takes arrays, masked ones too, lists of numbers, None and such arrays, and whatever has `__array__`. Raises
    NotNumbersError.
    """
    try:
        return _real(values)
    except NotNumbersError:
        raise
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise NotNumbersError(f"not an array of numbers: {error}") from error


def _real(values: object) -> NDArray[Any]:
    parts = isinstance(values, list | tuple) and any(isinstance(v, np.ma.MaskedArray | list | tuple) for v in values)
    array: NDArray[Any] = np.array([_real(v) for v in values]) if parts else np.asanyarray(values)  # type: ignore[attr-defined]
    kind = array.dtype.kind
    if kind not in REAL_KINDS + "O":
        raise NotNumbersError(f"{array.dtype} are no real numbers but {_HINTS.get(kind, 'text: convert it')}")
    there = ~np.ma.getmaskarray(array)
    plain = np.ma.getdata(array)
    if there.all() and kind != "O":
        return np.asarray(plain)
    filled = np.full(array.shape, np.nan)
    filled[there] = [_number(v) for v in plain[there]] if kind == "O" else plain[there]
    return filled


def _number(value: object) -> float:
    """One object, as object arrays hold them."""
    if value is None:
        return np.nan
    if not isinstance(value, Real | Decimal | np.bool_):
        raise NotNumbersError(f"{value!r} is no real number: expected numbers, NaN or None where one is missing")
    return float(value)
