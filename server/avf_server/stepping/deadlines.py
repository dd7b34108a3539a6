"""How many iterations a tick may make, so that nobody who asked for a deadline is late. Pure: no clock, and no I/O.

The laws: only sessions that asked for a deadline are given fewer iterations than they chose, and at least one where
they chose any; what was given is said in the estimate. The others' work counts, and is never less. A tick of which
nobody can be on time is as short as it can be, so that those who come next may.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

Seconds = Callable[[str, int, int], float]
"""What a batch takes: of a model, of so many rows, of so many iterations."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a session asks of a tick: `left` seconds until it is to be filtered, None where it can wait.

    `rows` are those of its particles.
    """

    model: str
    iterations: int
    left: float | None = None
    rows: int = 1


def in_time(asked: Sequence[Asked], seconds: Seconds) -> list[int]:
    """The iterations of each row: as many as were asked for, or the most at which all are on time."""
    soonest = min((row.left for row in asked if row.left is not None), default=None)
    if soonest is None:
        return [row.iterations for row in asked]
    most = max(row.iterations for row in asked if row.left is not None)
    for limit in range(most, 1, -1):
        given = _limited(asked, limit)
        if _total(asked, given, seconds) <= soonest:
            return given
    return _limited(asked, 1)


def _limited(asked: Sequence[Asked], limit: int) -> list[int]:
    return [row.iterations if row.left is None else min(row.iterations, limit) for row in asked]


def _total(asked: Sequence[Asked], given: Sequence[int], seconds: Seconds) -> float:
    """What the tick takes: its batches, one after the other."""
    batches: Counter[tuple[str, int]] = Counter()
    for row, iterations in zip(asked, given, strict=True):
        batches[row.model, iterations] += row.rows
    return sum(seconds(model, rows, iterations) for (model, iterations), rows in batches.items())
