"""What is done to a cluster, and when: drawn from a seed, and written down with those that it concerned.

The law: at least one server is always left up and going, so that what clients meet is never plain absence; all else
may happen at any time, and at the same time.
"""

import asyncio
import math
import random
import signal
from dataclasses import dataclass, field

from .cluster import Cluster, Kept, Server
from .history import now

WEIGHTS = {
    "kill": 60,
    "stop": 7,
    "redis_kill": 14,
    "redis_stop": 5,
    "reset": 8,
    "black_hole": 4,
    "drain": 6,
}
DRAIN = 5.0  # seconds in which a server that is told to stop must be gone


@dataclass(kw_only=True)
class Fault:
    """One thing that was done: from `at` until `until`; `sessions` had a connection to what it was done to."""

    kind: str
    target: str
    at: float
    until: float = math.inf
    sessions: frozenset[str] = frozenset()


@dataclass
class Faults:
    """Does things to a cluster, `every` so many seconds on average, of the kinds of `weights`."""

    cluster: Cluster
    seed: int
    every: float
    weights: dict[str, int] = field(default_factory=lambda: dict(WEIGHTS))
    log: list[Fault] = field(default_factory=list)
    late_drains: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def run(self, seconds: float) -> None:
        """Go on for so long; what is then under way is ended by `Cluster.heal`."""
        end = now() + seconds
        lasting: set[asyncio.Task[None]] = set()
        while now() < end:
            (kind,) = self._random.choices(list(self.weights), list(self.weights.values()))
            task = asyncio.create_task(getattr(self, kind)())
            lasting.add(task)
            task.add_done_callback(lasting.discard)
            await asyncio.sleep(min(self.every * 2 * self._random.random(), max(0.0, end - now())))
        for task in lasting:
            task.cancel()
        for result in await asyncio.gather(*lasting, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def count(self, *kinds: str) -> int:
        """How often these were done."""
        return sum(fault.kind in kinds for fault in self.log)

    async def kill(self) -> None:
        """kill -9 of a server."""
        if server := self._victim():
            fault = self._begin("kill", server, sessions=self.cluster.proxy.sessions_of(server.address))
            server.kill(signal.SIGKILL)
            await self._up_again(fault, server)

    async def stop(self) -> None:
        """SIGSTOP of a server, which later goes on as if nothing had been."""
        if server := self._victim():
            await self._suspend("stop", server, seconds=0.2 + 1.8 * self._random.random())

    async def redis_kill(self) -> None:
        """kill -9 of Redis."""
        redis = self._redis()
        if redis.serving:
            fault = self._begin("redis_kill", redis)
            redis.kill(signal.SIGKILL)
            await self._up_again(fault, redis)

    async def redis_stop(self) -> None:
        """SIGSTOP of Redis: it answers late, and then does all that it was sent meanwhile."""
        redis = self._redis()
        if redis.serving:
            await self._suspend("redis_stop", redis, seconds=0.05 + 0.75 * self._random.random())

    async def reset(self) -> None:
        """Resets of a third of all connections."""
        links = sorted(self.cluster.proxy.links, key=id)
        for link in self._random.sample(links, math.ceil(len(links) / 3)):
            self.cluster.proxy.reset(link)

    async def black_hole(self) -> None:
        """A third of all connections carry nothing any more, for up to two seconds."""
        links = self._random.sample(sorted(self.cluster.proxy.links, key=id), len(self.cluster.proxy.links) // 3)
        sessions = frozenset(link.session for link in links if link.session)
        fault = Fault(kind="black_hole", target="proxy", at=now(), sessions=sessions)
        self.log.append(fault)
        for link in links:
            link.moving.clear()
        try:
            await asyncio.sleep(0.1 + 1.9 * self._random.random())
        finally:
            for link in links:
                link.moving.set()
            fault.until = now()

    async def drain(self) -> None:
        """SIGTERM of a server, as in a rolling restart."""
        if server := self._victim():
            await self.restart(server)

    async def restart(self, server: Server) -> None:
        """SIGTERM, the end of the process, which is counted where it is late, and the start of another."""
        process = server.process
        assert process is not None
        fault = self._begin("drain", server, sessions=self.cluster.proxy.sessions_of(server.address))
        server.kill(signal.SIGTERM)
        ended = asyncio.shield(asyncio.wrap_future(process.ended))
        await asyncio.wait((ended,), timeout=2 * DRAIN)
        if not ended.done() or ended.result() != 0 or now() > fault.at + DRAIN:
            self.late_drains += 1
        await self._up_again(fault, server)

    def _victim(self) -> Server | None:
        """A server that may be spared."""
        serving = [server for server in self.cluster.servers if server.serving]
        return self._random.choice(serving) if len(serving) > 1 else None

    def _redis(self) -> Kept:
        parts = [self.cluster.redis, *([self.cluster.replica] if self.cluster.replica else [])]
        return self._random.choices(parts, [3, 1][: len(parts)])[0]

    def _begin(self, kind: str, target: Kept, *, sessions: set[str] | None = None) -> Fault:
        fault = Fault(kind=kind, target=target.name, at=now(), sessions=frozenset(sessions or ()))
        self.log.append(fault)
        return fault

    async def _suspend(self, kind: str, target: Kept, *, seconds: float) -> None:
        fault = self._begin(kind, target)
        target.kill(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if target.stopped:
                target.kill(signal.SIGCONT)
            fault.until = now()

    async def _up_again(self, fault: Fault, target: Kept) -> None:
        while target.dying:
            await asyncio.sleep(0.01)
        await target.ready()
        fault.until = now()
