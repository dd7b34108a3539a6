"""The way of one observation: queue, tick, reply.

    take at most one frame of every ready session -> load beliefs not hot -> one batched step for each model
    -> commit all of the tick in one call -> reply

The laws: nothing acknowledged is lost and nothing is applied twice: a reply leaves only after its commit was
confirmed, and a commit names the (epoch, seq) it continues. A hot belief is never the truth: only `apply` is
decided from it, which the commit then checks; all else is decided from the store. A frame's failure, and a
client that has gone, harm no other.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from avf_wire.rows import Observed
from numpy.typing import ArrayLike

from avf_server import problems
from avf_server.metrics.telemetry import Telemetry
from avf_server.problems import ProblemError, StoreError
from avf_server.sessions import clocks
from avf_server.sessions.expiry import Sweeper
from avf_server.sessions.registry import Sessions
from avf_server.stepping import decisions, rows
from avf_server.stepping.answers import Answers
from avf_server.stepping.cached import CachedBelief, CachedBeliefs
from avf_server.stepping.decisions import Verdict
from avf_server.stepping.engine import Engine
from avf_server.stepping.observations import checked
from avf_server.stepping.queue import Queue
from avf_server.stepping.replies import Reply
from avf_server.stepping.rows import Frame, Ready, Stepped
from avf_server.stopping import Stopping
from avf_server.stores import kept
from avf_server.stores.base import MAX_SEQ, Meta, Outcome, Position, Record, Store
from avf_server.tasks import Supervisor, end

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    queue_limit: int
    max_batch: int
    replay_window: int
    retry_after_s: int
    drain_s: float


class Service:
    """The queue and its ticks. `start` it before use, and `stop` it: the queue is then finished, or refused."""

    def __init__(
        self,
        limits: Limits,
        engine: Engine,
        sessions: Sessions,
        cached: CachedBeliefs,
        stopping: Stopping,
        telemetry: Telemetry,
        supervisor: Supervisor,
    ) -> None:
        self._limits = limits
        self._engine = engine
        self.sessions = sessions
        self.stopping = stopping
        self._cached = cached
        self._stores = sessions.stores
        self._telemetry = telemetry
        self._supervisor = supervisor
        self._queue = Queue(limit=limits.queue_limit, retry_after=limits.retry_after_s)
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._sweeper = Sweeper(sessions, supervisor)
        self._ticking: asyncio.Task[None] | None = None
        self._answers = Answers(sessions.stores, telemetry, retry_after_s=limits.retry_after_s)

    @property
    def waiting(self) -> int:
        """Observations that wait for a tick."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to tick."""
        self._stores.start()
        self._sweeper.start()
        self._ticking = self._supervisor.start("avf-ticks", self._run)

    def refuse(self) -> None:
        """From now on refuse new work; what is queued is finished."""
        self.stopping.begun.set()
        self.sessions.audience.changed_all()

    async def stop(self) -> None:
        """Refuse new work, finish what is queued, within the time there is to stop; refuse what is then left."""
        self.refuse()
        ticking, self._ticking = self._ticking, None
        if ticking is None:
            return
        try:
            async with asyncio.timeout(self._limits.drain_s):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%d observations are refused: the time to stop is over", len(self._queue))
        await end(ticking)
        self._refuse_all(self._queue.empty(), self.stopping.problem())
        await self._answers.finish()
        await self._sweeper.stop()
        await self._stores.stop()

    async def observe(
        self,
        session: str,
        *,
        seq: int,
        x: ArrayLike,
        owner: str,
        epoch: int | None = None,
        inputs: ArrayLike | None = None,
        time: float | None = None,
    ) -> Reply:
        """Filter observation `seq`, float32 with NaN where missing; `epoch` None means the current one.

        `inputs` and `time` are what came with it, where the model takes them.

        Raises a ProblemError, which names the session and the seq; the session is then as it was. Cancelling is safe:
        the observation is then applied or not, and sending it again finds out.
        """
        try:
            self.stopping.check()
            if not 1 <= seq <= MAX_SEQ:
                raise problems.MalformedBodyError(f"seq is no number in [1, {MAX_SEQ}]")
            meta = await self.sessions.meta(session, owner=owner)
            models = self.sessions.models
            spec = models.checkpoint(meta.model).filter.model.observation
            observed = checked(x, spec, models.form(meta.model), inputs=inputs, time=time)
            self.stopping.check()  # again: the server may have stopped while the session was looked up
            self._queue.make_room(owner)
            return await self._enqueue(meta, epoch=epoch, seq=seq, observed=observed)
        except ProblemError as problem:
            self._telemetry.steps.labels(problem.name).inc()
            problem.at(session=session, seq=max(0, min(seq, MAX_SEQ)))
            raise

    async def _enqueue(self, meta: Meta, *, epoch: int | None, seq: int, observed: Observed) -> Reply:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._queue.add(
            Frame(
                meta=meta,
                epoch=epoch,
                seq=seq,
                observed=observed,
                form=self.sessions.models.form(meta.model),
                digest=decisions.observation_digest(observed),
                answer=answer,
            )
        )
        self._wanted.set()
        self._idle.clear()
        with self._telemetry.answering():
            return await answer

    async def _run(self) -> None:
        """Tick while anything is queued; a tick that fails answers its frames and no others."""
        while True:
            if not self._queue:
                self._idle.set()
                self._wanted.clear()
                await self._wanted.wait()
            taken = self._queue.take(max_batch=self._limits.max_batch)
            self._telemetry.queue.set(len(self._queue))
            try:
                await self._tick(taken)
            except Exception:
                logger.exception("a tick of %d observations failed", len(taken))
                self._refuse_all(taken, problems.internal())
            except asyncio.CancelledError:
                self._refuse_all(taken, self.stopping.problem())
                raise
            await asyncio.sleep(0)  # let those who were answered send their next ones: they may share a batch

    async def _tick(self, frames: Sequence[Frame]) -> None:
        """One batch, from the queue to its replies."""
        if not frames:
            return
        with self._telemetry.tick.time():
            self._telemetry.batched(len(frames))
            ready = await self._load(frames)
            stepped = await self._engine.step([rows.to_row(item) for item in ready])
            done = self._refuse_failed(ready, stepped)
            doubtful = [frame for store in self._stores.stores() for frame in await self._save(store, done)]
            await self._settle([item.frame for item, _ in done if self._answers.is_open(item.frame)], doubtful)
            self._telemetry.hot.set(len(self._cached))

    async def _load(self, frames: Sequence[Frame]) -> list[Ready]:
        """The frames that apply. The others are answered here, from the store: replays and refusals."""
        ready: list[Ready] = []
        cold: list[Frame] = []
        for frame in frames:
            cached = self._cached.get(frame.meta.id)
            known = not self._stores.has_lost(frame.meta.id)
            if cached is not None and known and rows.judge(frame, cached.position, None) is Verdict.APPLY:
                self._apply(frame, cached, ready)
            else:
                cold.append(frame)
        for frame, record in await self._records(cold):
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

    def _apply(self, frame: Frame, continues: CachedBelief, ready: list[Ready]) -> None:
        """Take a frame that applies; one whose time does not go on is answered here."""
        moment = None
        if frame.form.timed:
            usual = self.sessions.models.usual_dt(frame.meta.model)
            try:
                moment = clocks.moment(frame.observed.time, last=continues.kept.time, usual_dt=usual)
            except ProblemError as problem:
                rows.refuse(frame, problem)
                return
        ready.append(Ready(frame=frame, continues=continues, moment=moment))

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
                self._refuse_all(group, self.sessions.unavailable(error))
                continue
            for frame, record in zip(group, records, strict=True):
                if record is None:
                    self.sessions.forget([frame.meta.id])
                    rows.refuse(frame, self.sessions.unknown(frame.meta.id))
                else:
                    self._cached.found(frame.meta.id, record.position)
                    found.append((frame, record))
        return found

    def _refuse_failed(
        self, ready: Sequence[Ready], stepped: Sequence[Stepped | ProblemError]
    ) -> list[tuple[Ready, Stepped]]:
        """The rows that were filtered; those that failed are answered."""
        done = []
        for item, result in zip(ready, stepped, strict=True):
            if isinstance(result, ProblemError):
                self._cached.drop(item.frame.meta.id)
                rows.refuse(item.frame, result)
            else:
                done.append((item, result))
        return done

    async def _save(self, store: Store, done: Sequence[tuple[Ready, Stepped]]) -> list[Frame]:
        """Commit the steps of one store, and answer what was committed; the frames whose commits are in doubt."""
        group = [each for each in done if self._stores.store_of(each[0].frame.meta.durability) is store]
        if not group:
            return []
        outcomes: Sequence[Outcome | None]
        try:
            outcomes = await store.commit([rows.to_commit(*each) for each in group])
        except StoreError as error:
            logger.warning("%d commits are in doubt: %s", len(group), error)
            self._telemetry.store_errors.inc()
            outcomes = [None] * len(group)
        for (item, stepped), outcome in zip(group, outcomes, strict=True):
            session = item.frame.meta.id
            if outcome is Outcome.APPLIED:
                after = rows.after(item, stepped)
                position = after.position
                self._cached.put(session, after)
                self.sessions.touch(session)
                self.sessions.audience.stepped(item.frame.meta.owner, session, position, stepped.note)
                self._answers.applied(item.frame, position, stepped.estimate)
            else:
                self._cached.drop(session)
        return [item.frame for (item, _), outcome in zip(group, outcomes, strict=True) if outcome is None]

    async def _settle(self, frames: Sequence[Frame], doubtful: Sequence[Frame]) -> None:
        """Answer frames whose commit was refused or is in doubt: replayed where what is stored is theirs."""
        if not frames:
            return
        for frame, record in await self._records(frames):
            verdict = rows.judge(frame, record.position, record.reply)
            if verdict is Verdict.REPLAY and record.reply is not None:
                self._answers.replayed(frame, record.position, record.reply)
            elif verdict is Verdict.APPLY and frame in doubtful:
                rows.refuse(frame, self.sessions.unavailable(StoreError("Redis did not confirm the step in time")))
            else:
                self._refuse(frame, None, record.position)

    def _refuse(self, frame: Frame, verdict: Verdict | None, position: Position) -> None:
        rows.refuse(frame, rows.refusal(frame, verdict, position, window=self._limits.replay_window))

    def _refuse_all(self, frames: Sequence[Frame], problem: ProblemError) -> None:
        for frame in frames:
            self._cached.drop(frame.meta.id)
            rows.refuse(frame, type(problem)(problem.detail, retry_after=problem.retry_after))
