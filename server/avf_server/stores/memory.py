"""Sessions of durability `none`: in this process and nowhere else; they end with it.

The law is that of every store: compare-and-set, a bounded window of replies, an end by time to live. The
clock is passed in by the caller, so that tests need not wait.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from avf_server.batching import Position
from avf_server.stores.base import Commit, Meta, Outcome, Record


@dataclass
class _Entry:
    meta: Meta
    position: Position
    expires_at: float
    belief: bytes | None = None
    replies: dict[int, bytes] = field(default_factory=dict)


class MemoryStore:
    """A dictionary of sessions. `ttl` and the times of `clock` are in seconds."""

    def __init__(self, *, window: int, ttl: float, clock: Callable[[], float]) -> None:
        self._window = window
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the soonest to expire first

    def __contains__(self, session: str) -> bool:
        return self._find(session) is not None

    async def create(self, meta: Meta, *, belief: bytes | None = None) -> None:
        """Keep a new session, in epoch 1 with nothing observed."""
        self._entries[meta.id] = _Entry(meta, Position(1, 0), self._clock() + self._ttl, belief)

    async def load(self, wanted: Sequence[tuple[str, int | None]]) -> list[Record | None]:
        """The sessions of these ids, each with the reply of that seq (None: of its last)."""
        return [self._record(session, seq) for session, seq in wanted]

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Move sessions on."""
        return [self._commit_one(commit) for commit in commits]

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
        """Forget a session; False where there was none."""
        return self._entries.pop(session, None) is not None

    def _record(self, session: str, seq: int | None) -> Record | None:
        entry = self._find(session)
        if entry is None:
            return None
        return Record(
            meta=entry.meta,
            position=entry.position,
            belief=entry.belief,
            reply=entry.replies.get(entry.position.seq if seq is None else seq),
            expires_in=entry.expires_at - self._clock(),
        )

    def _commit_one(self, commit: Commit) -> Outcome:
        entry = self._find(commit.session)
        if entry is None:
            return Outcome.GONE
        if entry.position != commit.continues:
            return Outcome.MOVED
        seq = entry.position.seq + 1
        entry.position = Position(entry.position.epoch, seq)
        entry.belief = commit.belief
        entry.replies[seq] = commit.reply
        entry.replies.pop(seq - self._window, None)
        self._touch(entry)
        return Outcome.APPLIED

    def _touch(self, entry: _Entry) -> None:
        entry.expires_at = self._clock() + self._ttl
        self._entries.move_to_end(entry.meta.id)

    def _find(self, session: str) -> _Entry | None:
        now = self._clock()
        while self._entries and next(iter(self._entries.values())).expires_at <= now:
            self._entries.popitem(last=False)
        return self._entries.get(session)
