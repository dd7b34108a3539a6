"""A call to Redis fails by Redis' time, and not by ours: shown in made-up time, with lags put in by hand."""

import asyncio

import pytest
from avf_server.problems import StoreError
from avf_server.stores._circuit import Circuit
from avf_server.stores._patience import BEAT, Attention, Patience
from avf_server.tasks import Supervisor
from hypothesis import given
from hypothesis import strategies as st

from tests.support import loops

LIMIT = 0.1  # seconds


@given(st.lists(st.floats(0.0, 100.0), max_size=50))
def test_a_beat_counts_for_one_however_late_it_comes(gaps: list[float]) -> None:
    """Time that the loop was not there for does not pass; what it was late by is told."""
    late: list[float] = []
    attention, now = Attention(late.append), 7.0
    attention.begin(now)
    for gap in gaps:
        now += gap
        attention.beat(now)
    assert attention.seconds == pytest.approx(sum(min(gap, BEAT) for gap in gaps), abs=1e-6)
    assert late == pytest.approx([max(0.0, gap - BEAT) for gap in gaps], abs=1e-6)


def test_who_never_answers_is_given_up_after_the_time_that_was_set() -> None:
    """On a loop that is on time, seconds are seconds; each call has its own."""

    async def scenario() -> list[float]:
        loop, patience = asyncio.get_running_loop(), Patience(LIMIT)
        gone: list[float] = []

        async def call(delay: float) -> None:
            await asyncio.sleep(delay)
            began = loop.time()
            with pytest.raises(TimeoutError):
                async with patience.limit():
                    await asyncio.Event().wait()
            gone.append(loop.time() - began)

        await asyncio.gather(call(0.0), call(0.004), call(3.0))
        return gone

    assert loops.run(scenario()) == pytest.approx([LIMIT] * 3, abs=2 * BEAT)


@pytest.mark.parametrize("lag", [0.2, 5.0, 3600.0])
def test_an_answer_that_came_while_the_loop_was_late_is_heard(lag: float) -> None:
    """However late the loop is, and however often: what Redis did in time has not failed."""

    async def scenario() -> str:
        loop, patience = asyncio.get_running_loop(), Patience(LIMIT)
        for _ in range(5):
            answer: asyncio.Future[str] = loop.create_future()
            loop.call_later(0.02, loops.stall, lag)
            loop.call_later(0.02, loop.call_later, 0.05, answer.set_result, "applied")
            async with patience.limit():
                found = await answer
        return found

    assert loops.run(scenario()) == "applied"


def test_a_machine_that_is_four_times_slower_has_four_times_the_time() -> None:
    """Where every beat is late, Redis has as much more time as the beats."""

    async def scenario() -> float:
        loop, patience = asyncio.get_running_loop(), Patience(LIMIT)

        def slow() -> None:
            loops.stall(3 * BEAT)
            loop.call_later(BEAT / 4, slow)

        loop.call_soon(slow)
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with patience.limit():
                await asyncio.Event().wait()
        return loop.time() - began

    assert loops.run(scenario()) > 3 * LIMIT


def test_who_is_cancelled_is_cancelled_and_not_late() -> None:
    """A cancellation from outside stays one; and nothing beats once nobody calls."""

    async def scenario() -> None:
        patience = Patience(LIMIT)

        async def call() -> None:
            async with patience.limit():
                await asyncio.Event().wait()

        task = asyncio.create_task(call())
        await asyncio.sleep(LIMIT / 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(LIMIT)
        assert patience._timer is None

    loops.run(scenario())


def test_a_call_that_took_too_long_is_said_in_words() -> None:
    """What has no text of its own is not told as nothing."""

    async def probe() -> None:
        raise StoreError("away")

    async def scenario() -> None:
        circuit = Circuit(probe, Supervisor())
        assert str(circuit.judged(TimeoutError())) == "Redis does not answer: it took too long"
        await circuit.close()

    loops.run(scenario())
