"""Both stores keep one contract; Redis is a real one."""

import asyncio
import contextlib
import itertools
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable
from os import kill
from pathlib import Path
from typing import Any

import pytest
from avf_server.batching import Position
from avf_server.embedded import EmbeddedRedis
from avf_server.problems import StoreError
from avf_server.stores.base import Commit, Meta, Outcome
from avf_server.stores.memory import MemoryStore
from avf_server.stores.redis import RedisStore

WINDOW = 3


def meta(session: str) -> Meta:
    """A session's facts."""
    return Meta(id=session, owner="", model="tiny", seed=1, iterations=2, durability="group", created_at=0.0)


def commit(session: str, epoch: int, seq: int) -> Commit:
    """The step after `seq`."""
    continues = Position(epoch, seq)
    return Commit(session=session, continues=continues, belief=b"belief%d" % seq, reply=b"reply%d" % (seq + 1))


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_server: EmbeddedRedis) -> Callable[[], Any]:
    """Open a store of each kind, with a window of three replies."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        if request.param == "memory":
            yield MemoryStore(window=WINDOW, ttl=60.0, clock=time.monotonic)
        else:
            redis = RedisStore(redis_server.url, timeout=5.0, window=WINDOW, ttl=60.0)
            yield redis
            await redis.close()

    return opened


def test_a_commit_is_applied_once_and_only_where_the_session_stands(store: Any, patiently: Any) -> None:
    """The same commit twice moves the session once; one of another position, or session, not at all."""

    async def scenario() -> None:
        async with store() as kept:
            session = uuid.uuid4().hex
            await kept.create(meta(session))
            wanted = [commit(session, 1, 0), commit(session, 1, 0), commit(session, 1, 7), commit("none", 1, 0)]
            outcomes = await kept.commit(wanted)
            assert outcomes == [Outcome.APPLIED, Outcome.MOVED, Outcome.MOVED, Outcome.GONE]
            (record, absent) = await kept.load([(session, 1), ("none", 1)])
            assert absent is None
            assert record.meta == meta(session)
            assert (record.position, record.belief, record.reply) == (Position(1, 1), b"belief0", b"reply1")
            assert 0 < record.expires_in <= 60.0

    patiently(scenario())


def test_the_last_replies_are_kept_and_no_more(store: Any, patiently: Any) -> None:
    """A window of three: of five steps the replies of the last three are stored."""

    async def scenario() -> None:
        async with store() as kept:
            session = uuid.uuid4().hex
            await kept.create(meta(session))
            for seq in range(5):
                assert await kept.commit([commit(session, 1, seq)]) == [Outcome.APPLIED]
            records = await kept.load([(session, seq) for seq in (1, 2, 3, 4, 5, None)])
            assert [record.reply for record in records] == [
                None,
                None,
                b"reply3",
                b"reply4",
                b"reply5",
                b"reply5",
            ]

    patiently(scenario())


def test_a_reset_begins_an_epoch_that_knows_nothing_of_the_last(store: Any, patiently: Any) -> None:
    """No belief and no reply is left; commits of the old epoch are refused; a second reset of it is too."""

    async def scenario() -> None:
        async with store() as kept:
            session = uuid.uuid4().hex
            await kept.create(meta(session))
            await kept.commit([commit(session, 1, 0)])
            assert await kept.reset(session, epoch=1) is Outcome.APPLIED
            assert await kept.reset(session, epoch=1) is Outcome.MOVED
            assert await kept.reset("none", epoch=1) is Outcome.GONE
            assert await kept.commit([commit(session, 1, 1)]) == [Outcome.MOVED]
            (record,) = await kept.load([(session, 1)])
            assert (record.position, record.belief, record.reply) == (Position(2, 0), None, None)
            assert await kept.delete(session)
            assert not await kept.delete(session)

    patiently(scenario())


def test_of_racing_commits_one_wins(store: Any, patiently: Any) -> None:
    """Many clients commit the same step at once: it is applied once."""

    async def scenario() -> None:
        async with store() as kept:
            session = uuid.uuid4().hex
            await kept.create(meta(session))
            outcomes = await asyncio.gather(*(kept.commit([commit(session, 1, 0)]) for _ in range(10)))
            assert sorted(outcome.name for (outcome,) in outcomes) == ["APPLIED"] + ["MOVED"] * 9

    patiently(scenario())


def test_memory_forgets_sessions_at_their_time(patiently: Any) -> None:
    """Those that were not used for the time to live are gone; a step makes the time start again."""

    async def scenario() -> None:
        clock = itertools.count(0.0, 4.0)  # every look at the clock is four seconds later
        kept = MemoryStore(window=WINDOW, ttl=20.0, clock=lambda: next(clock))
        await kept.create(meta("used"))
        await kept.create(meta("unused"))
        assert await kept.commit([commit("used", 1, 0)]) == [Outcome.APPLIED]
        while "unused" in kept:
            assert "used" in kept
        assert await kept.load([("unused", 1)]) == [None]

    patiently(scenario())


def test_redis_loses_its_scripts_and_commits_go_on(redis_server: EmbeddedRedis, patiently: Any) -> None:
    """A Redis that was started again knows no scripts: they are sent again, and the commit is applied once."""

    async def scenario() -> None:
        kept = RedisStore(redis_server.url, timeout=5.0, window=WINDOW, ttl=60.0)
        session = uuid.uuid4().hex
        await kept.create(meta(session))
        assert await kept.commit([commit(session, 1, 0)]) == [Outcome.APPLIED]
        await kept._redis.script_flush()
        assert await kept.commit([commit(session, 1, 1), commit(session, 1, 1)]) == [
            Outcome.APPLIED,
            Outcome.MOVED,
        ]
        await kept.close()

    patiently(scenario())


def test_a_redis_that_does_not_answer_is_an_error_after_one_time_out(tmp_path: Path, patiently: Any) -> None:
    """No retries: one call, one time-out, one StoreError; and all is well once Redis goes on."""

    async def scenario(redis: EmbeddedRedis) -> None:
        kept = RedisStore(redis.url, timeout=0.1, window=WINDOW, ttl=60.0)
        retry = kept._redis.get_retry()
        assert retry is not None
        assert retry.get_retries() == 0
        await kept.create(meta("a"))
        assert redis.pid is not None
        kill(redis.pid, signal.SIGSTOP)
        try:
            for call in (kept.ping(), kept.load([("a", 1)]), kept.commit([commit("a", 1, 0)])):
                with pytest.raises(StoreError, match="does not answer"):
                    await call
        finally:
            kill(redis.pid, signal.SIGCONT)
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline
            with contextlib.suppress(StoreError):
                (record,) = await kept.load([("a", 1)])
                break
        assert record is not None
        await kept.close()

    with EmbeddedRedis(tmp_path) as redis:
        patiently(scenario(redis))
