"""Redis that is away in every way there is: steps are refused soon, with the seq unchanged, and go on soon after."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from avf_server import problems
from avf_server.problems import StoreError
from avf_server.stepping.replies import Reply
from avf_server.stores.redis import RedisStore

from tests.support import redises

pytestmark = pytest.mark.slow

LIMITS: dict[str, Any] = {"window": 3, "ttl": 60.0, "history": 1000}
ZERO = [0.0] * 6
TIMEOUT = 0.1  # seconds, the default
Fault = Callable[[redises.Node], None]


def hang(node: redises.Node) -> None:
    """It takes connections and says nothing."""
    os.kill(node.pid, signal.SIGSTOP)


def wake(node: redises.Node) -> None:
    """It goes on."""
    os.kill(node.pid, signal.SIGCONT)


def fill(node: redises.Node) -> None:
    """No more memory, and nothing to evict."""
    node.ask("CONFIG", "SET", "maxmemory", "1")


def drain(node: redises.Node) -> None:
    """Memory again."""
    node.ask("CONFIG", "SET", "maxmemory", "0")


def demote(node: redises.Node) -> None:
    """A replica, of a master that is not there."""
    node.ask("REPLICAOF", "127.0.0.1", "1")


def promote(node: redises.Node) -> None:
    """A master again."""
    node.ask("REPLICAOF", "NO", "ONE")


def slow(node: redises.Node) -> None:
    """Commands that write wait, connections do not break."""
    node.ask("CLIENT", "PAUSE", "60000", "WRITE")


def fast(node: redises.Node) -> None:
    """They go on."""
    node.ask("CLIENT", "UNPAUSE")


FAULTS: dict[str, tuple[Fault, Fault, str]] = {
    "hanging": (hang, wake, "does not answer"),
    "full": (fill, drain, "maxmemory"),
    "read-only": (demote, promote, "(?i)read.?only"),
    "slow": (slow, fast, "does not answer"),
}


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """A Redis that finds again what it had, once it is started again."""
    options = {"appendonly": "yes", "appendfsync": "always"}
    with redises.running(redises.Node(redises.binary(redises.WANTED[0]), tmp_path, **options)) as (one,):
        yield one


@pytest.fixture
def node(tmp_path: Path) -> Any:
    """A Redis to do harm to."""
    name = next(iter(redises.WANTED))
    with redises.running(redises.Node(redises.binary(name), tmp_path)) as (one,):
        yield one


@pytest.mark.parametrize("kind", FAULTS)
async def test_steps_are_refused_and_go_on_and_sessions_in_memory_do_not_notice(
    runtime: Any, open_session: Any, observations: Any, same: Any, node: Any, kind: str
) -> None:
    """503 while it lasts, for many at once and again and again; the same seq afterwards, nothing lost or doubled."""
    begin, end, why = FAULTS[kind]
    xs = observations(4)
    async with runtime(redis_url=node.url, redis_timeout_s=TIMEOUT) as server:
        sessions = [await open_session(server) for _ in range(5)]
        memory = await open_session(server, durability="none")
        found: dict[str, list[Any]] = {session: [] for session in [*sessions, memory]}

        async def step(session: str, seq: int) -> None:
            reply = await server.service.observe(session, seq=seq, x=xs[seq - 1], owner="")
            found[session].append(msgspec.to_builtins(reply.message()))

        async def insist(session: str, seq: int) -> None:
            while True:
                try:
                    return await step(session, seq)
                except problems.StoreUnavailableError:
                    await asyncio.sleep(0.01)

        for session in found:
            await insist(session, 1)
        begin(node)
        try:
            for _ in range(3):
                refused = await asyncio.gather(*(step(s, 2) for s in sessions), return_exceptions=True)
                assert {type(each) for each in refused} == {problems.StoreUnavailableError}
                assert all(each.seq == 2 and each.retry_after for each in refused)
            with pytest.raises(StoreError, match=why):
                await server.store.check()
            for seq in (2, 3, 4):
                await step(memory, seq)
            with pytest.raises(problems.StoreUnavailableError):
                await open_session(server)
        finally:
            end(node)
        tasks = len(asyncio.all_tasks())
        for seq in (2, 3, 4):
            for session in sessions:
                await insist(session, seq)
        assert len(asyncio.all_tasks()) <= tasks + 1
        for estimates in found.values():
            same(estimates, xs, seed=1)


async def settled(most: int) -> None:
    """Wait until there are no more tasks than that: those that close what was refused may need a turn or some."""
    async with asyncio.timeout(30.0):
        while len(asyncio.all_tasks()) > most:
            await asyncio.sleep(0.01)


async def test_a_store_whose_redis_is_killed_and_started_again_goes_on(saved: Any) -> None:
    """Refused connections are StoreErrors, again and again; then all is there, and no task is left of it."""
    kept = RedisStore(saved.url, timeout=TIMEOUT, **LIMITS)
    await kept.ping()
    tasks = len(asyncio.all_tasks())
    for _ in range(3):
        saved.kill()
        for _ in range(20):
            refused = await asyncio.gather(*(kept.load([("a", 1)]) for _ in range(50)), return_exceptions=True)
            assert {type(each) for each in refused} == {StoreError}
            await settled(tasks + 1)  # the probe is all that there is
        saved.start()
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.01)
        assert await kept.load([("a", 1)]) == [None]
    await kept.close()


async def test_sessions_go_on_after_redis_was_killed_and_started_again(
    runtime: Any, open_session: Any, observations: Any, same: Any, saved: Any
) -> None:
    """kill -9: every step is refused meanwhile; afterwards the same seqs go on, and no task is left of it."""
    xs = observations(3)
    async with runtime(redis_url=saved.url, redis_timeout_s=TIMEOUT) as server:
        found: dict[str, list[Any]] = {}

        async def insist(session: str, seq: int) -> None:
            while len(found[session]) < seq:
                try:
                    reply = await server.service.observe(session, seq=seq, x=xs[seq - 1], owner="")
                except problems.StoreUnavailableError:
                    await asyncio.sleep(0.01)
                else:
                    found[session].append(msgspec.to_builtins(reply.message()))

        while len(found) < 10:
            try:
                found[await open_session(server)] = []
            except problems.StoreUnavailableError:
                await asyncio.sleep(0.01)
        await asyncio.gather(*(insist(session, 1) for session in found))
        tasks = len(asyncio.all_tasks())
        for seq in (2, 3):
            saved.kill()
            for _ in range(10):
                steps = (server.service.observe(session, seq=seq, x=xs[seq - 1], owner="") for session in found)
                refused = await asyncio.gather(*steps, return_exceptions=True)
                assert {type(each) for each in refused} == {problems.StoreUnavailableError}
            saved.start()
            await asyncio.gather(*(insist(session, seq) for session in found))
            while len(asyncio.all_tasks()) > tasks:
                await asyncio.sleep(0.01)
        for estimates in found.values():
            same(estimates, xs, seed=1)


async def test_who_asks_while_redis_is_away_does_not_wait_each_for_a_time_out(node: Any) -> None:
    """A thousand calls, one after the other, while the first one's time-out is two seconds; then all is well."""
    kept = RedisStore(node.url, timeout=2.0, **LIMITS)
    await kept.load([("a", 1)])
    hang(node)
    for _ in range(1000):
        with pytest.raises(StoreError, match="does not answer"):
            await kept.load([("a", 1)])
    wake(node)
    while True:
        try:
            assert await kept.load([("a", 1)]) == [None]
            break
        except StoreError:
            await asyncio.sleep(0.01)
    await kept.close()


