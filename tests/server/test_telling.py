"""Who is told of an answer is told as it is given, once; and what fails there fails nobody else."""

import asyncio
from typing import Any, cast

import pytest
from avf_server import problems
from avf_server.stepping import rows
from avf_server.stepping.replies import Reply
from avf_server.stepping.rows import Frame, Told

REPLY = Reply(1, 1, bytes(32), 1)


def frame(told: Told | None) -> Frame:
    """One that waits; nothing of its session is looked at."""
    nothing = cast(Any, None)
    return Frame(
        meta=nothing,
        epoch=1,
        seq=1,
        observed=nothing,
        form=nothing,
        setup=nothing,
        answer=asyncio.get_running_loop().create_future(),
        came=0.0,
        queued=0.0,
        told=told,
    )


async def test_an_answer_is_told_before_anything_else_happens() -> None:
    """A reply or a problem, without a turn of the event loop; a second one is neither given nor told."""
    heard: list[asyncio.Future[Reply]] = []
    given, refused = frame(heard.append), frame(heard.append)
    rows.give(given, REPLY)
    rows.refuse(refused, problems.StoppingError("stopping"))
    assert heard == [given.answer, refused.answer]
    assert given.answer.result() is REPLY
    assert isinstance(refused.answer.exception(), problems.StoppingError)
    rows.refuse(given, problems.StoppingError("stopping"))
    rows.give(refused, REPLY)
    assert len(heard) == 2


async def test_who_has_left_is_told_nothing() -> None:
    """As a stream that ended while its observation was under way."""
    heard: list[asyncio.Future[Reply]] = []
    left = frame(heard.append)
    left.answer.cancel()
    rows.give(left, REPLY)
    assert not heard


async def test_who_fails_at_being_told_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the others of the tick have their answers."""

    def fail(_: asyncio.Future[Reply]) -> None:
        raise RuntimeError("no socket")

    first, second = frame(fail), frame(None)
    rows.give(first, REPLY)
    rows.give(second, REPLY)
    assert first.answer.result() is second.answer.result()
    assert "no socket" in caplog.text
