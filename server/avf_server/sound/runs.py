"""Chunks of samples through the service: what a stream and a request do alike with sound.

The laws: every chunk is answered by the estimates of the observations that it completes, in order; those that were
applied before are answered from the store. What is left over is kept in the session, where it still stands where this
run of chunks does. After a problem, the run goes on after the last observation that was answered.
"""

from collections.abc import AsyncIterator

import avf_wire as wire
from avf_wire.binary import Samples
from avf_wire.rows import Observed

from avf_server import problems
from avf_server.problems import ProblemError, StoreError
from avf_server.sound import cutting
from avf_server.sound.cutting import Cut, Cutter
from avf_server.stepping.replies import Reply
from avf_server.stepping.runs import Run
from avf_server.stores.base import Outcome, Position, Record


def takes_none(session: str) -> problems.InvalidSettingError:
    """The problem of samples for a session that was opened without sound."""
    return problems.InvalidSettingError(
        'the session takes no samples: open it with "audio": {"rate": ..., "encoding": "s16" or "f32"}',
        session=session,
    )


class SoundRun:
    """A run of chunks through one session, beside the run of its observations."""

    def __init__(self, run: Run, record: Record) -> None:
        """Raises InvalidSettingError where the session takes no samples."""
        if record.meta.audio is None:
            raise takes_none(record.meta.id)
        self._run = run
        self._agreed = record.meta.audio
        size = run.service.sessions.models.checkpoint(record.meta.model).filter.model.observation.size
        self._cutter = Cutter(size=size, applied=run.answered, rest=record.rest)  # ahead of the run while a chunk is
        self._kept = self._place
        self._begun = False

    @property
    def next_sample(self) -> int:
        """How many samples the session has."""
        return self._cutter.next_sample

    def completes(self, samples: int) -> int:
        """How many observations so many samples may complete."""
        return samples // self._cutter.size + 1

    def passed(self, reply: Reply) -> None:
        """Note that an observation, sent as such, was answered: where it was a new one, there is no remainder."""
        if reply.seq > self._cutter.applied:
            self._cutter.restart(reply.seq)
            self._kept = self._place  # the store lets go of a remainder at the next step

    async def take(self, chunk: Samples) -> AsyncIterator[Reply]:
        """The replies to a chunk. Raises a ProblemError, which says at which sample to go on."""
        try:
            for cut in self._cut(chunk):
                yield await self._reply(cut)
        except ProblemError as problem:
            if self._cutter.applied != self._run.answered:
                self._cutter.restart(self._run.answered)
            problem.session, problem.expected_sample = self._run.session, self.next_sample
            raise

    async def keep(self) -> None:
        """Keep the remainder in the session. Raises SessionMovedError, UnknownSessionError, StoreUnavailableError."""
        run, place = self._run, self._place
        if place == self._kept or self._cutter.applied != run.answered:
            return
        sessions = run.service.sessions
        try:
            outcome = await sessions.store(run.session).keep_rest(
                run.session, continues=Position(run.epoch, run.answered), rest=self._cutter.rest
            )
        except StoreError as error:
            raise sessions.unavailable(error, session=run.session) from error
        if outcome is Outcome.GONE:
            raise sessions.unknown(run.session)
        if outcome is Outcome.MOVED:
            raise problems.SessionMovedError("another has gone on with the session; ask again", session=run.session)
        self._kept = place

    @property
    def _place(self) -> tuple[int, int]:
        """What the store would have to know: a remainder belongs to the position that it was kept at."""
        left = self._cutter.next_sample - self._cutter.applied * self._cutter.size
        return (self._cutter.applied if left else 0, left)

    def _cut(self, chunk: Samples) -> list[Cut]:
        """The observations that a chunk completes, once it has been checked."""
        encoding = self._encoding(chunk)
        if not self._begun or chunk.offset == 0:
            cutting.check_no_file(chunk.data)
        numbers = chunk.numbers()
        cutting.check_samples(numbers, offset=chunk.offset)
        self._begun = True
        cuts = self._cutter.cut(chunk.offset, numbers)
        first = next((cut.x for cut in cuts if cut.seq == 1 and cut.x is not None), None)
        if first is not None:
            try:
                cutting.check_no_file(cutting.as_sent(first, encoding))  # a header that came in pieces
            except ProblemError:
                self._cutter.restart(self._run.answered)
                raise
        return cuts

    def _encoding(self, chunk: Samples) -> wire.Encoding:
        if chunk.encoding != self._agreed.encoding:
            raise problems.InvalidObservationError(
                f"the samples are {chunk.encoding}, but the session was opened for {self._agreed.encoding}"
            )
        return chunk.encoding

    async def _reply(self, cut: Cut) -> Reply:
        run = self._run
        if cut.x is not None:
            return await run.observe(cut.seq, Observed(x=cut.x))
        record = await run.service.sessions.record(run.session, owner=run.owner, seq=cut.seq)
        at = record.position
        if at.epoch != run.epoch:
            raise problems.EpochMismatchError(
                f"epoch is {run.epoch}, the session is in epoch {at.epoch}, at seq {at.seq + 1}",
                seq=cut.seq,
                expected_seq=at.seq + 1,
                expected_epoch=at.epoch,
            )
        if record.reply is None:
            raise problems.ReplayWindowPassedError(
                f"the reply to seq {cut.seq} is no longer stored; the next seq is {at.seq + 1}",
                seq=cut.seq,
                expected_seq=at.seq + 1,
            )
        return Reply.of(record, seq=cut.seq)
