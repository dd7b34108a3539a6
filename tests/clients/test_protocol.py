"""The stream's state machine: exactly one estimate for each observation, in order, whatever is cut."""

from collections import deque
from typing import Any

import avf_wire as wire
import pytest
from avf_client import errors
from avf_client.core.protocol import State, Stream
from avf_client.core.unsaved import Unsaved
from avf_client.observations import Sent
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.messages import SESSION, begin, estimate


def problem(name: str, **where: Any) -> wire.Problem:
    """A refusal."""
    return wire.Problem(type=wire.PROBLEM_PREFIX + name, title=name, status=422, detail="why", **where)


def machine(**options: Any) -> Stream:
    """A stream from the session's beginning."""
    return Stream(session=SESSION, epoch=1, next_seq=1, **options)


def opened(offers: int = 0, *, credit: int = 4, **options: Any) -> Stream:
    """A stream that the server has begun, with some observations offered."""
    stream = machine(**options)
    stream.receive(begin(credit=credit))
    for value in range(offers):
        stream.offer(Sent([float(value)]))
    return stream


def test_nothing_is_sent_before_begin() -> None:
    """Before the server begins, there is no credit."""
    stream = machine()
    assert stream.outgoing() == []
    assert not stream.wants_observation


def test_no_more_than_the_credit_is_taken() -> None:
    """Four observations fill a credit of four, and an answer makes room for one."""
    stream = opened(4)
    assert not stream.wants_observation
    with pytest.raises(RuntimeError, match="credit"):
        stream.offer(Sent([1.0]))
    assert [m.seq for m in stream.outgoing() if isinstance(m, wire.Observe)] == [1, 2, 3, 4]
    assert stream.receive(estimate(1)) is not None
    assert stream.wants_observation


def test_a_limit_below_the_credit_holds() -> None:
    """With in_flight=1 the next observation is taken after the answer to the last."""
    stream = opened(1, in_flight=1)
    assert not stream.wants_observation
    stream.outgoing()
    stream.receive(estimate(1))
    assert stream.wants_observation


def test_what_is_unanswered_is_sent_again_after_a_cut() -> None:
    """The new connection repeats 2 and 3 under their numbers, and not 1, which was answered."""
    stream = opened(3)
    stream.outgoing()
    stream.receive(estimate(1))
    stream.disconnected()
    assert stream.outgoing() == []
    stream.receive(begin(next_seq=4))
    assert [m.seq for m in stream.outgoing() if isinstance(m, wire.Observe)] == [2, 3]


def test_a_smaller_credit_after_a_cut_is_kept_to() -> None:
    """What is repeated is sent within the new credit."""
    stream = opened(4)
    stream.disconnected()
    stream.receive(begin(credit=2))
    assert [m.seq for m in stream.outgoing() if isinstance(m, wire.Observe)] == [1, 2]
    stream.receive(estimate(1))
    assert [m.seq for m in stream.outgoing() if isinstance(m, wire.Observe)] == [3]


def test_the_end_is_said_once_all_is_sent_and_again_after_a_cut() -> None:
    """`end` follows the last observation; where the connection is cut, it is said again."""
    stream = opened(1)
    stream.finish()
    assert stream.outgoing()[-1] == wire.End()
    assert stream.outgoing() == []
    stream.disconnected()
    stream.receive(begin(next_seq=2))
    assert [type(m) for m in stream.outgoing()] == [wire.Observe, wire.End]
    stream.receive(estimate(1))
    stream.receive(wire.Ended(next_seq=2))
    assert stream.done


def test_a_cut_after_the_last_answer_ends_the_stream() -> None:
    """Where only `ended` was lost, nothing remains to be done."""
    stream = opened(1)
    stream.finish()
    stream.outgoing()
    stream.receive(estimate(1))
    stream.disconnected()
    assert stream.done


def test_a_repeated_estimate_is_given_once() -> None:
    """A second answer to the same observation is dropped."""
    stream = opened(2)
    stream.outgoing()
    assert stream.receive(estimate(1)) is not None
    assert stream.receive(estimate(1)) is None


def test_goaway_stops_sending_until_the_next_connection() -> None:
    """After `goaway` answers are still taken, and nothing is sent."""
    stream = opened(2)
    stream.outgoing()
    stream.receive(wire.GoAway())
    assert stream.state.name == "DRAINING"
    assert not stream.wants_observation
    assert stream.receive(estimate(1)) is not None
    stream.disconnected()
    assert stream.state is State.CLOSED


