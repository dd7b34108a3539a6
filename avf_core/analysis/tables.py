"""Quantiles as tables with a tail above: what part of the data they were made of is farther out.

The law: rows are judged by the same arithmetic, one or many tables at once, to the last bit. At every step of a stream
it is calls that count, not numbers.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

SMALLEST = 1e-300  # of what is told


@runtime_checkable
class Table(Protocol):
    """`values` are the quantiles at `levels`; above them there is a generalised Pareto tail (Pickands 1975)."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Rising, in [0, 1)."""

    @property
    def values(self) -> tuple[float, ...]:
        """As many, in nats; none is below the one before."""

    @property
    def tail_scale(self) -> float:
        """In nats, above 0."""

    @property
    def tail_shape(self) -> float:
        """In [0, 1); 0 for an exponential one."""


class Tables:
    """Several tables, a row of scores each."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = [np.array(one.values, dtype=np.float64) for one in tables]
        levels = [np.array(one.levels, dtype=np.float64) for one in tables]
        self._values, self._levels = np.concatenate(self._tables), np.concatenate(levels)
        self._gaps = np.concatenate([np.maximum(np.diff(values), SMALLEST) for values in self._tables])
        self._rises = np.concatenate([np.diff(one) for one in levels])
        sizes = np.array([len(one) for one in levels])
        self._most, self._row = sizes[:, None] - 1, np.arange(len(sizes))[:, None]
        self._begins = (np.cumsum(sizes) - sizes)[:, None]
        self._last, self._outer = (np.array([each[-1] for each in parts])[:, None] for parts in (self._tables, levels))
        self._scale = np.array([[one.tail_scale] for one in tables])
        shapes = np.array([[one.tail_shape] for one in tables])
        self._shaped, self._shape = shapes > 0.0, np.where(shapes > 0.0, shapes, 1.0)

    def below(self, scores: Float64[ndarray, "tables rows"], *, equal: bool) -> Float64[ndarray, "tables rows"]:
        """P(score < this one), or with those that are `equal`, by straight lines within each table; NaN for NaN."""
        side: Literal["left", "right"] = "right" if equal else "left"
        places = np.stack([values.searchsorted(row, side) for values, row in zip(self._tables, scores, strict=True)])
        at = np.minimum(np.maximum(places, 1), self._most) - 1 + self._begins
        step = at - self._row  # there is one fewer in each table
        part = np.minimum(np.maximum((scores - self._values[at]) / self._gaps[step], 0.0), 1.0)
        found: ndarray = self._levels[at] + part * self._rises[step]
        return found

    def above(self, scores: Float64[ndarray, "tables rows"]) -> Float64[ndarray, "tables rows"]:
        """P(score >= this one), in (0, 1]: by the table, and above it by the tail; NaN for NaN."""
        p = 1.0 - self.below(scores, equal=False)
        beyond = scores > self._last
        if beyond.any():
            excess = np.where(beyond, scores - self._last, 0.0) / self._scale
            log_tail = np.where(self._shaped, -np.log1p(self._shape * excess) / self._shape, -excess)
            p = np.where(beyond, (1.0 - self._outer) * np.exp(log_tail), p)
        found: ndarray = np.minimum(np.maximum(p, SMALLEST), 1.0)  # both pass NaN on
        return found
