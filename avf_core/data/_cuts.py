"""A whole in three parts, by order or by time, and stretches of it cut into shorter ones; positions only."""

from itertools import pairwise

from avf_core.data.base import TEST, TRAIN, VALID

Stretch = tuple[int, int]
"""The first step, and the step after the last."""


def in_order(total: int, *, valid: float, test: float) -> dict[str, Stretch]:
    """The stretches of `total` items that the splits get: the first for train, the last for test; none is empty."""
    ends = [0, round(total * (1.0 - valid - test)), round(total * (1.0 - test)), total]
    parts = dict(zip((TRAIN, VALID, TEST), pairwise(ends), strict=True))
    return {name: (a, b) for name, (a, b) in parts.items() if a < b}


def shorter(a: int, b: int, length: int | None) -> list[Stretch]:
    """The stretch from a to b in pieces of `length`, the last one shorter; whole where there is no length."""
    step = length or b - a
    return [(start, min(start + step, b)) for start in range(a, b, step)]


def by_time(total: int, *, valid: float, test: float, length: int | None) -> dict[str, list[Stretch]]:
    """The sequences of each split of one stream of `total` steps."""
    parts = in_order(total, valid=valid, test=test)
    return {name: shorter(a, b, length) for name, (a, b) in parts.items()}
