"""A run of observations through one session, in the epoch that it began in: what streams and sound have in common.

The law: a run is of one client. Where its next observation turns out to be applied already, and another one was, others
have gone on with the session, which is another problem than a client that changed its mind.
"""

import asyncio

from avf_wire.rows import Observed

from avf_server import problems
from avf_server.problems import ProblemError
from avf_server.stepping.replies import Reply
from avf_server.stepping.rows import Told
from avf_server.stepping.service import Service
from avf_server.stores.base import Record


class Run:
    """From where `record` says that the session stands."""

    def __init__(self, service: Service, record: Record, *, owner: str) -> None:
        self.service = service
        self.session = record.meta.id
        self.owner = owner
        self.epoch = record.position.epoch
        self.answered = record.position.seq
        self.came: float | None = None  # when what is observed next came, by the event loop's clock; None: just now

    async def observe(self, seq: int, observed: Observed) -> Reply:
        """Filter observation `seq`. Raises SessionMovedError where it is the next one, and another was applied."""
        try:
            reply = await self.service.observe(
                self.session,
                seq=seq,
                x=observed.x,
                inputs=observed.inputs,
                time=observed.time,
                owner=self.owner,
                epoch=self.epoch,
                came=self.came,
            )
        except problems.ObservationConflictError as conflict:
            if seq <= self.answered:
                raise
            raise self._moved(conflict, seq) from conflict
        self.answered = max(self.answered, seq)
        return reply

    def offer(
        self, seq: int, observed: Observed, *, came: float | None = None, told: Told | None = None
    ) -> "asyncio.Future[Reply] | None":
        """`observe` for whoever waits in a way of its own; None where nothing is known here of the session.

        `came` is when, by the event loop's clock; None means just now. `told` hears of the answer as it is given.

        Raises a ProblemError. Its answer, or its problem, is to be told to `heard`.
        """
        known = self.service.sessions.at_hand(self.session, owner=self.owner)
        if known is None:
            return None
        x, inputs, time = observed.x, observed.inputs, observed.time
        return self.service.offer(known, seq=seq, x=x, inputs=inputs, time=time, epoch=self.epoch, came=came, told=told)

    def heard(self, seq: int, answer: Reply | ProblemError) -> Reply | ProblemError:
        """What became of an observation that was offered, as `observe` would say it."""
        if isinstance(answer, Reply):
            self.answered = max(self.answered, seq)
            return answer
        self.service.refused(answer, session=self.session, seq=seq)
        if isinstance(answer, problems.ObservationConflictError) and seq > self.answered:
            return self._moved(answer, seq)
        return answer

    def _moved(self, conflict: ProblemError, seq: int) -> ProblemError:
        return problems.SessionMovedError(
            f"another has gone on with the session: {conflict.detail}",
            session=self.session,
            seq=seq,
            expected_seq=conflict.expected_seq,
            expected_epoch=conflict.expected_epoch,
        )
