"""Writers that race on the sessions of a store, for the judge: a belief is the hash of all that was applied, in order.

What is left out, applied twice or out of order so shows in all that follows.
"""

import asyncio
import hashlib
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import cache

from avf_server.problems import StoreError
from avf_server.stores.base import Commit, Meta, Outcome, Position, Record, Step
from avf_server.stores.redis import RedisStore

from .driver import new_stream
from .history import History, Opened, Reply, Sent, Stood, Unknown, Value, now

SESSIONS, WRITERS = 6, 2
PATIENCE = 120.0  # seconds


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

    async def look(self, session: str) -> Record | None:
        """Where a session stands, as the store says."""
        asked = now()
        (record,) = await self.store.load([(session, None)])
        if record is None:
            self.history.record(Unknown(session=session, asked=asked, at=now()))
            return None
        at = record.position
        stood = Stood(session=session, epoch=at.epoch, next_seq=at.seq + 1, asked=asked, at=now())
        self.history.record(stood)
        return record

    async def _step(self, session: str) -> None:
        record = await self.look(session)
        if record is None:
            return
        at = record.position
        before = f"{session} {at.epoch}".encode() if record.belief is None else record.belief
        after = following(before, at.seq + 1)
        stream, asked = new_stream("commit"), now()
        self.history.record(Sent(stream=stream, session=session, epoch=at.epoch, seq=at.seq + 1, at=asked))
        step = Step(reply=after, note=b"")
        commit = Commit(session=session, continues=at, belief=after, steps=(step,))
        if await self.store.commit([commit]) == [Outcome.APPLIED]:
            self._acknowledged(stream, session, Position(at.epoch, at.seq + 1), after, asked)

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


def meta(session: str) -> Meta:
    """A session's facts."""
    return Meta(id=session, owner="", model="m", seed=1, iterations=2, durability="group", created_at=0.0)


async def race(url: str, history: History, act: Callable[[Sequence[str]], Awaitable[None]]) -> None:
    """Race on sessions of the store at `url` while `act` does something to it; then look at each session once more."""
    stores = [RedisStore(url, timeout=1.0, window=16, ttl=1000.0, history=100) for _ in range(WRITERS)]
    sessions = [uuid.uuid4().hex for _ in range(SESSIONS)]
    for session in sessions:
        await stores[0].create(meta(session))
        history.record(Opened(session=session, seed=1, durability="group"))
    stop = asyncio.Event()
    writers = [Writer(store, history, sessions, seed) for seed, store in enumerate(stores)]
    running = [asyncio.create_task(writer.run(stop)) for writer in writers]
    try:
        await act(sessions)
    finally:
        stop.set()
        await asyncio.gather(*running)
        for session in sessions:
            await writers[0].look(session)
        for store in stores:
            await store.close()


async def progress(history: History, steps: int) -> None:
    """Return once so many more steps were acknowledged."""
    before = sum(isinstance(event, Reply) for event in history.events)
    async with asyncio.timeout(PATIENCE):
        while sum(isinstance(event, Reply) for event in history.events) < before + steps:
            await asyncio.sleep(0.02)
