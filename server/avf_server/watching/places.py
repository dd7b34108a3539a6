"""Places of those who wait for long, shared by owners.

The law: each owner has some places that nobody else takes: half of all, divided by the number of owners. The other half
is for whoever comes first. Where there is one owner only, all are its own.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def may_enter(held: Mapping[str, int], owner: str, *, limit: int, owners: int) -> bool:
    """Whether one more of `owner` may enter, where each of `owners` owners holds so many of `limit` places."""
    kept = limit // (2 * owners)  # for each of them
    others = [count for each, count in held.items() if each != owner]
    owed = sum(max(0, kept - count) for count in others) + kept * max(0, owners - 1 - len(others))
    free = limit - sum(held.values())
    return free > 0 and (held.get(owner, 0) < kept or free > owed)


class Places:
    """`limit` places, shared by so many owners."""

    def __init__(self, limit: int, *, owners: int) -> None:
        self._limit = limit
        self._owners = owners
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._held.total()

    def may_enter(self, owner: str) -> bool:
        """Whether there is one for one more of this owner."""
        return may_enter(self._held, owner, limit=self._limit, owners=self._owners)

    @contextmanager
    def one(self, owner: str) -> Iterator[None]:
        """Hold one."""
        self._held[owner] += 1
        try:
            yield
        finally:
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]
