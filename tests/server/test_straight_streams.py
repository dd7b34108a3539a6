"""Observations that go straight from their socket to the queue: only where the order stays that of the conversation."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from avf_server import problems
from avf_server.problems import ProblemError
from avf_server.stepping.replies import Reply
from avf_server.stepping.rows import Told
from avf_server.streams.dialects import Observations
from avf_server.streams.flow import Credit
from avf_server.streams.straight import Handed, Straight
from avf_wire import binary
from avf_wire.rows import Observed, RowForm

ESTIMATE = bytes(32)


class Socket:
    """Writes down what it is given, for as long as its peer reads."""

    def __init__(self) -> None:
        self.straight: Callable[[bytes], bool] | None = None
        self.reads = True
        self.written: list[bytes] = []

    def write(self, data: bytes) -> bool:
        if self.reads:
            self.written.append(data)
        return self.reads


class Run:
    """Lets whoever tests say what becomes of each observation."""

    def __init__(self) -> None:
        self.offered: list[tuple[int, list[float]]] = []
        self.answers: list[asyncio.Future[Reply]] = []
        self.told: list[Told] = []
        self.problem: ProblemError | None = None

    def offer(self, seq: int, observed: Observed, *, came: float | None, told: Told) -> "asyncio.Future[Reply]":
        if self.problem is not None:
            raise self.problem
        self.offered.append((seq, observed.x.tolist()))
        self.answers.append(asyncio.get_running_loop().create_future())
        self.told.append(told)
        return self.answers[-1]

    def answer(self, said: Reply | ProblemError) -> None:
        """What became of the last observation, told as the service tells it."""
        answer, told = self.answers[-1], self.told[-1]
        if isinstance(said, Reply):
            answer.set_result(said)
        else:
            answer.set_exception(said)
        told(answer)

    def heard(self, seq: int, answer: Reply | ProblemError) -> Reply | ProblemError:
        return answer


class Stream:
    """A stream's straight way with all that is around it."""

    def __init__(self) -> None:
        self.socket, self.run, self.credit = Socket(), Run(), Credit(4)
        self.handed: list[Handed] = []
        self.busy = False
        self.way = Straight(
            cast(Any, self.socket),
            cast(Any, self.run),
            RowForm(size=2),
            self.credit,
            arrays=True,
            idle=lambda: not self.busy,
            hand=lambda what: self.handed.append(what),
        )

    async def answer(self, seq: int) -> None:
        """The service answers."""
        self.run.answer(Reply(1, seq, ESTIMATE, seq))
        await asyncio.sleep(0)

    @property
    def seqs(self) -> list[int]:
        """Of what was offered."""
        return [seq for seq, _ in self.run.offered]


def observation(seq: int, rows: int = 1) -> bytes:
    """A message of observations."""
    return binary.encode(binary.Observations(seq=seq, rows=np.ones((rows, 2), dtype=np.float32)))


async def test_one_observation_goes_through_and_its_estimate_back() -> None:
    """And then the next."""
    stream = Stream()
    assert stream.way.take(observation(1))
    assert stream.run.offered == [(1, [1.0, 1.0])]
    await stream.answer(1)
    assert [data[24:] for data in stream.socket.written] == [(1).to_bytes(8, "little")]  # what is safe by now
    assert stream.credit.under_way == 0
    assert stream.way.take(observation(2))


async def test_those_that_come_while_one_is_under_way_wait_for_their_turns() -> None:
    """As many as there is credit for; each goes when the one before is answered."""
    stream = Stream()
    assert [stream.way.take(observation(seq)) for seq in range(1, 6)] == [True] * 4 + [False]
    for seq in range(1, 5):
        assert stream.seqs == list(range(1, seq + 1))
        await stream.answer(seq)
    assert len(stream.socket.written) == 4
    assert stream.credit.under_way == 0
    assert not stream.handed


async def test_nothing_overtakes_what_the_conversation_is_at() -> None:
    """Whether something waits to be handled, or has credit and is being handled, or waits for more than is left."""
    stream = Stream()
    stream.busy = True
    assert not stream.way.take(observation(1))
    stream.busy = False
    await stream.credit.take(1)
    assert not stream.way.take(observation(1))
    stream.credit.give(1)
    assert stream.way.take(observation(1))
    assert stream.way.take(observation(2))
    many = asyncio.create_task(stream.credit.take(3))
    await asyncio.sleep(0)
    assert not stream.way.take(observation(3))
    await stream.answer(1)
    await many
    assert not stream.way.take(observation(3))