@pytest.mark.parametrize(
    "message",
    [
        estimate(2),
        estimate(3),
        estimate(1, epoch=2),
        begin(),
        wire.Ended(next_seq=1),
    ],
)
def test_what_the_protocol_does_not_allow_is_refused(message: wire.ServerMessage) -> None:
    """A skipped estimate, one never asked for, one of another epoch, a second begin, an end out of the blue."""
    stream = opened(2)
    stream.outgoing()
    with pytest.raises(errors.ProtocolError):
        stream.receive(message)


@pytest.mark.parametrize("message", [begin(session="other"), begin(credit=0)])
def test_a_wrong_begin_is_refused(message: wire.Begin) -> None:
    """Another session's stream, or one without credit."""
    with pytest.raises(errors.ProtocolError):
        machine().receive(message)


def test_another_epoch_is_told() -> None:
    """A session that was reset elsewhere is not gone on with."""
    with pytest.raises(errors.EpochMismatch, match="refresh"):
        machine().receive(begin(epoch=2))


def test_a_server_that_forgot_answered_observations_is_told() -> None:
    """A session kept in memory only may be lost with its server."""
    stream = opened(1)
    stream.outgoing()
    stream.receive(estimate(1))
    stream.disconnected()
    with pytest.raises(errors.SequenceGap, match="lost"):
        stream.receive(begin(next_seq=1))


def test_a_refused_observation_leaves_the_place_at_it() -> None:
    """After a problem, the session goes on at the refused observation."""
    stream = opened(3)
    stream.outgoing()
    stream.receive(estimate(1))
    with pytest.raises(errors.InvalidObservation) as caught:
        stream.receive(wire.Error(problem=problem("invalid-observation", seq=2)))
    assert caught.value.problem.seq == 2
    stream.abandon()
    assert stream.acknowledged == 2


# --- answers before saves


def test_what_the_server_answered_and_lost_is_sent_again() -> None:
    """Of three answered observations one was saved: the others are sent again, and their answers are dropped."""
    stream = machine(unsaved=Unsaved(active=True))
    stream.receive(begin())
    for value in range(4):
        stream.offer(Sent([float(value)]))
    stream.outgoing()
    for seq in (1, 2, 3):
        stream.receive(estimate(seq, durable_seq=1))
    stream.disconnected()
    stream.receive(begin(next_seq=2))
    again = stream.outgoing()
    assert again == [wire.Observe(seq=seq, x=[seq - 1.0]) for seq in (2, 3, 4)]
    given = [stream.receive(estimate(seq, durable_seq=4)) for seq in (2, 3, 4)]
    assert [answer is None for answer in given] == [True, True, False]


def test_a_gap_that_can_be_filled_is_a_reason_to_connect_again() -> None:
    """The server says that it lost answered observations: those that are still here are no error of the user's."""
    stream = machine(unsaved=Unsaved(active=True))
    stream.receive(begin())
    stream.offer(Sent([0.0]))
    stream.outgoing()
    stream.receive(estimate(1, durable_seq=0))
    with pytest.raises(errors.ConnectionFailed, match="not saved"):
        stream.receive(wire.Error(problem=problem("sequence-gap", expected_seq=1)))
    with pytest.raises(errors.SequenceGap):
        stream.receive(wire.Error(problem=problem("sequence-gap", expected_seq=9)))


def test_what_is_kept_is_bounded_and_a_true_loss_is_told() -> None:
    """Past the bound the oldest is forgotten; where just that was lost, the user is told."""
    unsaved = Unsaved(active=True, most=4)
    for seq in range(1, 4):
        unsaved.answered(seq, Sent([0.0, 0.0]), durable_seq=None)
    assert len(unsaved) == 2
    assert unsaved.reaches(2, 4)
    assert not unsaved.reaches(1, 4)
    stream = Stream(session=SESSION, epoch=1, next_seq=4, unsaved=unsaved)
    with pytest.raises(errors.SequenceGap, match="lost"):
        stream.receive(begin(next_seq=1))


# --- thinned answers


def test_acks_answer_what_lies_between_estimates() -> None:
    """With every=3, an ack answers 1 and 2, and the estimate of 6 answers 4 and 5, too."""
    stream = opened(7, credit=8, every=3)
    stream.outgoing()
    assert stream.receive(wire.Ack(epoch=1, seq=2)) is None
    assert stream.acknowledged == 3
    given = [stream.receive(estimate(seq)) for seq in (3, 6)]
    assert [answer.seq for answer in given if answer] == [3, 6]
    with pytest.raises(errors.ProtocolError):
        stream.receive(wire.Ack(epoch=1, seq=8))


