"""What a session's client remembers, and which calls it makes: no I/O. `sync` and `aio` are thin faces of this.

The law: the place in the sequence moves on only by estimates that came; after a lost reply the same observation is
sent under the same `seq`, so that nothing is applied twice.
"""

from collections.abc import Iterable, Sequence

from avf_client import rest, wire
from avf_client.errors import InvalidArgument, ProblemError, ProtocolError
from avf_client.estimates import Estimate, from_wire
from avf_client.observations import ObservationLike, to_wire
from avf_client.protocol import Stream


class SessionCore:
    """The place of one session, (`epoch`, `next_seq`), and the calls and replies that move it."""

    def __init__(self, info: wire.Session) -> None:
        self.info = info
        self.epoch = info.epoch
        self.next_seq = info.next_seq

    def place(self, info: wire.Session) -> None:
        """Stand where the server says the session stands."""
        if info.id != self.info.id:
            raise ProtocolError(f"the server answered for session {info.id}, not {self.info.id}")
        self.info, self.epoch, self.next_seq = info, info.epoch, info.next_seq

    def observation(self, x: ObservationLike) -> wire.Observation:
        """The observation as the wire carries it, or InvalidObservation."""
        return to_wire(x, size=self.info.observation_size)

    def chunks(self, xs: Iterable[ObservationLike]) -> list[list[wire.Observation]]:
        """The observations in requests of at most 128, all checked before the first is sent."""
        checked = [self.observation(x) for x in xs]
        return [checked[start : start + rest.CHUNK] for start in range(0, len(checked), rest.CHUNK)]

    def steps_call(self, observations: Sequence[wire.Observation]) -> rest.Call[wire.StepsReply]:
        """Filter these observations, from `next_seq` on."""
        request = wire.Steps(seq=self.next_seq, observations=list(observations), epoch=self.epoch)
        return rest.steps(self.info.id, request)

    def take(self, reply: wire.StepsReply, *, count: int) -> list[Estimate]:
        """The estimates of a reply to `count` observations; moves on past them."""
        expected = range(self.next_seq, self.next_seq + count)
        if [(e.epoch, e.seq) for e in reply.estimates] != [(self.epoch, seq) for seq in expected]:
            raise ProtocolError(f"the reply has not the estimates {expected.start} to {expected.stop - 1}")
        self.next_seq += count
        return [from_wire(message) for message in reply.estimates]

    def applied_before(self, error: ProblemError, *, count: int) -> int:
        """How many of `count` observations from `next_seq` on were applied before the refused one."""
        refused_seq = error.problem.seq
        if refused_seq is None or error.problem.expected_epoch is not None:
            return 0
        return min(max(0, refused_seq - self.next_seq), count)

    def machine(self, in_flight: int | None) -> Stream:
        """A stream from here on."""
        if in_flight is not None and in_flight < 1:
            raise InvalidArgument(f"in_flight is {in_flight}, expected at least 1")
        return Stream(session=self.info.id, epoch=self.epoch, next_seq=self.next_seq, in_flight=in_flight)

    def follow(self, machine: Stream) -> None:
        """Stand where a stream stands."""
        self.next_seq = machine.acknowledged
