"""Every store keeps one contract, dropping one in tests it; Redis is a real one."""

import asyncio
import contextlib
import itertools
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from os import kill
from pathlib import Path
from typing import Any

import pytest
from avf_server import stores
from avf_server.problems import StoreError
from avf_server.stores.base import Commit, Meta, Outcome, Position, Step, Summary
from avf_server.stores.choice import of_address
from avf_server.stores.embedded import EmbeddedRedis
from avf_server.stores.memory import MemoryStore
from avf_server.stores.redis import RedisStore

from avf_core.plugins import kinds, plugin
from tests.support import redises

pytestmark = pytest.mark.slow

WINDOW = 3
LIMITS: dict[str, Any] = {"window": WINDOW, "ttl": 60.0, "history": 1000}


def meta(session: str, *, owner: str = "", created_at: float = 0.0) -> Meta:
    """A session's facts."""
    return Meta(id=session, owner=owner, model="tiny", seed=1, iterations=2, durability="group", created_at=created_at)


def commit(session: str, epoch: int, seq: int, *, count: int = 1) -> Commit:
    """The `count` steps after `seq`."""
    steps = [Step(reply=b"reply%d" % at, note=b"note%d.%d" % (epoch, at)) for at in range(seq + 1, seq + count + 1)]
    return Commit(session=session, continues=Position(epoch, seq), belief=b"belief%d" % seq, steps=tuple(steps))


KINDS = [*kinds(stores), *(f"{kind} {name}" for name in redises.WANTED for kind in redises.KINDS)]


@pytest.fixture(scope="session", params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Any]]:
    """Open a store: every file of the folder, and Redis of every kind and release, with a window of three replies."""
    kind, _, name = request.param.partition(" ")
    folder = tmp_path_factory.mktemp("store")
    with contextlib.ExitStack() as stack:
        found = plugin(stores, "redis" if name else kind)
        place = redises.address(kind, redises.binary(name), folder) if name else found.example(folder)
        url = stack.enter_context(place)
        yield lambda: _opened(found.open_store(url, stores.base.Limits(timeout=5.0, **LIMITS)))


@contextlib.asynccontextmanager
async def _opened(store: Any) -> AsyncIterator[Any]:
    """The store, closed afterwards."""
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("kind", kinds(stores))
def test_every_store_is_chosen_by_the_scheme_of_its_address(kind: str, tmp_path: Path) -> None:
    """By no other's; what has no scheme is never chosen, and what has one can say whether it is there."""
    found = plugin(stores, kind)
    with found.example(tmp_path) as url:
        scheme = url.partition("://")[0]
        if found.SCHEMES:
            assert scheme in found.SCHEMES
            assert of_address(url) is found
        else:
            with pytest.raises(ValueError, match=r"expected one of .*redis://"):
                of_address(url)
    others = {other for name in kinds(stores) if name != kind for other in plugin(stores, name).SCHEMES}
    assert not others & set(found.SCHEMES)


async def test_a_commit_is_applied_once_and_only_where_the_session_stands(store: Any) -> None:
    """The same commit twice moves the session once; one of another position, or session, not at all."""
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


async def test_the_last_replies_are_kept_and_no_more(store: Any) -> None:
    """A window of three: of five steps the replies of the last three are stored."""
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


async def test_a_reset_begins_an_epoch_that_knows_nothing_of_the_last(store: Any) -> None:
    """No belief and no reply is left; commits of the old epoch are refused; a second reset of it is too."""
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


async def test_of_racing_commits_one_wins(store: Any) -> None:
    """Many clients commit the same step at once: it is applied once."""
    async with store() as kept:
        session = uuid.uuid4().hex
        await kept.create(meta(session))
        outcomes = await asyncio.gather(*(kept.commit([commit(session, 1, 0)]) for _ in range(10)))
        assert sorted(outcome.name for (outcome,) in outcomes) == ["APPLIED"] + ["MOVED"] * 9


