"""Student's t: the chance of its tails, its quantiles, and figures told with as many digits as their errors allow."""

import math
from functools import lru_cache

import numpy as np

NODES = 256  # of the quadrature of the tail
MOST_DECIMALS = 4


def tail(t: float, freedom: int) -> float:
    """The chance that Student's t is at least as far from 0, either way.

    Its density by the angle a, t = sqrt(freedom) tan a, is in proportion to cos(a)^(freedom - 1); Gauss-Legendre.
    """
    start = math.atan(abs(t) / math.sqrt(freedom))
    width = min(math.pi / 2 - start, 40.0 / math.sqrt(freedom))  # beyond, there is nothing
    nodes, weights = _rule()
    angles = start + width * (nodes + 1.0) / 2.0
    constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(math.pi)
    density = np.exp((freedom - 1) * np.log(np.maximum(np.cos(angles), 1e-300)) + constant)
    return min(1.0, float(width * (weights * density).sum()))


def quantile(share: float, freedom: int) -> float:
    """How far from 0, either way, Student's t stays in such a share of all cases; by bisection."""
    low, high = 0.0, 1.0
    while tail(high, freedom) > 1.0 - share:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if tail(middle, freedom) > 1.0 - share else (low, middle)
    return high


def decimals(error: float | None) -> int:
    """The digits behind the point that an error allows: its first one that is not 0, the next too where that is 1."""
    if error is None or error <= 0.0 or not math.isfinite(error):
        return MOST_DECIMALS
    place = math.floor(math.log10(error))
    return min(max(0, (error < 2.0 * 10.0**place) - place), MOST_DECIMALS)


def told(value: float, error: float | None, *, by: float | None = None) -> str:
    """A figure with its error, where there is one: as many digits as the error allows, or as `by` does.

    An error is rounded up, so that it is never told smaller than it is.
    """
    digits = decimals(error if by is None else by)
    if error is None or not math.isfinite(error):
        return f"{value:,.{digits}f}"
    return f"{value:,.{digits}f} ± {math.ceil(error * 10**digits - 1e-9) / 10**digits:,.{digits}f}"


@lru_cache(maxsize=1)
def _rule() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return nodes, weights
