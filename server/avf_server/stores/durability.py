"""Where sessions are kept, by their durability, and how safe what was acknowledged is.

The law: a session is kept as safely as it chose, or its client is told: never a silent downgrade.

    none     the memory of this server
    behind   Redis, some time after the reply: stores/behind.py
    group    Redis, before the reply
    wait     Redis, before the reply, and replicas of it: replication.py
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import avf_wire as wire

from avf_server.problems import StoreError
from avf_server.stores.base import DurableStore, Meta, Position, Store
from avf_server.stores.behind import BehindStore
from avf_server.stores.memory import MemoryStore
from avf_server.stores.replication import Replication
from avf_server.tasks import Supervisor


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    replay_window: int
    session_ttl_s: float
    history_length: int
    behind_s: float
    behind_steps: int
    wait_replicas: int
    drain_s: float
    max_sessions: int
    max_sessions_per_key: int


class StoresByDurability:
    """The stores of a server. `start` it before use and `stop` it: what is not saved yet is then saved."""

    def __init__(
        self, limits: Limits, durable: DurableStore, *, changed: Callable[[str], None], supervisor: Supervisor
    ) -> None:
        """`changed` is told the sessions of which something was lost."""
        self._limits = limits
        self._changed = changed
        self.durable = durable
        self.memory = MemoryStore(
            window=limits.replay_window,
            ttl=limits.session_ttl_s,
            clock=time.monotonic,
            history=limits.history_length,
        )
        self.behind = BehindStore(
            durable,
            window=limits.behind_s,
            most=limits.behind_steps,
            clock=time.monotonic,
            lost=self._note_lost,
            is_lost=self.has_lost,
            supervisor=supervisor,
        )
        self._replication = Replication(
            lambda sessions: durable.replicas(sessions, replicas=limits.wait_replicas), supervisor
        )
        self._lost: OrderedDict[str, None] = OrderedDict()
        self.by_durability: Mapping[wire.Durability, Store] = {
            "none": self.memory,
            "behind": self.behind,
            "group": durable,
            "wait": durable,
        }

    def start(self) -> None:
        """Begin to save what is saved later."""
        self.behind.start()

    async def stop(self) -> None:
        """Save what is not saved yet, within the time there is to stop."""
        await self.behind.stop(seconds=self._limits.drain_s)

    def store(self, session: str) -> Store:
        """The store that keeps a session."""
        if session in self.memory:
            return self.memory
        return self.behind if session in self.behind else self.durable

    def store_of(self, durability: wire.Durability) -> Store:
        """The store of the sessions of this durability."""
        return self.by_durability[durability]

    def stores(self) -> Iterator[Store]:
        """All stores, those first that answer soonest."""
        yield from (self.memory, self.behind, self.durable)

    async def durable_seq(self, meta: Meta, at: Position) -> int:
        """The last observation, of a session that stands there, that is as safe as the session chose; 0 if none is."""
        if meta.durability == "wait":
            try:
                return at.seq if await self.is_replicated(meta.id) else 0
            except StoreError:
                return 0
        return self.saved_seq(meta, at)

    def saved_seq(self, meta: Meta, at: Position) -> int:
        """The last observation that is saved; 0 if none is."""
        if meta.durability == "none":
            return 0
        return self.behind.saved(meta.id, at) if meta.durability == "behind" else at.seq

    async def is_replicated(self, session: str) -> bool:
        """Whether enough replicas have all that was saved of a session until now. Raises StoreError."""
        return await self._replication.replicas(session) >= self._limits.wait_replicas

    async def count(self, owner: str, durability: wire.Durability) -> int:
        """How many sessions an owner has in Redis; for `none`, in the memory of this server. Raises StoreError.

        Some that have gone may count as long as the limit is not reached.
        """
        index = self.durable.index
        if durability == "none":
            return self.memory.owned_count(owner)
        if await index.count(owner) >= self._limits.max_sessions_per_key:
            await index.sweep(owner)
        return await index.count(owner)

    async def sweep(self) -> float:
        """Drop what has gone, a page for each owner; the largest share of a page that had. Raises StoreError."""
        self.memory.expire()
        return max([await self.durable.index.sweep(owner) for owner in self.durable.index.owners], default=0.0)

    def has_lost(self, session: str) -> bool:
        """Whether acknowledged steps of a session were lost, because another server has gone on, and no one knows."""
        return session in self._lost

    def told(self, session: str) -> None:
        """Note that the client has been told."""
        self._lost.pop(session, None)

    def _note_lost(self, session: str) -> None:
        self._lost[session] = None
        if len(self._lost) > self._limits.max_sessions:
            self._lost.popitem(last=False)
        self._changed(session)