async def test_many_steps_are_committed_at_once_or_not_at_all(store: Any) -> None:
    """Five steps in one commit leave what five commits leave; where the session stands elsewhere, nothing."""
    async with store() as kept:
        session = uuid.uuid4().hex
        await kept.create(meta(session))
        assert await kept.commit([commit(session, 1, 0), commit(session, 1, 1, count=5)]) == [Outcome.APPLIED] * 2
        assert await kept.commit([commit(session, 1, 4, count=5)]) == [Outcome.MOVED]
        records = await kept.load([(session, seq) for seq in range(1, 8)])
        assert {record.position for record in records} == {Position(1, 6)}
        assert [record.reply for record in records] == [None, None, None, b"reply4", b"reply5", b"reply6", None]
        assert len(await kept.history(session, count=100)) == 6


async def test_the_history_is_read_in_order_from_any_place(store: Any) -> None:
    """It outlives a reset and ends with the session; its ids are positions, exclusive."""
    async with store() as kept:
        session = uuid.uuid4().hex
        await kept.create(meta(session))
        assert await kept.history(session, count=9) == []
        await kept.commit([commit(session, 1, 0, count=10)])
        await kept.reset(session, epoch=1)
        await kept.commit([commit(session, 2, 0, count=2)])
        every = [(f"1-{seq}", b"note1.%d" % seq) for seq in range(1, 11)] + [
            ("2-1", b"note2.1"),
            ("2-2", b"note2.2"),
        ]
        assert await kept.history(session, count=100) == every
        assert await kept.history(session, count=3) == every[:3]
        assert await kept.history(session, count=3, newest=True) == every[-3:]
        assert await kept.history(session, after="1-9", count=2) == every[9:11]
        assert await kept.history(session, after="1-9", count=2, newest=True) == every[-2:]
        assert await kept.history(session, after="2-2", count=2) == []
        for wrong in ("", "1", "1-", "a-b", "1-2-3", "+", "-", "9" * 40 + "-1"):
            with pytest.raises(ValueError, match="no id of a history"):
                await kept.history(session, after=wrong, count=1)
        await kept.delete(session)
        assert await kept.history(session, count=9) == []


async def test_the_history_is_bounded(redis_server: EmbeddedRedis) -> None:
    """Of a thousand steps the last are kept: as many as were asked for, and in Redis at most a hundred more."""
    limits = LIMITS | {"history": 50}
    redis = RedisStore(redis_server.url, timeout=5.0, **limits)
    for kept, most in ((MemoryStore(**limits, clock=time.monotonic), 50), (redis, 150)):
        session = uuid.uuid4().hex
        await kept.create(meta(session))
        await kept.commit([commit(session, 1, seq, count=100) for seq in range(0, 1000, 100)])
        ids = [identifier for identifier, _ in await kept.history(session, count=2000)]
        assert 50 <= len(ids) <= most
        assert ids == [f"1-{seq}" for seq in range(1001 - len(ids), 1001)]
    await redis.close()


async def test_what_is_left_over_is_kept_until_the_next_step(store: Any) -> None:
    """It can be replaced; it ends with a step, with a reset, and is kept only where the session stands."""
    async with store() as kept:
        session = uuid.uuid4().hex
        await kept.create(meta(session))

        async def rest() -> bytes:
            (record,) = await kept.load([(session, None)])
            found: bytes = record.rest
            return found

        assert await rest() == b""
        await kept.commit([commit(session, 1, 0)])
        assert await kept.keep_rest(session, continues=Position(1, 0), rest=b"old") is Outcome.MOVED
        assert await kept.keep_rest("none", continues=Position(1, 0), rest=b"x") is Outcome.GONE
        for samples in (b"1.2.3", b"", b"\x00\xff."):
            assert await kept.keep_rest(session, continues=Position(1, 1), rest=samples) is Outcome.APPLIED
            assert await rest() == samples
        await kept.commit([commit(session, 1, 1)])
        assert await rest() == b""
        await kept.keep_rest(session, continues=Position(1, 2), rest=b"more")
        await kept.reset(session, epoch=1)
        assert await rest() == b""


