"""Whether steps have reached replicas, for sessions of durability `wait`: asked in rounds, outside of the tick.

The laws: a round covers all that was saved before it began, so that all who wait share it, and no tick waits for a slow
replica; who comes while a round is under way is in the next one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from avf_server.problems import StoreError
from avf_server.tasks import Supervisor


class Replication:
    """`ask` says, for each of these sessions, how many replicas have what was saved of it; it may raise StoreError."""

    def __init__(self, ask: Callable[[Sequence[str]], Awaitable[list[int]]], supervisor: Supervisor) -> None:
        self._ask = ask
        self._supervisor = supervisor
        self._next: dict[str, asyncio.Future[int | StoreError]] = {}
        self._rounds: asyncio.Task[None] | None = None

    async def replicas(self, session: str) -> int:
        """How many replicas have all that was saved of a session until now. Raises StoreError."""
        if session not in self._next:
            self._next[session] = asyncio.get_running_loop().create_future()
        joined = self._next[session]
        if self._rounds is None or self._rounds.done():
            self._rounds = self._supervisor.start("avf-replication", self._run)
        found = await asyncio.shield(joined)
        if isinstance(found, StoreError):
            raise StoreError(str(found))
        return found

    async def _run(self) -> None:
        while self._next:
            asked, self._next = self._next, {}
            found: Sequence[int | StoreError] = [StoreError("asking the replicas failed")] * len(asked)
            try:
                found = await self._ask(list(asked))
            except StoreError as error:
                found = [error] * len(asked)
            finally:  # whatever failed, nobody waits for ever
                for future, answer in zip(asked.values(), found, strict=True):
                    future.set_result(answer)
