"""What becomes of frames that were applied: answered at once, or, of `wait`, once replicas of the store have the step.

The law: no tick waits for a replica. A frame whose step is saved and not replicated is held, and answered or refused on
its own.
"""

import asyncio
from collections.abc import Sequence

from avf_server import problems
from avf_server.metrics.telemetry import Telemetry
from avf_server.problems import StoreError
from avf_server.stepping import rows
from avf_server.stepping.gathering import Gathering
from avf_server.stepping.replies import Reply
from avf_server.stepping.rows import Frame
from avf_server.stores.base import Position
from avf_server.stores.durability import StoresByDurability
from avf_server.stores.replies import estimate_of, is_readable


class Answers:
    """Gives frames their replies. Whoever ends waits for those that are held."""

    def __init__(
        self, stores: StoresByDurability, gathering: Gathering, telemetry: Telemetry, *, retry_after_s: int
    ) -> None:
        self._stores = stores
        self._gathering = gathering
        self._telemetry = telemetry
        self._applied = telemetry.steps.labels("applied")
        self._retry_after_s = retry_after_s
        self._held: dict[Frame, asyncio.Task[None]] = {}

    def is_open(self, frame: Frame) -> bool:
        """Whether a frame has no answer yet, and none under way."""
        return not frame.answer.done() and frame not in self._held

    def applied(self, done: Sequence[tuple[Frame, Position, bytes]]) -> None:
        """Answer frames whose steps were committed just now, each with its estimate."""
        self._give(done)
        self._applied.inc(len(done))

    def replayed(self, frame: Frame, position: Position, reply: bytes) -> None:
        """Answer a frame that was applied before with its stored reply."""
        if not is_readable(reply):
            return rows.refuse(frame, problems.BeliefUnreadableError("the stored reply is of another release"))
        self._telemetry.steps.labels("replayed").inc()
        return self._give([(frame, position, estimate_of(reply))])

    async def finish(self) -> None:
        """Wait until those that are held have their answers."""
        await asyncio.gather(*self._held.values(), return_exceptions=True)

    def _give(self, done: Sequence[tuple[Frame, Position, bytes]]) -> None:
        """Answer with estimates as they are stored, each once it is as safe as its session chose."""
        now = []
        for frame, position, estimate in done:
            if frame.meta.durability == "wait":
                self._hold(frame, position, estimate)
            else:
                now.append((frame, position, estimate, self._stores.saved_seq(frame.meta, position)))
        self._answer(now)

    def _hold(self, frame: Frame, position: Position, estimate: bytes) -> None:
        task = asyncio.create_task(self._give_replicated(frame, position, estimate))
        self._held[frame] = task
        task.add_done_callback(lambda _: self._held.pop(frame, None))

    def _answer(self, done: Sequence[tuple[Frame, Position, bytes, int]]) -> None:
        """Answer these now; each says what is safe of its session."""
        now, queued = asyncio.get_running_loop().time(), []
        for frame, position, estimate, durable_seq in done:
            if frame.answer.done():
                continue  # a client that has gone has cancelled it
            self._gathering.answered(frame.meta.id, now=now)
            queued.append(frame.queued)
            rows.give(frame, Reply(position.epoch, frame.seq, estimate, durable_seq))
        self._telemetry.answered(queued)

    async def _give_replicated(self, frame: Frame, position: Position, estimate: bytes) -> None:
        session, why = frame.meta.id, "too few replicas of Redis have it"
        try:
            if await self._stores.is_replicated(session):
                return self._answer([(frame, position, estimate, position.seq)])
        except StoreError as error:
            why = str(error)
        return rows.refuse(
            frame,
            problems.NotReplicatedError(
                f"seq {frame.seq} is saved, but {why}; send the same again for its reply",
                retry_after=self._retry_after_s,
            ),
        )
