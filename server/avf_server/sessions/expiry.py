"""What has ended by itself leaves nothing behind: sessions that expired, in memory and in the index of their owners.

The law: a sweep is bounded, a page at a time, and harms nobody: what it meets and what is used meanwhile is left.
"""

import asyncio

from avf_server.problems import StoreError
from avf_server.sessions.registry import Sessions
from avf_server.tasks import Supervisor, end

INTERVAL = 1.0  # seconds between sweeps
MANY = 0.25  # where more than this share of a page had gone, the next one is looked at soon
SOON = 0.01  # seconds


class Sweeper:
    """Sweeps while it runs: `start` it, and `stop` it."""

    def __init__(self, sessions: Sessions, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._sessions = sessions
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sweep."""
        self._task = self._supervisor.start("avf-sweeps", self._run)

    async def stop(self) -> None:
        """End."""
        await end(self._task)

    async def _run(self) -> None:
        while True:
            many = False
            try:
                self._sessions.expire()
                many = await self._sessions.stores.sweep() > MANY
            except StoreError:
                pass  # Redis is away: the next sweep finds the same
            await asyncio.sleep(SOON if many else INTERVAL)
