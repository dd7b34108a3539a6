"""The contract of stores as a state machine: whatever is called, in any order, a store does what a dictionary does.

The same rules for the store in memory, the one in a real Redis, and the one that saves later, over the one in memory.
That last one is given commits only where a session stands: its callers have looked, and its save finds out the rest;
and it keeps the replies of steps that are not saved yet, however many there are.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from avf_server.stores.base import Commit, Meta, Outcome, Position, Step, note_id
from avf_server.stores.behind import BehindStore
from avf_server.stores.embedded import EmbeddedRedis
from avf_server.stores.memory import MemoryStore
from avf_server.stores.redis import RedisStore
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

pytestmark = pytest.mark.slow

WINDOW, HISTORY = 3, 1000
EXAMPLES, REDIS_EXAMPLES, STEPS = 60, 25, 40


@dataclass
class Expected:
    """A session as a dictionary would keep it."""

    meta: Meta
    position: Position = field(default_factory=lambda: Position(1, 0))
    belief: bytes | None = None
    rest: bytes = b""
    replies: dict[int, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class StoreMachine(RuleBasedStateMachine):
    """Sessions are opened, moved on, reset and forgotten; what stands is compared after every call."""

    sessions: Bundle[str] = Bundle("sessions")
    open_store: Callable[[], Any]  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = self.open_store()
        self.expected: dict[str, Expected] = {}
        self.count = 0
        self.touched: str | None = None

    def call(self, awaitable: Awaitable[Any]) -> Any:
        async def waited() -> Any:
            return await awaitable

        return self.runner.run(waited())

    def teardown(self) -> None:
        for session in self.expected:
            assert self.call(self.store.delete(session))
        if isinstance(self.store, RedisStore):
            self.call(self.store.close())
        self.runner.close()

    @rule(target=sessions, belief=st.none() | st.binary(max_size=4))
    def create(self, belief: bytes | None) -> str:
        session = uuid.uuid4().hex
        meta = Meta(id=session, owner="", model="m", seed=1, iterations=2, durability="group", created_at=time.time())
        self.call(self.store.create(meta, belief=belief))
        self.expected[session] = Expected(meta, belief=belief)
        self.touched = session
        return session

    @rule(
        session=sessions,
        ahead=st.sampled_from([0, 0, 0, -1, 1]),
        epochs=st.sampled_from([0, 0, 0, 1]),
        steps=st.integers(1, 5),
    )
    def commit(self, session: str, ahead: int, epochs: int, steps: int) -> None:
        """Where the session stands it moves on; anywhere else it stays."""
        commits = self.looked([self.to_commit(session, ahead, epochs, steps)])
        assert self.call(self.store.commit(commits)) == [self.apply(commit) for commit in commits]

    @rule(chosen=st.lists(st.tuples(sessions, st.sampled_from([0, 0, 1])), min_size=2, max_size=4))
    def commit_together(self, chosen: list[tuple[str, int]]) -> None:
        """Commits of one call are independent of each other; each takes effect before the next."""
        commits = self.looked([self.to_commit(session, ahead, 0, 1) for session, ahead in chosen])
        outcomes = self.call(self.store.commit(commits))
        assert outcomes == [self.apply(commit) for commit in commits]

    @rule(session=sessions, behind=st.sampled_from([0, 0, 1]), rest=st.binary(max_size=4))
    def keep_rest(self, session: str, behind: int, rest: bytes) -> None:
        """What is left over is kept where the session stands, and nowhere else."""
        at = self.at(session)
        outcome = self.call(self.store.keep_rest(session, continues=Position(at.epoch, at.seq + behind), rest=rest))
        assert outcome is self.outcome(session, stands=behind == 0)
        if outcome is Outcome.APPLIED:
            self.expected[session].rest = rest
        self.touched = session

    @rule(session=sessions, ahead=st.sampled_from([0, 0, 1]))
    def reset(self, session: str, ahead: int) -> None:
        """The epoch that is named ends, where it is the current one; the history stays."""
        epoch = self.at(session).epoch
        outcome = self.call(self.store.reset(session, epoch=epoch + ahead))
        assert outcome is self.outcome(session, stands=ahead == 0)
        if outcome is Outcome.APPLIED:
            kept = self.expected[session]
            kept.position, kept.belief, kept.rest = Position(epoch + 1, 0), None, b""
            kept.replies.clear()
        self.touched = session

    @rule(session=sessions)
    def delete(self, session: str) -> None:
        assert self.call(self.store.delete(session)) is (session in self.expected)
        self.expected.pop(session, None)
        self.touched = session

    @rule()
    def save(self) -> None:
        """A store that saves later may do so at any time."""
        if isinstance(self.store, BehindStore):
            self.call(self.store.save())

    @rule(session=sessions, count=st.integers(1, 6), newest=st.booleans(), skipped=st.integers(0, 3))
    def history(self, session: str, count: int, newest: bool, skipped: int) -> None:
        """The notes of all steps ever taken, in order."""
        notes = self.expected[session].notes if session in self.expected else []
        after = notes[skipped - 1] if 0 < skipped <= len(notes) else None
        found = self.call(self.store.history(session, after=after, count=count, newest=newest))
        left = notes[skipped:] if after else notes
        assert [name for name, _ in found] == (left[-count:] if newest else left[:count])
        assert all(note == name.encode() for name, note in found)

    @invariant()
    def stands_as_expected(self) -> None:
        """Position, belief, rest, and the replies of the last steps, and of no others."""
        session = self.touched
        if session is None:
            return
        seqs = range(max(1, self.at(session).seq - WINDOW - 1), self.at(session).seq + 2)
        records = self.call(self.store.load([(session, None), *((session, seq) for seq in seqs)]))
        kept = self.expected.get(session)
        if kept is None:
            assert records == [None] * len(records)
            return
        for record, seq in zip(records, [kept.position.seq, *seqs], strict=True):
            assert (record.meta, record.position, record.belief) == (kept.meta, kept.position, kept.belief)
            assert record.rest == kept.rest
            longer = isinstance(self.store, BehindStore) and record.reply is not None  # what is unsaved is there whole
            recent = longer or seq > kept.position.seq - WINDOW
            assert record.reply == (kept.replies.get(seq) if recent else None)

    def at(self, session: str) -> Position:
        kept = self.expected.get(session)
        return kept.position if kept else Position(1, 0)

    def outcome(self, session: str, *, stands: bool) -> Outcome:
        if session not in self.expected:
            return Outcome.GONE
        return Outcome.APPLIED if stands else Outcome.MOVED

    def to_commit(self, session: str, ahead: int, epochs: int, steps: int) -> Commit:
        at = self.at(session)
        continues = Position(at.epoch + epochs, at.seq + ahead if at.seq + ahead >= 0 else 7)
        self.count += 1
        parts = tuple(
            Step(
                reply=b"reply %d.%d" % (self.count, i),
                note=note_id(Position(continues.epoch, continues.seq + 1 + i)).encode(),
            )
            for i in range(steps)
        )
        self.touched = session
        return Commit(session=session, continues=continues, belief=b"belief %d" % self.count, steps=parts)

    def looked(self, commits: list[Commit]) -> list[Commit]:
        """Those that a caller who has looked would make, for a store that wants this."""
        if not isinstance(self.store, BehindStore):
            return commits
        seen = {commit.session: commit for commit in reversed(commits)}
        return [c for c in seen.values() if c.session in self.expected and self.at(c.session) == c.continues]

    def apply(self, commit: Commit) -> Outcome:
        """What a dictionary makes of a commit."""
        outcome = self.outcome(commit.session, stands=self.at(commit.session) == commit.continues)
        if outcome is Outcome.APPLIED:
            kept = self.expected[commit.session]
            for step in commit.steps:
                kept.position = Position(kept.position.epoch, kept.position.seq + 1)
                kept.replies[kept.position.seq] = step.reply
                kept.notes.append(note_id(kept.position))
            kept.belief, kept.rest = commit.belief, b""
        return outcome


def in_memory() -> MemoryStore:
    return MemoryStore(window=WINDOW, ttl=1000.0, clock=time.monotonic, history=HISTORY)


def saved_later() -> BehindStore:
    return BehindStore(
        in_memory(),
        window=1000.0,
        most=1000,
        clock=time.monotonic,
        lost=lambda session: pytest.fail(session),
        is_lost=lambda session: False,
    )


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis."""
    with contextlib.closing(contextlib.ExitStack()) as stack:
        yield stack.enter_context(EmbeddedRedis(tmp_path_factory.mktemp("redis"))).url


def run(open_store: Callable[[], Any], *, examples: int = EXAMPLES) -> None:
    """Try the machine on a kind of store, by a fixed seed."""
    machine = type("Machine", (StoreMachine,), {"open_store": staticmethod(open_store)})
    quick = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    run_state_machine_as_test(machine, settings=quick)


@pytest.mark.parametrize("open_store", [in_memory, saved_later])
def test_a_store_in_memory_does_what_a_dictionary_does(open_store: Callable[[], Any]) -> None:
    """Any calls in any order."""
    run(open_store)


def test_redis_does_what_a_dictionary_does(redis_url: str) -> None:
    """Any calls in any order, on a real Redis."""
    open_store = partial(RedisStore, redis_url, timeout=5.0, window=WINDOW, ttl=1000.0, history=HISTORY)
    run(open_store, examples=REDIS_EXAMPLES)
