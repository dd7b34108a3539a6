"""What each durability is worth when what held it is gone for good: a Redis with a replica, a server's memory."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import avf_wire as wire
import httpx
import pytest
import redis.asyncio

from tests.support.processes import Nursery
from tests.support.waiting import PATIENCE, free_port

from .checker import check
from .cluster import Cluster, Redis, Server
from .driver import Assignment, Driver
from .history import History, Unknown
from .offline import save_model, truth_of
from .proxy import Address, Proxy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("chaos"),
    pytest.mark.timeout(300),
    # asyncio leaves the writer of a connection that is cancelled while it opens to be collected
    pytest.mark.filterwarnings("ignore:.*StreamWriter.__del__:pytest.PytestUnraisableExceptionWarning"),
]


class Hand(Driver):
    """A driver that is led by the hand."""

    @contextlib.asynccontextmanager
    async def session_open(self) -> AsyncIterator["Hand"]:
        """With a session of its own."""
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE, verify=False) as self.http:
            await self._open()
            yield self

    async def steps(self, count: int) -> None:
        """So many more, each until it is acknowledged."""
        for seq in range(self.next_seq, self.next_seq + count):
            while await self.attempt(seq, 1) is None:
                await self.pause()
            self.next_seq = seq + 1

    async def find(self) -> int:
        """The next seq, as the server says."""
        while not await self.look():
            await self.pause()
        return self.next_seq


def hand(url: str, history: History, seed: int, durability: wire.Durability) -> Hand:
    return Hand(Assignment(url=url, history=history, seed=seed, durability=durability, think=0.0))


class Pair:
    """A server on a Redis with a replica; both ways, to the primary and between the two, lead through proxies."""

    def __init__(self) -> None:
        self.current: Address = ("127.0.0.1", 0)
        self.front = Proxy(lambda: [self.current], seed=0)
        self.between = Proxy(lambda: [self.current], seed=0)

    @contextlib.asynccontextmanager
    async def running(self, folder: Path, model: Path) -> AsyncIterator[str]:
        """The address of the server."""
        async with contextlib.AsyncExitStack() as stack:
            nursery = stack.enter_context(Nursery())
            for way in (self.front, self.between):
                await stack.enter_async_context(way)
            self.primary = Redis("primary", nursery, folder=folder / "primary", port=free_port())
            await self.primary.start()
            self.current = ("127.0.0.1", self.primary.port)
            host, _, port = self.between.url.removeprefix("http://").partition(":")
            address = (host, int(port))
            self.replica = Redis("replica", nursery, folder=folder / "replica", port=free_port(), primary=address)
            await self.replica.start()
            options = ["--model", str(model), "--redis-url", self.front.url.replace("http", "redis")]
            settings = {"AVF_PORT": "0", "AVF_THREADS": "1", "AVF_REDIS_TIMEOUT_S": "1"}
            server = Server("server", nursery, log=folder / "log", options=options, settings=settings)
            await server.start()
            yield "http://{}:{}".format(*server.address)
            for part in (server, self.replica, self.primary):
                await part.give_up()

    def hold(self) -> None:
        """Nothing more reaches the replica."""
        for link in self.between.links:
            link.moving.clear()

    async def fail_over(self) -> None:
        """The primary is gone, with all that had not left it; its replica takes its place."""
        await self.primary.give_up()
        self.primary.kill(signal.SIGKILL)
        client = redis.asyncio.Redis.from_url(self.replica.url)
        await client.replicaof("NO", "ONE")
        await client.aclose()
        self.current = ("127.0.0.1", self.replica.port)
        for link in [*self.between.links, *self.front.links]:
            self.front.reset(link)


async def test_what_a_replica_had_confirmed_outlives_the_primary(tmp_path: Path) -> None:
    """Of the steps that no replica had, `wait` acknowledged none; `group` did, and they are lost: its stated limit."""
    history, model, pair = History(), save_model(tmp_path), Pair()
    async with pair.running(tmp_path, model) as url, contextlib.AsyncExitStack() as stack:
        opened = [hand(url, history, seed, name) for seed, name in enumerate(("wait", "group"))]
        waits, groups = [await stack.enter_async_context(each.session_open()) for each in opened]
        for each in (waits, groups):
            await each.steps(5)
        slow = history.answers["not-replicated"]  # a replica may be late, and the step is sent again
        pair.hold()
        await groups.steps(3)
        assert await waits.attempt(6, 1) is None
        assert history.answers["not-replicated"] == slow + 1
        await pair.fail_over()
        assert await waits.find() == 6
        assert await groups.find() == 6
        await groups.steps(5)
        assert await waits.attempt(6, 1) is None  # there is no replica any more
        assert history.answers["not-replicated"] == slow + 2
    found = check(history, truth_of(history, model))
    assert history.faults == {}
    assert found["wait"].violations == []
    assert found["wait"].acknowledged == 5
    assert len(found["group"].lost) == 1


async def test_a_session_in_memory_ends_with_its_server(tmp_path: Path) -> None:
    """After `kill -9` a session of durability `none` is unknown, to its server, started again, and to all others."""
    history, model = History(), save_model(tmp_path)
    async with Cluster(tmp_path, model=model, servers=2, seed=0) as cluster:
        first, second = cluster.servers
        driver = hand("http://{}:{}".format(*first.address), history, 1, "none")
        async with driver.session_open():
            await driver.steps(3)
            assert {event.durable for event in history.events if hasattr(event, "durable")} == {0}
        first.kill(signal.SIGKILL)
        while first.dying:
            await asyncio.sleep(0.01)
        for server in (first, second):
            async with httpx.AsyncClient(
                base_url="http://{}:{}".format(*server.address), timeout=PATIENCE, verify=False
            ) as driver.http:
                assert not await driver.look()
    assert sum(isinstance(event, Unknown) for event in history.events) == 2
    assert history.answers["unknown-session"] == 2
