"""How much is under way on a stream, and which of its answers are estimates. No I/O.

The laws: a client is not read past its credit, so that what waits for it is bounded; every observation is answered, by
its estimate or by an ack that comes soon enough for a client that keeps to its credit, however small it is.
"""

import asyncio
from dataclasses import dataclass

import avf_wire as wire

from avf_server import problems
from avf_server.stepping.replies import Reply


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a stream was asked for in its address: estimates of every so many observations, with their arrays or not."""

    every: int = 1
    arrays: bool = True


def options(*, every: str | None, fields: str | None) -> Options:
    """Strings become options. Raises InvalidSettingError."""
    if every is not None and not (every.isascii() and every.isdecimal() and len(every) < 16 and int(every) >= 1):
        raise problems.InvalidSettingError(f"every is {every[:32]!r}, expected a number of observations, at least 1")
    if fields not in (None, "all", "scalars"):
        raise problems.InvalidSettingError(f"fields is {fields[:32]!r}, expected all or scalars")
    return Options(every=int(every or 1), arrays=fields != "scalars")


class Credit:
    """`total` observations may be under way; one message may take all of it, and then runs alone."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._left = total
        self._waits = 0  # messages that wait for more than is left
        self._more = asyncio.Event()

    @property
    def under_way(self) -> int:
        """How many observations are."""
        return self.total - self._left

    @property
    def free(self) -> bool:
        """Whether one may be taken, and overtakes nothing that waits for more."""
        return self._left > 0 and not self._waits

    async def take(self, count: int) -> int:
        """Wait until `count`, or all where that is less, are free; gives how many were taken."""
        count = min(count, self.total)
        self._waits += 1
        try:
            while self._left < count:
                self._more.clear()
                await self._more.wait()
        finally:
            self._waits -= 1
        self._left -= count
        return count

    def take_one(self) -> None:
        """Take one of those that are there."""
        self._left -= 1

    def give(self, count: int) -> None:
        """Give back what was taken."""
        self._left += count
        self._more.set()


class Thinning:
    """Which replies are sent as estimates, and the ack that is owed for the others."""

    def __init__(self, every: int, *, most: int) -> None:
        self._every = every
        self._most = most
        self._count = 0
        self._last: Reply | None = None

    def wants(self, reply: Reply) -> bool:
        """Whether a reply is to be sent, as one that raised an alarm always is; where not, it is owed an ack."""
        if reply.seq % self._every == 0 or reply.alarmed:
            self._count, self._last = 0, None
            return True
        self._count, self._last = self._count + 1, reply
        return False

    @property
    def due(self) -> bool:
        """Whether an ack can wait no longer."""
        return self._count >= self._most

    def ack(self) -> wire.Ack | None:
        """The ack that is owed, if any."""
        last, self._count, self._last = self._last, 0, None
        return None if last is None else wire.Ack(epoch=last.epoch, seq=last.seq, durable_seq=last.durable_seq)
