"""Chunks of samples through the service: what a stream and a request do alike with sound.

The laws: every chunk is answered by the estimates of the observations that it completes, in order; those that were
applied before are answered from the store. What is left over is kept in the session, where it still stands where this
run of chunks does. After a problem, the run goes on after the last observation that was answered.
"""

from collections.abc import AsyncIterator

import avf_wire as wire
from avf_wire.binary import Samples

from avf_server import problems
from avf_server.codecs.base import Given
from avf_server.problems import ProblemError, StoreError
from avf_server.sound import cutting
from avf_server.sound.cutting import Cut, Cutter
from avf_server.stepping.rows import Reply
from avf_server.stepping.service import Service
from avf_server.stores.base import Outcome, Position, Record, unpack


class SoundRun:
    """A run of chunks through one session, from where `record` says it stands, in its epoch."""

    def __init__(self, service: Service, record: Record, *, owner: str) -> None:
        size = service.sessions.models.checkpoint(record.meta.model).filter.model.observation.size
        self.epoch = record.position.epoch
        self._service = service
        self._id = record.meta.id
        self._owner = owner
        self._agreed = record.meta.audio
        self._applied = record.position.seq  # what was answered; the cutter may be ahead while a chunk is
        self._cutter = Cutter(size=size, applied=self._applied, rest=record.rest)
        self._kept = self._place
        self._begun = False

    @property
    def next_seq(self) -> int:
        """The observation at which the session goes on."""
        return self._applied + 1

    @property
    def next_sample(self) -> int | None:
        """How many samples the session has; None where it takes none."""
        return None if self._agreed is None else self._cutter.next_sample

    def completes(self, samples: int) -> int:
        """How many observations so many samples may complete."""
        return samples // self._cutter.size + 1

    async def observe(self, seq: int, x: Given) -> Reply:
        """Filter observation `seq`. Where it is the next one, and another was applied, others have gone on."""
        try:
            return await self._service.observe(self._id, seq=seq, x=x, owner=self._owner, epoch=self.epoch)
        except problems.ObservationConflictError as conflict:
            if seq <= self._applied:
                raise
            raise problems.SessionMovedError(
                f"another has gone on with the session: {conflict.detail}",
                session=self._id,
                seq=seq,
                expected_seq=conflict.expected_seq,
                expected_epoch=conflict.expected_epoch,
            ) from conflict

    def passed(self, reply: Reply) -> None:
        """Note that an observation, sent as such, was answered: where it was a new one, there is no remainder."""
        if reply.seq > self._applied:
            self._applied = reply.seq
            self._cutter.restart(reply.seq)
            self._kept = self._place  # the store lets go of a remainder at the next step

    async def take(self, chunk: Samples) -> AsyncIterator[Reply]:
        """The replies to a chunk. Raises a ProblemError, which says at which sample to go on."""
        try:
            for cut in self._cut(chunk):
                reply = await self._reply(cut)
                self._applied = max(self._applied, cut.seq)
                yield reply
        except ProblemError as problem:
            if self._cutter.applied != self._applied:
                self._cutter.restart(self._applied)
            problem.session, problem.expected_sample = self._id, self.next_sample
            raise

    async def keep(self) -> None:
        """Keep the remainder in the session. Raises SessionMovedError, UnknownSessionError, StoreUnavailableError."""
        place = self._place
        if place == self._kept or self._cutter.applied != self._applied:
            return
        sessions = self._service.sessions
        try:
            outcome = await sessions.store(self._id).keep_rest(
                self._id, continues=Position(self.epoch, self._applied), rest=self._cutter.rest
            )
        except StoreError as error:
            raise sessions.unavailable(error, session=self._id) from error
        if outcome is Outcome.GONE:
            raise sessions.unknown(self._id)
        if outcome is Outcome.MOVED:
            raise problems.SessionMovedError("another has gone on with the session; ask again", session=self._id)
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
                self._cutter.restart(self._applied)
                raise
        return cuts

    def _encoding(self, chunk: Samples) -> wire.Encoding:
        if self._agreed is None:
            raise problems.InvalidSettingError(
                'the session takes no samples: open it with "audio": {"rate": ..., "encoding": "s16" or "f32"}'
            )
        if chunk.encoding != self._agreed.encoding:
            raise problems.InvalidObservationError(
                f"the samples are {chunk.encoding}, but the session was opened for {self._agreed.encoding}"
            )
        return chunk.encoding

    async def _reply(self, cut: Cut) -> Reply:
        if cut.x is not None:
            return await self.observe(cut.seq, cut.x)
        record = await self._service.sessions.record(self._id, owner=self._owner, seq=cut.seq)
        at = record.position
        if at.epoch != self.epoch:
            raise problems.EpochMismatchError(
                f"epoch is {self.epoch}, the session is in epoch {at.epoch}, at seq {at.seq + 1}",
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
        return Reply(at.epoch, cut.seq, unpack(record.reply)[1], record.durable_seq)
