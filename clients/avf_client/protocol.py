"""The client's side of a stream as a state machine: no I/O, no clock.

    machine = Stream(session=id, epoch=1, next_seq=1)
    messages to send    <- machine.outgoing()
    messages received   -> machine.receive(message), which gives the estimate that is new, if any

The law, whatever is cut and however often: each observation offered gets its estimate exactly once and in order.
An observation is kept until its estimate has come; after `disconnected`, all that are kept are sent again under the
same `seq`, and the server answers those it had already applied from its store. No more than the server's credit is
ever unanswered.

| state     | means                                           | leaves it by           |
|-----------|-------------------------------------------------|------------------------|
| closed    | no connection                                   | `begin` received       |
| open      | may send                                        | `goaway`, disconnected |
| draining  | the server is stopping: send nothing            | disconnected           |
| done      | all was answered, and the end is said           |                        |
"""

from collections import OrderedDict
from enum import Enum

from avf_client import wire
from avf_client.errors import ProtocolError, from_problem, refused


class State(Enum):
    """Where a stream's connection stands; the table is in the module's docstring."""

    CLOSED = "closed"
    OPEN = "open"
    DRAINING = "draining"
    DONE = "done"


class Stream:
    """One stream over a session that stands at (`epoch`, `next_seq`), over as many connections as it takes.

    in_flight  how many observations may be unanswered, at most; the server's credit where absent
    """

    def __init__(self, *, session: str, epoch: int, next_seq: int, in_flight: int | None = None) -> None:
        self.session = session
        self.epoch = epoch
        self.state = State.CLOSED
        self._limit = in_flight
        self._credit = 0
        self._next = next_seq  # the seq of the next observation offered
        self._kept: OrderedDict[int, wire.Observation] = OrderedDict()
        self._sent = next_seq - 1  # the last seq sent on this connection
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

    def offer(self, x: wire.Observation) -> int:
        """Take the next observation, to be sent by `outgoing`; gives its `seq`."""
        if not self.wants_observation:
            raise RuntimeError("an observation was offered beyond the credit: ask wants_observation first")
        seq = self._next
        self._kept[seq] = x
        self._next += 1
        return seq

    def finish(self) -> None:
        """No more observations will be offered."""
        self._finished = True

    def outgoing(self) -> list[wire.ClientMessage]:
        """What may be sent now; a message is given out once a connection."""
        if self.state is not State.OPEN:
            return []
        unsent = [seq for seq in self._kept if seq > self._sent]
        room = max(0, self._credit - (len(self._kept) - len(unsent)))
        messages: list[wire.ClientMessage] = [wire.Observe(seq=s, x=self._kept[s]) for s in unsent[:room]]
        if messages:
            self._sent = unsent[:room][-1]
        if self._finished and not self._end_sent and len(unsent) <= room:
            self._end_sent = True
            messages.append(wire.End())
        return messages

    def receive(self, message: wire.ServerMessage) -> wire.Estimate | None:
        """Take a message of the server; gives the estimate where it brings a new one.

        Raises ProblemError where the server refused an observation: what was offered from the refused one on is
        forgotten. Raises ProtocolError for what the protocol does not allow.
        """
        if isinstance(message, wire.Estimate):
            return self._estimate(message)
        if isinstance(message, wire.Begin):
            self._begin(message)
        elif isinstance(message, wire.Error):
            raise from_problem(message.problem)
        elif isinstance(message, wire.GoAway):
            self.state = State.DRAINING
        else:
            self._ended(message)
        return None

    def disconnected(self) -> None:
        """The connection is gone: all that is unanswered will be sent again on the next one."""
        self._sent, self._credit, self._end_sent = self.acknowledged - 1, 0, False
        nothing_left = self._finished and not self._kept
        self.state = State.DONE if self.done or nothing_left else State.CLOSED

    def abandon(self) -> None:
        """Forget what is unanswered; the session goes on at `acknowledged`."""
        self._next = self.acknowledged
        self._kept.clear()
        self.state = State.DONE

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
        if message.session.next_seq < self.acknowledged:
            raise refused(
                "sequence-gap",
                f"the server stands at seq {message.session.next_seq}, but answered up to {self.acknowledged - 1} "
                "before: it has lost them (durability 'none'?); call reset() and begin again",
                status=409,
                session=self.session,
            )
        self.state, self._credit = State.OPEN, message.credit

    def _estimate(self, message: wire.Estimate) -> wire.Estimate | None:
        if self.state not in (State.OPEN, State.DRAINING):
            raise ProtocolError(f"an estimate came while the stream was {self.state.value}")
        if message.epoch != self.epoch:
            raise ProtocolError(f"an estimate of epoch {message.epoch} came in epoch {self.epoch}")
        if message.seq < self.acknowledged:
            return None  # a repeated answer: its estimate was given out already
        if message.seq > self.acknowledged or message.seq > self._sent:
            raise ProtocolError(f"the estimate of seq {message.seq} came, expected {self.acknowledged}")
        del self._kept[message.seq]
        return message

    def _ended(self, message: wire.Ended) -> None:
        if not self._end_sent or self._kept:
            raise ProtocolError(f"the server ended the stream with {len(self._kept)} observations unanswered")
        if message.next_seq != self._next:
            raise ProtocolError(f"the stream ended at seq {message.next_seq}, expected {self._next}")
        self.state = State.DONE
