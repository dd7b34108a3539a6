"""Sessions of durability `behind`: the reply leaves before the save, and the save follows within a stated window.

The laws:
- Steps that are acknowledged and not yet saved never span more than `window` seconds, nor more than `most` steps of a
  session: where they would, the commit saves first, or fails.
- Only the newest belief is saved, and every step's reply and note, in one commit that names what was saved last. Where
  another server has gone on meanwhile, what was not saved is dropped, and `lost` is told; a step that was under way
  then continues what is nowhere, and is refused for as long as `is_lost` says so.
- A save whose answer was lost is recognised by its replies.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from avf_server.problems import StoreError
from avf_server.stores.base import Commit, Meta, Outcome, Position, Record, Step, Store, Summary
from avf_server.tasks import Supervisor, end

logger = logging.getLogger(__name__)

SESSIONS_A_CALL = 64


@dataclass
class _Unsaved:
    """What a session's steps since `saved` have left; `times` say when each was acknowledged.

    `rest` is what is left over after the last of them, None where that is saved.
    """

    saved: Position
    belief: bytes = b""
    steps: list[Step] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    rest: bytes | None = None

    @property
    def position(self) -> Position:
        return Position(self.saved.epoch, self.saved.seq + len(self.steps))

    def advance(self, count: int) -> None:
        """The first `count` steps are saved."""
        self.saved = Position(self.saved.epoch, self.saved.seq + count)
        del self.steps[:count], self.times[:count]


class BehindStore:
    """A store before `durable`. `window` and the times of `clock` are in seconds; `start` it, and `stop` it."""

    def __init__(
        self,
        durable: Store,
        *,
        window: float,
        most: int,
        clock: Callable[[], float],
        lost: Callable[[str], None],
        is_lost: Callable[[str], bool],
        supervisor: Supervisor | None = None,
    ) -> None:
        self._supervisor = supervisor or Supervisor()
        self._durable = durable
        self._window = window
        self._most = most
        self._clock = clock
        self._lost = lost
        self._is_lost = is_lost
        self._unsaved: dict[str, _Unsaved] = {}
        self._saving = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._doubtful = False  # the last save was applied, or not
        self._task: asyncio.Task[None] | None = None

    def __contains__(self, session: str) -> bool:
        return session in self._unsaved

    def __len__(self) -> int:
        return len(self._unsaved)

    def start(self) -> None:
        """Begin to save."""
        self._task = self._supervisor.start("avf-saves", self._run)

    async def stop(self, *, seconds: float) -> None:
        """Save all that is not saved yet, for as long as this may take."""
        await end(self._task)
        deadline = self._clock() + seconds
        while self._unsaved:
            try:
                await self.save()
            except StoreError as error:
                if self._clock() >= deadline:
                    logger.error("the last steps of %d sessions are lost: %s", len(self._unsaved), error)
                    break
                await asyncio.sleep(0.05)

    def saved(self, session: str, position: Position) -> int:
        """The last seq that is saved, of a session that stands there."""
        unsaved = self._unsaved.get(session)
        return position.seq if unsaved is None or unsaved.saved.epoch != position.epoch else unsaved.saved.seq

    async def create(self, meta: Meta, *, belief: bytes | None = None) -> None:
        """Keep a new session, saved at once."""
        await self._durable.create(meta, belief=belief)

    async def load(self, wanted: Sequence[tuple[str, int | None]]) -> list[Record | None]:
        """Sessions as they stand, steps that are not saved yet included."""
        if not any(session in self._unsaved for session, _ in wanted):
            return await self._durable.load(wanted)
        async with self._saving:  # what is saved meanwhile would be in neither
            if self._doubtful:
                await self._save_all()
            records = await self._durable.load(wanted)
            return [self._overlaid(record, seq) for record, (_, seq) in zip(records, wanted, strict=True)]

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Move sessions on, here; to save follows."""
        if any(self._due(commit) for commit in commits):
            await self.save()
        now = self._clock()
        return [self._commit_one(commit, now) for commit in commits]

    async def keep_rest(self, session: str, *, continues: Position, rest: bytes) -> Outcome:
        """Keep what is left over; it is saved with the steps before it."""
        unsaved = self._unsaved.get(session)
        if unsaved is None:
            return await self._durable.keep_rest(session, continues=continues, rest=rest)
        if unsaved.position != continues:
            return Outcome.MOVED
        unsaved.rest = rest
        self._wanted.set()
        return Outcome.APPLIED

    async def history(
        self, session: str, *, after: str | None = None, count: int, newest: bool = False
    ) -> list[tuple[str, bytes]]:
        """Notes of a session's steps, all of them saved first."""
        if session in self._unsaved:
            await self.save()
        return await self._durable.history(session, after=after, count=count, newest=newest)

    async def owned(self, owner: str, *, cursor: str | None = None, count: int) -> tuple[list[Summary], str | None]:
        """The sessions of an owner, all their steps saved first."""
        if self._unsaved:
            await self.save()
        return await self._durable.owned(owner, cursor=cursor, count=count)

    async def reset(self, session: str, *, epoch: int) -> Outcome:
        """End `epoch` and begin the next one, saved at once."""
        async with self._saving:
            if session in self._unsaved:
                await self._save_all()
            outcome = await self._durable.reset(session, epoch=epoch)
            if outcome is Outcome.APPLIED:  # the place is held until the next save: a step under way finds it taken
                self._unsaved[session] = _Unsaved(Position(epoch + 1, 0))
                self._wanted.set()
            return outcome

    async def delete(self, session: str) -> bool:
        """Forget a session."""
        async with self._saving:
            self._unsaved.pop(session, None)
            return await self._durable.delete(session)

    async def close(self) -> None:
        """What is before it is closed by whoever opened it."""

    async def save(self) -> None:
        """Save all that is not saved yet. Raises StoreError; what was not saved is then still held."""
        async with self._saving:
            await self._save_all()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._window / 2)
            self._wanted.clear()
            try:
                await self.save()
            except StoreError as error:
                logger.warning("%d sessions wait to be saved: %s", len(self._unsaved), error)
                self._wanted.set()
            except Exception:
                self._wanted.set()  # it is tried again when this task is begun again
                raise

    async def _save_all(self) -> None:
        self._doubtful = True
        for session, unsaved in list(self._unsaved.items()):
            if not unsaved.steps:
                await self._release(session, unsaved)
        sessions = [session for session, unsaved in self._unsaved.items() if unsaved.steps]
        for start in range(0, len(sessions), SESSIONS_A_CALL):
            await self._save(sessions[start : start + SESSIONS_A_CALL])
        self._doubtful = False

    async def _save(self, sessions: Sequence[str]) -> None:
        commits = [self._to_commit(session) for session in sessions]
        for commit, outcome in zip(commits, await self._durable.commit(commits), strict=True):
            if outcome is Outcome.APPLIED:
                await self._advance(commit.session, len(commit.steps))
            else:
                await self._find_out(commit)

    def _to_commit(self, session: str) -> Commit:
        unsaved = self._unsaved[session]
        return Commit(session=session, continues=unsaved.saved, belief=unsaved.belief, steps=tuple(unsaved.steps))

    async def _find_out(self, commit: Commit) -> None:
        """What it means that a commit was refused: an answer that was lost, or another server that has gone on."""
        (record,) = await self._durable.load([(commit.session, None)])
        start = commit.continues
        if record is not None and record.position.epoch == start.epoch:
            count = record.position.seq - start.seq
            if 0 < count <= len(commit.steps) and commit.steps[count - 1].reply == record.reply:
                await self._advance(commit.session, count)
                return await self._save([commit.session]) if count < len(commit.steps) else None
        self._unsaved.pop(commit.session, None)
        self._lost(commit.session)
        return None

    async def _advance(self, session: str, count: int) -> None:
        unsaved = self._unsaved[session]
        unsaved.advance(count)
        if unsaved.steps:
            self._wanted.set()
        else:
            await self._release(session, unsaved)

    async def _release(self, session: str, unsaved: _Unsaved) -> None:
        """Save what is left over, and let go of a session of which all is saved."""
        rest = unsaved.rest
        if rest is not None:
            await self._durable.keep_rest(session, continues=unsaved.saved, rest=rest)
            if unsaved.rest is rest:
                unsaved.rest = None
        if unsaved.steps or unsaved.rest is not None:
            self._wanted.set()
        else:
            self._unsaved.pop(session, None)

    def _due(self, commit: Commit) -> bool:
        """Whether a session's steps must be saved before one more is taken."""
        unsaved = self._unsaved.get(commit.session)
        if unsaved is None or not unsaved.steps:
            return False
        return len(unsaved.steps) >= self._most or self._clock() - unsaved.times[0] >= self._window

    def _commit_one(self, commit: Commit, now: float) -> Outcome:
        if self._is_lost(commit.session):
            return Outcome.MOVED
        unsaved = self._unsaved.get(commit.session)
        if unsaved is None:
            unsaved = self._unsaved[commit.session] = _Unsaved(commit.continues)
        elif unsaved.position != commit.continues:
            return Outcome.MOVED
        unsaved.belief, unsaved.rest = commit.belief, None
        unsaved.steps.extend(commit.steps)
        unsaved.times.extend([now] * len(commit.steps))
        self._wanted.set()
        return Outcome.APPLIED

    def _overlaid(self, record: Record | None, seq: int | None) -> Record | None:
        """The record with what is not saved yet."""
        unsaved = None if record is None else self._unsaved.get(record.meta.id)
        if record is None or unsaved is None or unsaved.saved != record.position:
            return record
        at = unsaved.position
        index = (at.seq if seq is None else seq) - unsaved.saved.seq - 1
        reply = unsaved.steps[index].reply if 0 <= index < len(unsaved.steps) else record.reply
        belief = unsaved.belief if unsaved.steps else record.belief
        rest = unsaved.rest if unsaved.rest is not None else b"" if unsaved.steps else record.rest
        return replace(record, position=at, belief=belief, reply=reply, rest=rest)
