"""What the server did in the last minute, for people who look at it now; Prometheus keeps the rest.

The law: a step costs a few additions, whatever the rate; nothing grows. There is no clock here: `now` is passed in, in
seconds that only go up.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

SLICE = 5.0  # seconds
SLICES = 12  # a minute
BOUNDS = tuple(1e-4 * 1.2**k for k in range(64))  # seconds; the last is ten


@dataclass
class _Slice:
    start: float
    steps: int = 0
    ticks: int = 0
    rows: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class LastMinute:
    """Counts of the last minute, in slices of five seconds."""

    def __init__(self) -> None:
        self._slices: deque[_Slice] = deque(maxlen=SLICES)

    def stepped(self, now: float, *, seconds: Sequence[float]) -> None:
        """Note observations, each of which was answered so many seconds after it came."""
        current = self._current(now)
        current.steps += len(seconds)
        for each in seconds:
            current.latencies[bisect_left(BOUNDS, each)] += 1

    def ticked(self, now: float, *, rows: int) -> None:
        """Note a batch."""
        current = self._current(now)
        current.ticks += 1
        current.rows += rows

    def rate(self, now: float) -> float:
        """Observations answered a second, in the last ten seconds or a little more."""
        slices = self._since(now - 2 * SLICE)
        return sum(s.steps for s in slices) / max(SLICE, now - slices[0].start) if slices else 0.0

    def latency(self, now: float, level: float) -> float | None:
        """The time that a part `level` of the last minute's answers stayed under, to 20 %; None without any."""
        slices = self._since(now - SLICES * SLICE)
        counts = [sum(of_slices) for of_slices in zip(*(s.latencies for s in slices), strict=True)]
        wanted, total = level * sum(counts), 0
        for bound, count in zip((*BOUNDS, BOUNDS[-1]), counts, strict=False):
            total += count
            if total and total >= wanted:
                return bound
        return None

    def rows(self, now: float) -> float | None:
        """Observations in a batch, on average over the last minute; None without any."""
        slices = self._since(now - SLICES * SLICE)
        ticks = sum(s.ticks for s in slices)
        return sum(s.rows for s in slices) / ticks if ticks else None

    def _current(self, now: float) -> _Slice:
        start = now // SLICE * SLICE
        if not self._slices or self._slices[-1].start < start:
            self._slices.append(_Slice(start))
        return self._slices[-1]

    def _since(self, then: float) -> list[_Slice]:
        """The slices that reach beyond this time."""
        return [s for s in self._slices if s.start + SLICE > then]
