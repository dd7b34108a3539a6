"""From how many rows on all cores are faster than one: measured as an engine is used.

Of each size of batches, to the next power of two, the first calls take turns between one thread and all; then the
faster goes on, and now and then the other is tried again, as what else the machine does changes. The time is that of
the wall: threads that have to wait for a core do not pay, however little they compute.

The law: results do not depend on the number of threads, so what is chosen shows in time only.
"""

from dataclasses import dataclass, field

TRIES = 3  # of each, of which the first warms up
AGAIN = 128  # calls, after which the slower one is tried again
FORGETS = 0.5  # how much a new time counts
LONGEST = 2.0  # times the one before: a call that was interrupted says no more


@dataclass
class Crossing:
    """Which of one thread and all is faster, by sizes of batches."""

    _seconds: dict[tuple[int, bool], float] = field(default_factory=dict)
    _calls: dict[int, int] = field(default_factory=dict)

    def threads(self, rows: int, most: int) -> int:
        """How many threads share so many rows: one, or all that there are, up to one a row."""
        every = min(rows, most)
        if every <= 1:
            return 1
        size = _size(rows)
        calls = self._calls[size] = self._calls.get(size, 0) + 1
        faster = self._seconds.get((size, True), 0.0) < self._seconds.get((size, False), 0.0)
        if calls <= 2 * TRIES:
            return every if calls % 2 else 1
        return every if faster != (calls % AGAIN == 0) else 1

    def took(self, rows: int, threads: int, seconds: float) -> None:
        """How long a call took, or a part of it that all calls have, of so many rows with so many threads."""
        size = _size(rows)
        if self._calls.get(size, 0) <= 2:
            return
        key, each = (size, threads > 1), seconds / rows
        before = self._seconds.get(key, each)
        self._seconds[key] = before + FORGETS * (min(each, LONGEST * before) - before)


def _size(rows: int) -> int:
    return (rows - 1).bit_length()