async def test_a_redis_that_lost_everything_is_told_and_not_hidden(runtime: Any, open_session: Any, node: Any) -> None:
    """After FLUSHALL a session that is hot here does not exist, for every durability that Redis keeps."""
    async with runtime(redis_url=node.url) as server:
        sessions = {each: await open_session(server, durability=each) for each in ("group", "behind")}
        for session in sessions.values():
            await server.service.observe(session, seq=1, x=ZERO, owner="")
        node.ask("FLUSHALL")
        await server.sessions.stores.behind.save()
        for session in sessions.values():
            with pytest.raises(problems.UnknownSessionError):
                await server.service.observe(session, seq=2, x=ZERO, owner="")
        assert (await server.service.observe(await open_session(server), seq=1, x=ZERO, owner="")).seq == 1


async def test_after_a_failover_the_new_master_is_found(
    runtime: Any, open_session: Any, observations: Any, same: Any, tmp_path: Path
) -> None:
    """kill -9 of the master that a Sentinel watches: what was replicated goes on, by itself."""
    xs = observations(4)

    async def answer(server: Any, session: str, seq: int, x: Any) -> Any:
        try:
            reply = await server.service.observe(session, seq=seq, x=x, owner="")
        except problems.NotReplicatedError:  # the master that is left has no replica: it is saved there
            reply = Reply.of(await server.sessions.record(session, owner=""))
        return msgspec.to_builtins(reply.message())

    async def scenario(url: str, master: Any) -> None:
        async with runtime(redis_url=url, redis_timeout_s=1.0) as server:
            session = await open_session(server, durability="wait")
            estimates: list[Any] = []
            for seq, x in enumerate(xs, 1):
                if seq == 3:
                    master.kill()
                while len(estimates) < seq:
                    try:
                        estimates.append(await answer(server, session, seq, x))
                    except problems.StoreUnavailableError:
                        await asyncio.sleep(0.02)
            same(estimates, xs, seed=1)

    with redises.sentinel(redises.binary(redises.WANTED[0]), tmp_path) as (url, master, _):
        await scenario(url, master)