async def test_an_owner_s_sessions_are_listed_newest_first_page_by_page(store: Any) -> None:
    """Each with its position and its last note; others' are not there; those that ended leave no gap behind."""
    async with store() as kept:
        owner, prefix = uuid.uuid4().hex, uuid.uuid4().hex
        ids = [f"{prefix}.{i}" for i in range(7)]
        for i, session in enumerate(ids):
            await kept.create(meta(session, owner=owner, created_at=1e9 + i // 2))  # two have the same time
            await kept.create(meta(f"other{session}", owner=f"other{owner}"))
        await kept.commit([commit(ids[3], 1, 0, count=2)])
        await kept.delete(ids[4])

        async def pages(count: int) -> list[Summary]:
            found: list[Summary] = []
            cursor = None
            while True:
                page, cursor = await kept.owned(owner, cursor=cursor, count=count)
                assert len(page) <= count
                found += page
                if cursor is None:
                    return found

        for count in (1, 2, 3, 100):
            found = await pages(count)
            assert [summary.meta.id for summary in found] == [ids[i] for i in (6, 5, 3, 2, 1, 0)]
            assert [summary.note for summary in found] == [None, None, b"note1.2", None, None, None]
        assert found[2].position == Position(1, 2)
        assert await kept.owned("nobody", count=5) == ([], None)
        assert await kept.owned(owner, cursor="nonsense", count=50) is not None


async def test_memory_forgets_sessions_at_their_time() -> None:
    """Those that were not used for the time to live are gone; a step makes the time start again."""
    clock = itertools.count(0.0, 4.0)  # every look at the clock is four seconds later
    kept = MemoryStore(window=WINDOW, ttl=20.0, history=1, clock=lambda: next(clock))
    await kept.create(meta("used"))
    await kept.create(meta("unused"))
    assert await kept.commit([commit("used", 1, 0)]) == [Outcome.APPLIED]
    while "unused" in kept:
        assert "used" in kept
    assert await kept.load([("unused", 1)]) == [None]


async def test_redis_loses_its_scripts_and_commits_go_on(redis_server: EmbeddedRedis) -> None:
    """A Redis that was started again knows no scripts: they are sent again, and the commit is applied once."""
    kept = RedisStore(redis_server.url, timeout=5.0, **LIMITS)
    session = uuid.uuid4().hex
    await kept.create(meta(session))
    assert await kept.commit([commit(session, 1, 0)]) == [Outcome.APPLIED]
    await kept._redis.script_flush()
    assert await kept.commit([commit(session, 1, 1), commit(session, 1, 1)]) == [
        Outcome.APPLIED,
        Outcome.MOVED,
    ]
    await kept.close()


async def test_a_redis_that_does_not_answer_is_an_error_after_one_time_out(tmp_path: Path) -> None:
    """No retries: one call, one time-out, one StoreError; and all is well once Redis goes on."""

    async def scenario(redis: EmbeddedRedis) -> None:
        kept = RedisStore(redis.url, timeout=0.1, **LIMITS)
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
        await scenario(redis)


async def test_of_a_thousand_races_each_has_one_winner(redis_server: EmbeddedRedis) -> None:
    """Two servers commit another step at every seq at once: one applies, the other is told, and its reply stays."""
    limits = LIMITS | {"window": 1000}
    rivals = [RedisStore(redis_server.url, timeout=5.0, **limits) for _ in range(2)]
    session = uuid.uuid4().hex
    await rivals[0].create(meta(session))
    won: list[bytes] = []
    for seq in range(1000):
        offers = [Step(reply=b"%d by %d" % (seq, i), note=b"") for i in range(2)]
        commits = [Commit(session=session, continues=Position(1, seq), belief=b"", steps=(offer,)) for offer in offers]
        answers = await asyncio.gather(*(rivals[(seq + i) % 2].commit([commits[i]]) for i in range(2)))
        outcomes = [outcome for (outcome,) in answers]
        assert sorted(outcome.name for outcome in outcomes) == ["APPLIED", "MOVED"]
        won.append(offers[outcomes.index(Outcome.APPLIED)].reply)
    records = await rivals[0].load([(session, seq) for seq in range(1, 1001)])
    assert [record and record.reply for record in records] == won
    for rival in rivals:
        await rival.close()