def test_an_ack_in_place_of_a_due_estimate_is_refused() -> None:
    """Observation 3 wants an estimate: an ack that goes past it has lost one."""
    stream = opened(4, every=3)
    stream.outgoing()
    with pytest.raises(errors.ProtocolError):
        stream.receive(wire.Ack(epoch=1, seq=3))


class FakeServer:
    """A server as docs/protocol.md wants it, without a network: the session survives its connections."""

    def __init__(self, credit: int, every: int) -> None:
        self.credit = credit
        self.every = every
        self.saved = 0  # of the applied ones: what is left of them when the server dies
        self.applied: list[float] = []
        self.up: deque[wire.ClientMessage] = deque()
        self.down: deque[wire.ServerMessage] = deque()

    def connect(self) -> None:
        self.up.clear()
        self.down.clear()
        self.down.append(begin(next_seq=len(self.applied) + 1, credit=self.credit))

    def work(self) -> None:
        if not self.up:
            return
        message = self.up.popleft()
        if isinstance(message, wire.End):
            self.down.append(wire.Ended(next_seq=len(self.applied) + 1))
            return
        assert message.seq <= len(self.applied) + 1, "the client left a gap"
        assert message.x is not None
        value = message.x[0]
        assert value is not None
        if message.seq == len(self.applied) + 1:
            self.applied.append(value)
        assert self.applied[message.seq - 1] == value, "the client sent another observation under the same seq"
        if message.seq % self.every == 0:
            self.down.append(estimate(message.seq, value=value, durable_seq=self.saved))
        else:
            self.down.append(wire.Ack(epoch=1, seq=message.seq, durable_seq=self.saved))

    def save(self) -> None:
        self.saved = len(self.applied)

    def die(self) -> None:
        del self.applied[self.saved :]
        self.connect()


class Simulation:
    """A client and a fake server, and a network that a test moves step by step."""

    def __init__(self, *, total: int, credit: int, in_flight: int | None, every: int) -> None:
        self.stream = machine(in_flight=in_flight, every=every, unsaved=Unsaved(active=True))
        self.server = FakeServer(credit, every)
        self.total = total
        self.offered = 0
        self.given: list[tuple[int, float]] = []
        self.server.connect()

    def offer(self) -> None:
        if self.offered == self.total:
            self.stream.finish()
        elif self.stream.wants_observation:
            self.stream.offer(Sent([float(self.offered)]))
            self.offered += 1
        assert self.stream.unanswered <= self.server.credit

    def send(self) -> None:
        self.server.up.extend(self.stream.outgoing())

    def deliver(self) -> None:
        if self.server.down and not self.stream.done:
            got = self.stream.receive(self.server.down.popleft())
            if got is not None:
                self.given.append((got.seq, got.free_energy))

    def cut(self) -> None:
        self.stream.disconnected()
        self.server.connect()

    def goaway(self) -> None:
        self.server.down.append(wire.GoAway())

    def die(self) -> None:
        self.stream.disconnected()
        self.server.die()

    def act(self, name: str) -> None:
        if name in ("work", "save"):
            getattr(self.server, name)()
        else:
            getattr(self, name)()


@settings(max_examples=300, deadline=None)
@given(
    actions=st.lists(
        st.sampled_from(["offer", "send", "work", "deliver", "save", "cut", "die", "goaway"]), max_size=120
    ),
    total=st.integers(0, 12),
    credit=st.integers(1, 5),
    in_flight=st.none() | st.integers(1, 6),
    every=st.integers(1, 4),
)
def test_each_estimate_is_given_exactly_once_and_in_order(
    actions: list[str], total: int, credit: int, in_flight: int | None, every: int
) -> None:
    """Whatever is delivered, cut, lost or replayed when, each observation is applied and answered once, in order."""
    simulation = Simulation(total=total, credit=credit, in_flight=in_flight, every=every)
    for action in actions:
        simulation.act(action)
    simulation.cut()
    for _ in range(20 * (total + 2)):  # an undisturbed network from here on
        for action in ("offer", "send", "work", "deliver"):
            simulation.act(action)
    assert simulation.stream.done
    assert simulation.given == [(seq + 1, float(seq)) for seq in range(total) if (seq + 1) % every == 0]
    assert simulation.server.applied == [float(value) for value in range(total)]
    assert simulation.stream.acknowledged == total + 1