async def test_the_conversation_waits_for_all_that_went_before_and_nothing_more_goes() -> None:
    """Also where one is handed to it in the end: that comes first."""
    stream = Stream()
    for seq in (1, 2):
        stream.way.take(observation(seq))
    after = asyncio.create_task(stream.way.passed())
    await asyncio.sleep(0)
    assert not stream.way.take(observation(3))
    await stream.answer(1)
    await asyncio.sleep(0)
    assert not after.done()
    stream.socket.reads = False
    await stream.answer(2)
    assert [cost for _, cost, _ in await after] == [1]
    assert not stream.handed


@pytest.mark.parametrize("fails", ["its answer", "the next one's offer"])
async def test_those_that_wait_are_the_conversation_s_once_one_before_is(fails: str) -> None:
    """In their order, with the time at which they came."""
    stream = Stream()
    for seq in (1, 2, 3):
        stream.way.take(observation(seq))
    if fails == "its answer":
        stream.run.answer(problems.SequenceGapError("seq is 1, expected 2"))
    else:
        stream.run.problem = problems.StoppingError("stopping")
        stream.run.answer(Reply(1, 1, ESTIMATE, 1))
    assert stream.seqs == [1]
    said = [what for what, _, _ in stream.handed]
    waited = [what for what in said if isinstance(what, Observations)]
    assert [what.seq for what in waited] == [2, 3]
    assert waited == said[-2:]
    assert all(came is not None for what, _, came in stream.handed if isinstance(what, Observations))
    assert len(said) == (3 if fails == "its answer" else 2)


async def test_what_comes_after_waits_for_what_went_through() -> None:
    """The conversation goes on once the answer is written."""
    stream = Stream()
    stream.way.take(observation(1))
    after = asyncio.create_task(stream.way.passed())
    await asyncio.sleep(0)
    assert not after.done()
    await stream.answer(1)
    await after
    assert len(stream.socket.written) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        observation(1, rows=2),
        observation(1)[:-1],
        b"\x00" + observation(1)[1:],  # not this sub-protocol
        observation(1)[:1] + b"\x02" + observation(1)[2:],  # sound
        observation(2**60),
    ],
)
async def test_whatever_is_no_single_observation_is_left_to_the_conversation(data: bytes) -> None:
    """None of it is looked at here."""
    stream = Stream()
    assert not stream.way.take(data)
    assert stream.credit.under_way == 0
    assert not stream.run.offered


async def test_a_problem_is_told_by_the_conversation() -> None:
    """Raised at once, or in place of the answer; its credit is given back where it was told."""
    stream = Stream()
    stream.run.problem = problems.InvalidObservationError("wrong")
    assert stream.way.take(observation(1))
    assert [(type(said).__name__, cost) for said, cost, _ in stream.handed] == [("InvalidObservationError", 1)]
    assert stream.credit.under_way == 1
    stream.credit.give(1)
    stream.run.problem = None
    assert stream.way.take(observation(1))
    stream.run.answer(problems.SequenceGapError("seq is 1, expected 2"))
    assert [type(said).__name__ for said, _, _ in stream.handed] == ["InvalidObservationError", "SequenceGapError"]


async def test_an_estimate_that_the_peer_does_not_read_waits_in_the_conversation() -> None:
    """So that whoever does not read is not written to without end."""
    stream = Stream()
    stream.socket.reads = False
    stream.way.take(observation(1))
    await stream.answer(1)
    assert [cost for _, cost, _ in stream.handed] == [1]
    assert not stream.way.take(observation(2))


async def test_a_stream_that_has_ended_takes_nothing_and_waits_for_nothing() -> None:
    """What is under way is then nobody's."""
    stream = Stream()
    stream.way.take(observation(1))
    stream.way.close()
    assert stream.socket.straight is None
    await asyncio.sleep(0)
    assert stream.run.answers[0].cancelled()
    assert not stream.socket.written
    assert not stream.handed
