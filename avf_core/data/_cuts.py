"""A whole in three parts, by order or by time, and stretches of it cut into shorter ones; positions only."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from avf_core.data.base import TEST, TRAIN, VALID
from avf_core.errors import DataError

Stretch = tuple[int, int]
"""The first step, and the step after the last."""


def in_order(total: int, *, valid: float, test: float) -> dict[str, Stretch]:
    """The stretches of `total` items that the splits get: the first for train, the last for test; none is empty."""
    ends = [0, round(total * (1.0 - valid - test)), round(total * (1.0 - test)), total]
    parts = dict(zip((TRAIN, VALID, TEST), pairwise(ends), strict=True))
    return {name: (a, b) for name, (a, b) in parts.items() if a < b}


def at_offsets(path: Path, name: str, offsets: np.ndarray, total: int) -> list[Stretch]:
    """The stretches between offsets, which must rise from 0 to `total`. Raises DataError."""
    whole = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    listed = offsets.tolist() if whole else []
    if not whole or listed[0] != 0 or listed[-1] != total or any(a >= b for a, b in pairwise(listed)):
        raise DataError(
            f"{path}: {name} do not cut {total} rows into sequences, expected integers that rise from 0 to {total}: "
            "the file is damaged"
        )
    return list(pairwise(listed))


def shorter(a: int, b: int, length: int | None) -> list[Stretch]:
    """The stretch from a to b in pieces of `length`, the last one shorter; whole where there is no length."""
    step = length or b - a
    return [(start, min(start + step, b)) for start in range(a, b, step)]


def by_time(total: int, *, valid: float, test: float, length: int | None) -> dict[str, list[Stretch]]:
    """The sequences of each split of one stream of `total` steps."""
    parts = in_order(total, valid=valid, test=test)
    return {name: shorter(a, b, length) for name, (a, b) in parts.items()}
