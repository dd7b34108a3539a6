"""The client's side of a stream as a state machine: no I/O, no clock.

    machine = Stream(session=id, epoch=1, next_seq=1)
    messages to send    <- machine.outgoing()
    messages received   -> machine.receive(message), which gives the estimate that is new, if any

The law, whatever is cut and however often: each observation offered gets its estimate exactly once and in order.
An observation is kept until its estimate has come; after `disconnected`, all that are kept are sent again under the
same `seq`, and the server answers those it had already applied from its store. Where the server has lost answered
observations that it had not saved (durability `behind`), they are sent again from `unsaved`, and the answers to them
are dropped; what cannot be sent again is an error. No more than the server's credit is ever unanswered. Where only
every n-th estimate was asked for, `ack` answers the others, and an estimate answers all before it.

| state     | means                                           | leaves it by           |
|-----------|-------------------------------------------------|------------------------|
| closed    | no connection                                   | `begin` received       |
| open      | may send                                        | `goaway`, disconnected |
| draining  | the server is stopping: send nothing            | disconnected           |
| done      | all was answered, and the end is said           |                        |
"""

from collections import OrderedDict
from enum import Enum
from typing import TypeAlias, cast

import avf_wire as wire
from avf_wire import binary

from avf_client.core.retries import Lagging
from avf_client.core.unsaved import Item, Unsaved
from avf_client.errors import AvfClientError, ProtocolError, SequenceGap, from_problem, refused
from avf_client.observations import Sent
from avf_client.results.estimates import Answer

Incoming: TypeAlias = wire.ServerMessage | binary.Estimate
"""What either sub-protocol brings: they differ in the form of estimates only."""
Outgoing: TypeAlias = wire.Observe | wire.End | binary.Samples


class State(Enum):
    """Where a stream's connection stands; the table is in the module's docstring."""

    CLOSED = "closed"
    OPEN = "open"
    DRAINING = "draining"
    DONE = "done"


