"""Sessions of durability `none`: in this process and nowhere else; they end with it.

The law is that of every store: compare-and-set, a bounded window of replies, an end by time to live. The
clock is passed in by the caller, so that tests need not wait.
"""

import time
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from avf_server.stores.base import (
    Commit,
    Limits,
    Meta,
    Outcome,
    Position,
    Record,
    Step,
    Store,
    Summary,
    note_id,
    place,
    position_of,
)

SCHEMES: tuple[str, ...] = ()
"""None: what ends with the server is never chosen by an address, in place of what outlives it."""


def open_store(url: str, limits: Limits) -> Store:
    """An empty store."""
    return MemoryStore(window=limits.window, ttl=limits.ttl, clock=time.monotonic, history=limits.history)


@contextmanager
def example(folder: Path) -> Iterator[str]:
    """There is one place."""
    yield "memory:"


@dataclass
class _Entry:
    meta: Meta
    position: Position
    expires_at: float
    history: deque[tuple[Position, bytes]]
    belief: bytes | None = None
    replies: dict[int, bytes] = field(default_factory=dict)
    rest: tuple[Position, bytes] | None = None


class MemoryStore:
    """A dictionary of sessions. `ttl` and the times of `clock` are in seconds; `history` counts notes of a session."""

    def __init__(self, *, window: int, ttl: float, clock: Callable[[], float], history: int) -> None:
        self._window = window
        self._ttl = ttl
        self._clock = clock
        self._history = history
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the soonest to expire first
        self._places: dict[str, list[str]] = {}  # of every owner's sessions, oldest first

    def __contains__(self, session: str) -> bool:
        return self._find(session) is not None

    def __len__(self) -> int:
        self.expire()
        return len(self._entries)

    async def create(self, meta: Meta, *, belief: bytes | None = None) -> None:
        """Keep a new session, in epoch 1 with nothing observed."""
        self.expire()
        self._entries[meta.id] = _Entry(
            meta=meta,
            position=Position(1, 0),
            expires_at=self._clock() + self._ttl,
            history=deque(maxlen=self._history),
            belief=belief,
        )
        insort(self._places.setdefault(meta.owner, []), place(meta))

    async def load(self, wanted: Sequence[tuple[str, int | None]]) -> list[Record | None]:
        """The sessions of these ids, each with the reply of that seq (None: of its last)."""
        return [self._record(session, seq) for session, seq in wanted]

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Move sessions on."""
        return [self._commit_one(commit) for commit in commits]

    async def keep_rest(self, session: str, *, continues: Position, rest: bytes) -> Outcome:
        """Keep what is left over after the step at which the session stands."""
        entry = self._find(session)
        if entry is None:
            return Outcome.GONE
        if entry.position != continues:
            return Outcome.MOVED
        entry.rest = (continues, rest)
        self._touch(entry)
        return Outcome.APPLIED

    async def history(
        self, session: str, *, after: str | None = None, count: int, newest: bool = False
    ) -> list[tuple[str, bytes]]:
        """At most `count` notes after the id `after`, oldest first; with `newest`, the last of these."""
        last = Position(0, 0) if after is None else position_of(after)
        entry = self._find(session)
        if entry is None:
            return []
        following = [(note_id(at), note) for at, note in entry.history if at > last]
        return following[max(0, len(following) - count) :] if newest else following[:count]

    async def owned(self, owner: str, *, cursor: str | None = None, count: int) -> tuple[list[Summary], str | None]:
        """The sessions of an owner, newest first, with their notes."""
        self.expire()
        places = self._places.get(owner, [])
        end = len(places) if cursor is None else bisect_left(places, cursor)
        page = places[max(0, end - count) : end]
        found = [self._summary(self._entries[at.partition(".")[2]]) for at in reversed(page)]
        return found, page[0] if end > count else None

    def owned_count(self, owner: str) -> int:
        """How many sessions an owner has."""
        self.expire()
        return len(self._places.get(owner, []))

    async def reset(self, session: str, *, epoch: int) -> Outcome:
        """End `epoch` and begin the next one."""
        entry = self._find(session)
        if entry is None:
            return Outcome.GONE
        if entry.position.epoch != epoch:
            return Outcome.MOVED
        entry.position, entry.belief, entry.replies = Position(epoch + 1, 0), None, {}
        self._touch(entry)
        return Outcome.APPLIED

    async def delete(self, session: str) -> bool:
        """Forget a session."""
        return self._forget(session)

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _record(self, session: str, seq: int | None) -> Record | None:
        entry = self._find(session)
        if entry is None:
            return None
        at, rest = entry.rest or (None, b"")
        return Record(
            meta=entry.meta,
            position=entry.position,
            belief=entry.belief,
            reply=entry.replies.get(entry.position.seq if seq is None else seq),
            rest=rest if at == entry.position else b"",
            expires_in=entry.expires_at - self._clock(),
        )

    def _summary(self, entry: _Entry) -> Summary:
        note = entry.history[-1][1] if entry.history else None
        expires_in = entry.expires_at - self._clock()
        return Summary(meta=entry.meta, position=entry.position, expires_in=expires_in, note=note)

    def _commit_one(self, commit: Commit) -> Outcome:
        entry = self._find(commit.session)
        if entry is None:
            return Outcome.GONE
        if entry.position != commit.continues:
            return Outcome.MOVED
        for step in commit.steps:
            self._append(entry, step)
        entry.belief = commit.belief
        self._touch(entry)
        return Outcome.APPLIED

    def _append(self, entry: _Entry, step: Step) -> None:
        epoch, seq = entry.position.epoch, entry.position.seq + 1
        entry.position = Position(epoch, seq)
        entry.replies[seq] = step.reply
        entry.replies.pop(seq - self._window, None)
        entry.history.append((entry.position, step.note))

    def _touch(self, entry: _Entry) -> None:
        entry.expires_at = self._clock() + self._ttl
        self._entries.move_to_end(entry.meta.id)

    def _find(self, session: str) -> _Entry | None:
        self.expire()
        return self._entries.get(session)

    def expire(self) -> None:
        """Forget the sessions whose time is over."""
        now = self._clock()
        while self._entries and next(iter(self._entries.values())).expires_at <= now:
            self._forget(next(iter(self._entries)))

    def _forget(self, session: str) -> bool:
        entry = self._entries.pop(session, None)
        if entry is None:
            return False
        places = self._places[entry.meta.owner]
        del places[bisect_left(places, place(entry.meta))]
        if not places:
            del self._places[entry.meta.owner]
        return True
