"""The store alone, before the same judge: racing writers on a real Redis that is killed and stopped under them.

A belief is the hash of all that was applied, in order: what is left out, applied twice or out of order shows in all
that follows.
"""

import asyncio
import hashlib
import random
import signal
import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from avf_server.problems import StoreError
from avf_server.stores.base import Commit, Meta, Outcome, Position, Step
from avf_server.stores.redis import RedisStore

from tests.support.processes import Nursery
from tests.support.waiting import free_port

from .checker import check
from .cluster import Redis
from .driver import new_stream
from .history import History, Opened, Reply, Sent, Stood, Unknown, Value, now

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos"), pytest.mark.timeout(300)]

SESSIONS, WRITERS, KILLS, STOPS = 6, 2, 6, 3
BETWEEN = 0.5  # seconds between two faults, on average


@cache
def belief(session: str, epoch: int, seq: int) -> bytes:
    """The belief after step `seq`."""
    before = belief(session, epoch, seq - 1) if seq > 1 else f"{session} {epoch}".encode()
    return following(before, seq)


def following(before: bytes, seq: int) -> bytes:
    """The belief after one more step."""
    return hashlib.blake2b(before + b" %d" % seq, digest_size=6).digest()


def value(belief: bytes) -> Value:
    """The belief as an estimate."""
    return (float(int.from_bytes(belief, "little")),)


def truth(session: str, epoch: int, count: int) -> Sequence[Value]:
    return [value(belief(session, epoch, seq)) for seq in range(1, count + 1)]


class Writer:
    """One of several that move the same sessions on, each believing the store and nothing else."""

    def __init__(self, store: RedisStore, history: History, sessions: Sequence[str], seed: int) -> None:
        self.store = store
        self.history = history
        self.sessions = sessions
        self.random = random.Random(seed)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            session = self.random.choice(self.sessions)
            try:
                await self._step(session)
            except StoreError:
                await asyncio.sleep(0.02)

    async def _step(self, session: str) -> None:
        asked = now()
        (record,) = await self.store.load([(session, None)])
        if record is None:
            return self.history.record(Unknown(session=session, asked=asked, at=now()))
        at = record.position
        stood = Stood(session=session, epoch=at.epoch, next_seq=at.seq + 1, asked=asked, at=now())
        self.history.record(stood)
        before = f"{session} {at.epoch}".encode() if record.belief is None else record.belief
        after = following(before, at.seq + 1)
        stream, asked = new_stream("commit"), now()
        self.history.record(Sent(stream=stream, session=session, epoch=at.epoch, seq=at.seq + 1, at=asked))
        step = Step(reply=after, note=b"")
        commit = Commit(session=session, continues=at, belief=after, steps=(step,))
        if await self.store.commit([commit]) == [Outcome.APPLIED]:
            self._acknowledged(stream, session, Position(at.epoch, at.seq + 1), after, asked)
        return None

    def _acknowledged(self, stream: str, session: str, at: Position, after: bytes, asked: float) -> None:
        self.history.record(
            Reply(
                stream=stream,
                session=session,
                epoch=at.epoch,
                seq=at.seq,
                value=value(after),
                durable=at.seq,
                asked=asked,
                at=now(),
            )
        )


async def fire(redis: Redis, seed: int) -> None:
    """Kill it and stop it, so many times, in an order drawn from the seed."""
    choices = random.Random(seed)
    for number in choices.sample([signal.SIGKILL] * KILLS + [signal.SIGSTOP] * STOPS, KILLS + STOPS):
        await asyncio.sleep(2 * BETWEEN * choices.random())
        await redis.ready()
        redis.kill(number)
        if number is signal.SIGSTOP:
            await asyncio.sleep(BETWEEN)
            redis.kill(signal.SIGCONT)
        while redis.dying:
            await asyncio.sleep(0.01)


async def scenario(folder: Path, history: History) -> None:
    """Writers and faults, then a last look by each writer."""
    with Nursery() as nursery:
        redis = Redis("redis", nursery, folder=folder / "redis", port=free_port())
        await redis.start()
        stores = [RedisStore(redis.url, timeout=0.2, window=16, ttl=1000.0, history=100) for _ in range(WRITERS)]
        sessions = [uuid.uuid4().hex for _ in range(SESSIONS)]
        for session in sessions:
            await stores[0].create(meta(session))
            history.record(Opened(session=session, seed=1, durability="group"))
        stop = asyncio.Event()
        writers = [Writer(store, history, sessions, seed) for seed, store in enumerate(stores)]
        running = [asyncio.create_task(writer.run(stop)) for writer in writers]
        await fire(redis, seed=1)
        await redis.ready()
        count = len(history.events)
        async with asyncio.timeout(60):
            while len(history.events) < count + 20 * SESSIONS:
                await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*running)
        for store in stores:
            await store.close()
        await redis.give_up()


def meta(session: str) -> Meta:
    """A session's facts."""
    return Meta(id=session, owner="", model="m", seed=1, iterations=2, durability="group", created_at=0.0)


async def test_the_store_keeps_what_it_confirmed_whatever_is_killed(tmp_path: Path) -> None:
    """Two writers race on six sessions while Redis is killed six times and stopped three times."""
    history = History()
    await scenario(tmp_path, history)
    (found,) = check(history, truth).values()
    assert found.violations == []
    assert found.acknowledged > 100
