"""Redis known to be away is not asked: the first call that fails opens the circuit, and a probe closes it again.

The law: while the circuit is open every call fails at once, with the reason that opened it, so that nobody waits for a
time-out that another has already waited for; one task asks on behalf of all, so that nothing piles up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.exceptions import ClusterDownError, RedisClusterException, RedisError, ResponseError

from avf_server.problems import StoreError
from avf_server.tasks import Supervisor, end

logger = logging.getLogger(__name__)

INTERVAL = 0.1  # seconds between probes


class Circuit:
    """`probe` asks Redis whether it is there, and raises StoreError where it is not."""

    def __init__(self, probe: Callable[[], Awaitable[None]], supervisor: Supervisor) -> None:
        self._probe = probe
        self._supervisor = supervisor
        self._reason: StoreError | None = None
        self._probing: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Raise StoreError while Redis is known to be away."""
        if self._reason is not None:
            await asyncio.sleep(0)  # who asks again and again leaves time for the probe
            raise StoreError(str(self._reason))

    def trip(self, reason: StoreError) -> None:
        """Redis did not answer: ask no more until it does."""
        self._reason = reason
        if self._probing is None or self._probing.done():
            self._probing = self._supervisor.start("avf-redis-probe", self._ask)

    def judged(self, error: Exception) -> StoreError:
        """What became of a call that raised this: Redis refuses, or is away, whatever its library makes of that."""
        if isinstance(error, ResponseError) and not isinstance(error, ClusterDownError):
            return StoreError(f"Redis refuses: {error}")
        if not isinstance(error, RedisError | RedisClusterException | OSError):
            logger.warning("Redis does not answer", exc_info=error)
        away = StoreError(f"Redis does not answer: {_said(error)}")
        self.trip(away)
        return away

    async def close(self) -> None:
        """End the probe."""
        await end(self._probing)

    async def _ask(self) -> None:
        while self._reason is not None:
            await asyncio.sleep(INTERVAL)
            try:
                await self._probe()
            except StoreError as error:
                self._reason = error
            else:
                self._reason = None


def _said(error: Exception) -> str:
    """What an error says; one that says nothing is a time-out."""
    return str(error) or ("it took too long" if isinstance(error, TimeoutError) else type(error).__name__)
