"""How much a tick may do, so that nobody who asked for a deadline is late. Pure: no clock, and no I/O.

The laws: only sessions that asked for a deadline are given less than they chose: fewer iterations first, at least one
where they chose any, and then fewer gradient samples in it; what was given is said in the estimate. The others' work
counts, and is never less. A tick of which nobody can be on time is as short as it can be, so that those who come next
may.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

Seconds = Callable[[str, int, int], float]
"""What a batch takes: of a model, of so many rows, of so many iterations."""
SecondsOf = Callable[[str, int, int, int | None], float]
"""The same of so many gradient samples in an iteration at most; None for as many as the model has."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a session asks of a tick: `left` seconds until it is to be filtered, None where it can wait.

    `rows` are those of its particles, `samples` the most gradient samples of an iteration, `least` the fewest.
    """

    model: str
    iterations: int
    left: float | None = None
    rows: int = 1
    samples: int = 1
    least: int = 1

    def fewer(self, most: int | None) -> int | None:
        """The gradient samples of an iteration where there may be so many; None where that is no limit to it."""
        if most is None or self.left is None or most >= self.samples or self.least >= self.samples:
            return None
        return max(most, self.least)


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


def few_samples(asked: Sequence[Asked], given: Sequence[int], seconds: SecondsOf) -> int | None:
    """The most gradient samples of an iteration at which all are on time; None where they are with what they have."""
    soonest = min((row.left for row in asked if row.left is not None), default=None)
    if soonest is None or _total_of(asked, given, None, seconds) <= soonest:
        return None
    most = max(row.samples for row in asked if row.left is not None) // 2
    while most > 1 and _total_of(asked, given, most, seconds) > soonest:
        most //= 2
    return max(1, most)


def _limited(asked: Sequence[Asked], limit: int) -> list[int]:
    return [row.iterations if row.left is None else min(row.iterations, limit) for row in asked]


def _total(asked: Sequence[Asked], given: Sequence[int], seconds: Seconds) -> float:
    """What the tick takes: its batches, one after the other."""
    return _total_of(asked, given, None, lambda model, rows, iterations, samples: seconds(model, rows, iterations))


def _total_of(asked: Sequence[Asked], given: Sequence[int], most: int | None, seconds: SecondsOf) -> float:
    batches: Counter[tuple[str, int, int | None]] = Counter()
    for row, iterations in zip(asked, given, strict=True):
        batches[row.model, iterations, row.fewer(most)] += row.rows
    return sum(seconds(model, rows, iterations, samples) for (model, iterations, samples), rows in batches.items())