class Stream:
    """One stream over a session that stands at (`epoch`, `next_seq`), over as many connections as it takes.

    in_flight  how many observations may be unanswered, at most; the server's credit where absent
    every      estimates come of observations `every`, 2 `every`, ..., and of those that raise an alarm
    unsaved    the answered observations that the server may still lose; none where absent
    """

    def __init__(
        self,
        *,
        session: str,
        epoch: int,
        next_seq: int,
        in_flight: int | None = None,
        every: int = 1,
        unsaved: Unsaved | None = None,
    ) -> None:
        self.session = session
        self.epoch = epoch
        self.state = State.CLOSED
        self._limit = in_flight
        self._every = every
        self._credit = 0
        self._next = next_seq  # the seq of the next observation offered
        self._kept: OrderedDict[int, Item] = OrderedDict()
        self._unsaved = Unsaved() if unsaved is None else unsaved
        self._sent = next_seq - 1  # the last seq sent on this connection
        self._heard = next_seq - 1  # the last seq answered on this connection
        self._finished = False
        self._end_sent = False

    @property
    def acknowledged(self) -> int:
        """The `seq` that the session goes on at: the first one not answered."""
        return next(iter(self._kept), self._next)

    @property
    def unanswered(self) -> int:
        """How many observations were offered and not answered."""
        return len(self._kept)

    @property
    def done(self) -> bool:
        """Whether nothing remains to be said or heard."""
        return self.state is State.DONE

    @property
    def wants_observation(self) -> bool:
        """Whether `offer` may be called: within the credit, and not after `finish`."""
        return self.state is State.OPEN and not self._finished and len(self._kept) < self._window

    @property
    def _window(self) -> int:
        return self._credit if self._limit is None else min(self._credit, self._limit)

    def offer(self, step: Sent) -> None:
        """Take the next observation, to be sent by `outgoing`."""
        if not self.wants_observation:
            raise RuntimeError("an observation was offered beyond the credit: ask wants_observation first")
        self._keep(step)

    def finish(self) -> None:
        """No more observations will be offered."""
        self._finished = True

    def outgoing(self) -> list[Outgoing]:
        """What may be sent now; a message is given out once a connection."""
        if self.state is not State.OPEN:
            return []
        unsent = range(self._sent + 1, self._next)
        room = max(0, self._credit - (self._sent - self._heard))
        messages = [self._message(seq) for seq in unsent[:room]]
        if messages:
            self._sent = unsent[:room][-1]
        if self._finished and not self._end_sent and len(unsent) <= room and self._complete:
            self._end_sent = True
            messages += [*self._last_words(), wire.End()]
        return messages

    def receive(self, message: Incoming) -> Answer | None:
        """Take a message of the server; gives the estimate where it brings a new one.

        Raises ProblemError where the server refused an observation: what was offered from the refused one on is
        forgotten. Raises ProtocolError for what the protocol does not allow.
        """
        if isinstance(message, wire.Estimate | wire.Summary | binary.Estimate):
            return message if self._answered(message) and self._wanted(message) else None
        if isinstance(message, wire.Ack):
            self._answered(message)
        elif isinstance(message, wire.Begin):
            self._begin(message)
        elif isinstance(message, wire.Error):
            raise self._refusal(message.problem)
        elif isinstance(message, wire.GoAway):
            self.state = State.DRAINING
        elif isinstance(message, wire.Ended):
            self._ended(message)
        return None

    def disconnected(self) -> None:
        """The connection is gone: all that is unanswered will be sent again on the next one."""
        self._sent = self._heard = self.acknowledged - 1
        self._credit, self._end_sent = 0, False
        nothing_left = self._finished and not self._kept and not self._last_words()
        self.state = State.DONE if self.done or nothing_left else State.CLOSED

    def abandon(self) -> None:
        """Forget what is unanswered; the session goes on at `acknowledged`."""
        self._next = self.acknowledged
        self._kept.clear()
        self.state = State.DONE

    def _keep(self, item: Item) -> None:
        self._kept[self._next] = item
        self._next += 1

    def _message(self, seq: int) -> Outgoing:
        item = self._kept[seq] if seq >= self.acknowledged else self._unsaved[seq]
        if isinstance(item, binary.Samples):
            return item
        return wire.Observe(seq=seq, x=item.x, inputs=item.inputs, time=item.time)

    @property
    def _complete(self) -> bool:
        """Whether all that was taken has a `seq`."""
        return True

    def _last_words(self) -> list[Outgoing]:
        """What is to be sent before `end`, once all that was offered has been."""
        return []

    def _refusal(self, problem: wire.Problem) -> AvfClientError:
        """The error of a problem; a gap that can be filled is a reason to connect again, which fills it."""
        error = from_problem(problem)
        expected = problem.expected_seq
        lost = isinstance(error, SequenceGap) and expected is not None and expected < self.acknowledged
        if lost and self._unsaved.reaches(cast("int", expected), self.acknowledged):
            return Lagging(f"the server has lost what it had not saved, from seq {expected} on")
        return error

    def _begin(self, message: wire.Begin) -> None:
        if self.state is not State.CLOSED:
            raise ProtocolError("the server began a stream twice")
        if message.session.id != self.session:
            raise ProtocolError(f"the stream is of session {message.session.id}, not {self.session}")
        if message.credit < 1:
            raise ProtocolError(f"the server gave a credit of {message.credit}")
        if message.session.epoch != self.epoch:
            raise refused(
                "epoch-mismatch",
                f"the session is in epoch {message.session.epoch}, this client in {self.epoch}: it was reset "
                "elsewhere; call refresh() and begin again",
                status=409,
                session=self.session,
            )
        start = min(self.acknowledged, message.session.next_seq)
        if not self._unsaved.reaches(start, self.acknowledged):
            raise refused(
                "sequence-gap",
                f"the server stands at seq {start}, but answered up to {self.acknowledged - 1} "
                "before: it has lost them (durability 'none'?); call reset() and begin again",
                status=409,
                session=self.session,
            )
        self._sent = self._heard = start - 1
        self.state, self._credit = State.OPEN, message.credit

    def _answered(self, message: Answer | wire.Ack) -> bool:
        """Take an answer to all up to its `seq`; False where that was answered before."""
        if self.state not in (State.OPEN, State.DRAINING):
            raise ProtocolError(f"an answer came while the stream was {self.state.value}")
        if message.epoch != self.epoch:
            raise ProtocolError(f"an answer of epoch {message.epoch} came in epoch {self.epoch}")
        due = self.acknowledged + self._skippable(message)
        if message.seq > due or message.seq > self._sent:
            raise ProtocolError(f"the answer to seq {message.seq} came, expected {due}")
        self._heard = max(self._heard, message.seq)
        self._unsaved.saved(message.durable_seq)
        news = message.seq >= self.acknowledged
        while self.acknowledged <= message.seq:
            seq, x = self._kept.popitem(last=False)
            self._unsaved.answered(seq, x, durable_seq=message.durable_seq)
        return news

    def _wanted(self, message: Answer) -> bool:
        """Whether an estimate is given: each n-th, and those that raised an alarm."""
        alarm = message.alarm
        return message.seq % self._every == 0 or (alarm is not None and alarm.raised)

    def _skippable(self, message: Answer | wire.Ack) -> int:
        """How many observations from the first unanswered one on need no answer of their own."""
        without_estimate = -self.acknowledged % self._every
        return without_estimate - 1 if isinstance(message, wire.Ack) else without_estimate

    def _ended(self, message: wire.Ended) -> None:
        if not self._end_sent or self._kept:
            raise ProtocolError(f"the server ended the stream with {len(self._kept)} observations unanswered")
        if message.next_seq != self._next:
            raise ProtocolError(f"the stream ended at seq {message.next_seq}, expected {self._next}")
        self.state = State.DONE
