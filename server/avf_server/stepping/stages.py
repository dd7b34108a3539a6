"""The stages of a tick: frames become rows, the engine filters them, what came of them is committed and answered.

The laws: nothing acknowledged is lost and nothing is applied twice: a reply leaves only after its commit was
confirmed, and a commit names the (epoch, seq) it continues. A hot belief is never the truth: only `apply` is
decided from it, which the commit then checks; all else is decided from the store. A frame's failure, and a
client that has gone, harm no other.
"""

import logging
from collections.abc import Sequence

from avf_server.metrics.telemetry import Telemetry
from avf_server.problems import ProblemError, StoreError
from avf_server.sessions import clocks
from avf_server.sessions.registry import Sessions
from avf_server.stepping import rows
from avf_server.stepping.answers import Answers
from avf_server.stepping.cached import CachedBelief, CachedBeliefs
from avf_server.stepping.decisions import Verdict
from avf_server.stepping.rows import Frame, Ready, Stepped
from avf_server.stores import kept
from avf_server.stores.base import Outcome, Position, Record, Store

logger = logging.getLogger(__name__)

Done = Sequence[tuple[Ready, Stepped]]


class Stages:
    """What is done with the frames of a tick, before the engine and after it. `window` counts stored replies."""

    def __init__(
        self, sessions: Sessions, cached: CachedBeliefs, answers: Answers, telemetry: Telemetry, *, window: int
    ) -> None:
        self._sessions = sessions
        self._stores = sessions.stores
        self._cached = cached
        self._answers = answers
        self._telemetry = telemetry
        self._window = window
        telemetry.hot.set_function(lambda: len(cached))

    def hot(self, frames: Sequence[Frame]) -> tuple[list[Ready], list[Frame], list[Frame]]:
        """The frames that apply by what is held here, those of which only the store knows, and those refused."""
        ready: list[Ready] = []
        cold: list[Frame] = []
        refused: list[Frame] = []
        for frame in frames:
            cached = self._cached.get(frame.meta.id)
            known = not self._stores.has_lost(frame.meta.id)
            if cached is not None and known and rows.judge(frame, cached.position, None) is Verdict.APPLY:
                if not self._apply(frame, cached, ready):
                    refused.append(frame)
            else:
                cold.append(frame)
        return ready, cold, refused

    async def load(self, frames: Sequence[Frame]) -> list[Ready]:
        """The frames that apply by what is stored. The others are answered here: replays and refusals."""
        ready: list[Ready] = []
        for frame, record in await self._records(frames):
            verdict: Verdict | None = rows.judge(frame, record.position, record.reply)
            if self._stores.has_lost(frame.meta.id):
                self._cached.drop(frame.meta.id)  # it holds what was acknowledged and never saved
                self._stores.told(frame.meta.id)
                self._refuse(frame, None, record.position)
            elif verdict is Verdict.APPLY:
                self._apply(frame, CachedBelief(position=record.position, kept=kept.unpack(record.belief)), ready)
            elif verdict is Verdict.REPLAY and record.reply is not None:
                self._answers.replayed(frame, record.position, record.reply)
            else:
                self._refuse(frame, verdict, record.position)
        return ready

    def _apply(self, frame: Frame, continues: CachedBelief, ready: list[Ready]) -> bool:
        """Take a frame that applies; one whose time does not go on is answered here, which gives False."""
        moment = None
        if frame.form.timed:
            models, model = self._sessions.models, frame.meta.model
            usual, dated = models.usual_dt(model), bool(models.calendar(model))
            try:
                moment = clocks.moment(frame.observed.time, last=continues.kept.time, usual_dt=usual, dated=dated)
            except ProblemError as problem:
                rows.refuse(frame, problem)
                return False
        ready.append(Ready(frame=frame, continues=continues, moment=moment))
        return True

    def filtered(self, ready: Sequence[Ready], stepped: Sequence[Stepped | ProblemError]) -> dict[Store, Done]:
        """The rows that were filtered, by the store that keeps them, those first that answer soonest.

        Those that failed are answered.
        """
        done: dict[Store, list[tuple[Ready, Stepped]]] = {store: [] for store in self._stores.stores()}
        of = self._stores.by_durability
        for item, result in zip(ready, stepped, strict=True):
            if isinstance(result, ProblemError):
                self._cached.drop(item.frame.meta.id)
                rows.refuse(item.frame, result)
            else:
                done[of[item.frame.meta.durability]].append((item, result))
        return {store: group for store, group in done.items() if group}

    async def commit(self, store: Store, done: Done) -> None:
        """Commit steps of one store, and answer them."""
        outcomes: Sequence[Outcome | None]
        after = [rows.after(*each) for each in done]
        try:
            outcomes = await store.commit([rows.to_commit(*each, at) for each, at in zip(done, after, strict=True)])
        except StoreError as error:
            logger.warning("%d commits are in doubt: %s", len(done), error)
            self._telemetry.store_errors.inc()
            outcomes = [None] * len(done)
        refused: list[Frame] = []
        doubtful: list[Frame] = []
        applied: list[tuple[Frame, Position, bytes]] = []
        notes: list[bytes] = []
        for (item, stepped), at, outcome in zip(done, after, outcomes, strict=True):
            frame, meta = item.frame, item.frame.meta
            if outcome is Outcome.APPLIED:
                self._cached.put(meta.id, at)
                applied.append((frame, at.position, stepped.estimate))
                notes.append(stepped.note)
            else:
                self._cached.drop(meta.id)
                refused.append(frame)
                if outcome is None:
                    doubtful.append(frame)
        self._answers.applied(applied)  # first: nobody can ask for anything before what follows is done, too
        for (frame, position, _), note in zip(applied, notes, strict=True):
            self._sessions.audience.stepped(frame.meta.owner, frame.meta.id, position, note)
        self._sessions.touch([frame.meta.id for frame, _, _ in applied])
        await self._settle([frame for frame in refused if self._answers.is_open(frame)], doubtful)

    def refuse_all(self, frames: Sequence[Frame], problem: ProblemError) -> None:
        """Answer these with the same problem, each with one of its own."""
        for frame in frames:
            self._cached.drop(frame.meta.id)
            rows.refuse(frame, type(problem)(problem.detail, retry_after=problem.retry_after))

    async def _records(self, frames: Sequence[Frame]) -> list[tuple[Frame, Record]]:
        """The frames with their sessions as they are kept; those whose sessions are not to be had are answered."""
        found = []
        for store in self._stores.stores():
            group = [frame for frame in frames if self._stores.store_of(frame.meta.durability) is store]
            if not group:
                continue
            try:
                records = await store.load([(frame.meta.id, frame.seq) for frame in group])
            except StoreError as error:
                self.refuse_all(group, self._sessions.unavailable(error))
                continue
            for frame, record in zip(group, records, strict=True):
                if record is None:
                    self._sessions.forget([frame.meta.id])
                    rows.refuse(frame, self._sessions.unknown(frame.meta.id))
                else:
                    self._cached.found(frame.meta.id, record.position)
                    found.append((frame, record))
        return found

    async def _settle(self, frames: Sequence[Frame], doubtful: Sequence[Frame]) -> None:
        """Answer frames whose commit was refused or is in doubt: replayed where what is stored is theirs."""
        if not frames:
            return
        for frame, record in await self._records(frames):
            verdict = rows.judge(frame, record.position, record.reply)
            if verdict is Verdict.REPLAY and record.reply is not None:
                self._answers.replayed(frame, record.position, record.reply)
            elif verdict is Verdict.APPLY and frame in doubtful:
                rows.refuse(frame, self._sessions.unavailable(StoreError("Redis did not confirm the step in time")))
            else:
                self._refuse(frame, None, record.position)

    def _refuse(self, frame: Frame, verdict: Verdict | None, position: Position) -> None:
        rows.refuse(frame, rows.refusal(frame, verdict, position, window=self._window))
