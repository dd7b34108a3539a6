"""The way of one observation: queue, tick, reply.

    take at most one frame of every ready session -> load beliefs not hot -> one batched step for each model
    -> commit all of the tick in one call -> reply

The laws: the engine never waits for the store, nor the store for the engine: while one tick commits and answers, the
next one is filtered, and what is not hot is loaded meanwhile. A session is in one tick at a time, and a store in one
commit of a tick at a time, so that what waits for it becomes one batch. See `stages` for what is never lost.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from avf_server import problems
from avf_server.metrics.telemetry import Telemetry
from avf_server.problems import ProblemError
from avf_server.sessions.expiry import Sweeper
from avf_server.sessions.known import Known
from avf_server.sessions.registry import Sessions
from avf_server.stepping import decisions, pacing, rows
from avf_server.stepping.answers import Answers
from avf_server.stepping.cached import CachedBeliefs
from avf_server.stepping.engine import Engine
from avf_server.stepping.gathering import Gathering
from avf_server.stepping.observations import checked
from avf_server.stepping.parts import Parts
from avf_server.stepping.queue import Queue
from avf_server.stepping.replies import Reply
from avf_server.stepping.rows import Frame, Ready
from avf_server.stepping.stages import Done, Stages
from avf_server.stopping import Stopping
from avf_server.stores.base import MAX_SEQ, Store
from avf_server.tasks import Supervisor, end

logger = logging.getLogger(__name__)

SMOOTHING = 0.2  # of what a tick takes after it is filtered


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
        gathering: Gathering,
        stopping: Stopping,
        telemetry: Telemetry,
        supervisor: Supervisor,
    ) -> None:
        self._limits = limits
        self._engine = engine
        self.sessions = sessions
        self.stopping = stopping
        self._stores = sessions.stores
        self._telemetry = telemetry
        self._supervisor = supervisor
        self._queue = Queue(limit=limits.queue_limit, retry_after=limits.retry_after_s)
        self._answers = Answers(sessions.stores, gathering, telemetry, retry_after_s=limits.retry_after_s)
        self._stages = Stages(sessions, cached, self._answers, telemetry, window=limits.replay_window)
        self._gathering = gathering
        self._awaited: dict[str, float] = {}  # who is about to come, and until when the next tick waits for it
        self._afterwards = 0.0  # seconds that a tick takes from when it is filtered to its answers
        self._loaded: list[Ready] = []
        self._under_way: set[str] = set()  # sessions that are in a tick
        self._parts = Parts(self._release, stopping)  # of ticks: loads and commits
        self._commits: dict[Store, asyncio.Task[None]] = {}
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._sweeper = Sweeper(sessions, supervisor)
        self._ticking: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Observations that wait for a tick."""
        return len(self._queue) + len(self._loaded)

    def start(self) -> None:
        """Begin to tick."""
        self._stores.start()
        self._sweeper.start()
        self._telemetry.queue.set_function(lambda: self.waiting)
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
            logger.warning("%d observations are refused: the time to stop is over", self.waiting)
        for task in [ticking, *self._parts.tasks]:
            await end(task)
        self._stages.refuse_all(self._queue.empty(), self.stopping.problem())
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
        came: float | None = None,
    ) -> Reply:
        """Filter observation `seq`, NaN where missing, in whatever precision; `epoch` None means the current one.

        `inputs` and `time` are what came with it, where the model takes them. `came` is when, by the event loop's
        clock, of one that has waited elsewhere; None means just now.

        Raises a ProblemError, which names the session and the seq; the session is then as it was. Cancelling is safe:
        the observation is then applied or not, and sending it again finds out.
        """
        try:
            self.stopping.check()
            known = self.sessions.at_hand(session, owner=owner) or await self.sessions.known(session, owner=owner)
            return await self.offer(known, seq=seq, x=x, epoch=epoch, inputs=inputs, time=time, came=came)
        except ProblemError as problem:
            self.refused(problem, session=session, seq=seq)
            raise

    def offer(
        self,
        known: Known,
        *,
        seq: int,
        x: ArrayLike,
        epoch: int | None = None,
        inputs: ArrayLike | None = None,
        time: float | None = None,
        came: float | None = None,
        told: rows.Told | None = None,
    ) -> asyncio.Future[Reply]:
        """`observe` for whoever waits in a way of its own: the answer to come, or its ProblemError. Raises those, too.

        Either is to be told to `refused`. `told` hears of it as it is given. Cancelling the answer is safe.
        """
        self.stopping.check()
        if not 1 <= seq <= MAX_SEQ:
            raise problems.MalformedBodyError(f"seq is no number in [1, {MAX_SEQ}]")
        observed = checked(x, known.spec, known.form, inputs=inputs, time=time)
        self._queue.make_room(known.meta.owner)
        now = asyncio.get_running_loop().time()
        came = now if came is None else came
        frame = rows.to_frame(known, epoch=epoch, seq=seq, observed=observed, came=came, told=told)
        self._queue.add(frame)
        self._gathering.came(known.meta.id, now=now)
        self._awaited.pop(known.meta.id, None)
        self._idle.clear()
        if not self._awaited or len(self._queue) >= self._limits.max_batch:
            self._wanted.set()
        return frame.answer

    def refused(self, problem: ProblemError, *, session: str, seq: int) -> None:
        """Count an observation that was refused, and say in its problem which one it was."""
        self._telemetry.steps.labels(problem.name).inc()
        problem.at(session=session, seq=max(0, min(seq, MAX_SEQ)))

    async def _run(self) -> None:
        """One tick is filtered after another. One that fails answers its frames and no others."""
        while True:
            frames = await self._taken()
            try:
                batch = self._batch(frames)
                frames = [item.frame for item in batch]
                if batch:
                    await self._tick(batch)
            except Exception:
                logger.exception("a tick of %d observations failed", len(frames))
                self._release(frames, problems.internal())
            except asyncio.CancelledError:
                self._release(frames, self.stopping.problem())
                raise
            await asyncio.sleep(0)  # commits are sent, and those who were answered just now may have come again
            if frames:
                self._telemetry.batched(len(frames))
            self._engine.learn()

    async def _taken(self) -> list[Frame]:
        """The frames of the next tick, of sessions that are in no other, once there are any."""
        while True:
            await self._gathered()
            room = self._limits.max_batch - sum(item.frame.setup.particles for item in self._loaded)
            taken = self._queue.take(max_batch=room, under_way=self._under_way)
            if taken or self._loaded:
                self._under_way.update(frame.meta.id for frame in taken)
                return taken
            if not (self._queue or self._under_way):
                self._idle.set()
            self._wanted.clear()
            await self._wanted.wait()

    async def _gathered(self) -> None:
        """Return once those who are about to come are there, or the time is over that the tick may wait for them."""
        loop = asyncio.get_running_loop()
        oldest = self._queue.oldest
        if oldest is None or self._loaded or len(self._queue) >= self._limits.max_batch:
            return
        meta, count = oldest.meta, len(self._queue) + len(self._under_way)
        takes = self._engine.expected_seconds(meta.model, count, meta.iterations)
        until = oldest.came + min(takes, max(0.0, (meta.deadline_s or math.inf) - takes - self._afterwards))
        self._awaited = self._gathering.expected(self._under_way, now=loop.time(), until=until)
        while self._awaited and (left := max(self._awaited.values()) - loop.time()) > 0.0:
            self._wanted.clear()
            timer = loop.call_later(left, self._wanted.set)
            await self._wanted.wait()
            timer.cancel()
            if len(self._queue) >= self._limits.max_batch:
                break
        self._awaited = {}

    def _batch(self, taken: Sequence[Frame]) -> list[Ready]:
        """What is filtered now. What is not hot is loaded meanwhile, for a later tick."""
        ready, cold, refused = self._stages.hot(taken)
        if refused:
            self._release(refused)
        if cold:
            self._parts.begin(lambda: self._load(cold), cold)
        weights = [item.frame.setup.particles for item in self._loaded]
        fitting = decisions.fitting(weights, most=self._limits.max_batch)
        batch, self._loaded = [*self._loaded[:fitting], *ready], self._loaded[fitting:]
        return batch

    async def _tick(self, batch: Sequence[Ready]) -> None:
        """Filter a batch; to commit and to answer it goes on beside the next one."""
        began = asyncio.get_running_loop().time()
        seconds, samples = self._engine.expected_seconds, self.sessions.models.gradient_samples
        given = pacing.paced(batch, seconds, samples, now=began + self._afterwards)
        self._telemetry.shortened.inc(pacing.shortened(batch, given))
        alone = len(self._under_way) == 1 and not (self._queue or self._loaded)
        stepped = await self._engine.step(given, alone=alone)
        filtered = asyncio.get_running_loop().time()
        done = self._stages.filtered(batch, stepped)
        committed = {item.frame for group in done.values() for item, _ in group}
        if len(committed) < len(batch):
            self._release([item.frame for item in batch if item.frame not in committed])
        for store, group in done.items():
            before = self._commits.get(store)
            if before is not None and not before.done():
                await asyncio.wait([before])
            self._commits[store] = self._committed(store, group, began=began, filtered=filtered)

    def _committed(self, store: Store, done: Done, *, began: float, filtered: float) -> "asyncio.Task[None]":
        frames = [item.frame for item, _ in done]

        async def commit() -> None:
            await self._stages.commit(store, done)
            self._release(frames)
            now = asyncio.get_running_loop().time()
            self._afterwards += SMOOTHING * (now - filtered - self._afterwards)
            self._telemetry.tick.observe(now - began)

        return self._parts.begin(commit, frames)

    async def _load(self, cold: Sequence[Frame]) -> None:
        """What is not held here, for the next tick."""
        ready = await self._stages.load(cold)
        self._loaded += ready
        self._awaited.clear()  # what is here goes on at once
        applied = {item.frame for item in ready}
        self._release([frame for frame in cold if frame not in applied])

    def _release(self, frames: Sequence[Frame], problem: ProblemError | None = None) -> None:
        """The sessions of these frames may be in the next tick; where there is a problem, it is their answer."""
        if problem is not None:
            self._stages.refuse_all(frames, problem)
        self._under_way.difference_update([frame.meta.id for frame in frames])
        if not (self._queue or self._loaded or self._under_way):
            self._idle.set()  # nobody waits: there is nothing to tick for
        elif not self._awaited:
            self._wanted.set()
