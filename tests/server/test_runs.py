"""Runs of observations: who has gone on with a session, and that without sound nothing of sound is passed."""

import asyncio
from typing import Any

import avf_wire as wire
import numpy as np
import pytest
from avf_server import problems
from avf_server.sound.runs import SoundRun
from avf_server.stepping.runs import Run
from avf_server.streams import conversation, dialects
from avf_wire import binary
from avf_wire.rows import Observed
from starlette.datastructures import Headers, QueryParams

ZERO, ONE = np.zeros(6, dtype=np.float32), np.ones(6, dtype=np.float32)


async def run_of(server: Any, session: str) -> Run:
    """A run from where the session stands."""
    return Run(server.service, await server.sessions.record(session, owner=""), owner="")


async def test_a_run_tells_others_that_go_on_from_a_client_that_changes_its_mind(
    runtime: Any, open_session: Any
) -> None:
    """Another observation under a seq that this run answered is a conflict; under its next one, somebody's step."""
    async with runtime() as server:
        session = await open_session(server)
        mine, other = await run_of(server, session), await run_of(server, session)
        assert (await mine.observe(1, Observed(x=ZERO))).seq == mine.answered == 1
        with pytest.raises(problems.ObservationConflictError):
            await mine.observe(1, Observed(x=ONE))
        with pytest.raises(problems.SessionMovedError, match="another has gone on") as moved:
            await other.observe(1, Observed(x=ONE))
        assert (moved.value.seq, moved.value.expected_seq, other.answered) == (1, 2, 0)
        assert (await other.observe(1, Observed(x=ZERO))).seq == other.answered == 1
        assert (await mine.observe(1, Observed(x=ZERO))).seq == mine.answered == 1


async def test_a_session_without_sound_has_no_run_of_sound(runtime: Any, open_session: Any) -> None:
    """It is refused, and says how sessions are opened that have one."""
    async with runtime() as server:
        session = await open_session(server)
        record = await server.sessions.record(session, owner="")
        with pytest.raises(problems.InvalidSettingError, match="open it with") as refused:
            SoundRun(Run(server.service, record, owner=""), record)
        assert refused.value.session == session


class Socket:
    """A client that has said all that it will say, and hears the answers."""

    def __init__(self, *said: bytes) -> None:
        self.headers, self.query_params = Headers(), QueryParams()
        self.scope: dict[str, Any] = {}
        self.heard: list[binary.ServerMessage] = []
        self.closed: list[int] = []
        self._said = [{"type": "websocket.receive", "bytes": message} for message in said]

    async def receive(self) -> dict[str, Any]:
        """What it says next."""
        if not self._said:
            await asyncio.Event().wait()  # it says no more, and stays
        return self._said.pop(0)

    async def send(self, event: dict[str, Any]) -> None:
        """What it hears."""
        self.heard.append(binary.decode_server(event["bytes"]))

    async def close(self, code: int, reason: str = "") -> None:
        """How it ends."""
        self.closed.append(code)


def passed(*_: object, **__: object) -> None:
    """What is in place of the code for sound."""
    raise AssertionError("a session without sound passed through the code for sound")


async def test_plain_observations_go_straight_to_the_service(
    runtime: Any, open_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `begin` to `ended`, nothing of sound is made; samples are refused by name, and the stream goes on."""
    monkeypatch.setattr(conversation, "SoundRun", passed)
    said = [
        binary.Observations(seq=1, rows=np.stack([ZERO, ONE])),
        binary.Samples(offset=0, encoding="f32", data=bytes(4)),
        binary.Observations(seq=3, rows=np.stack([ONE])),
        wire.End(),
    ]
    async with runtime() as server:
        socket: Any = Socket(*map(binary.encode, said))
        dialect = dialects.DIALECTS[wire.SUBPROTOCOL_BINARY]
        session = await open_session(server)
        await conversation.Conversation(socket, server, session, dialect).hold()
    begin, first, second, error, third, ended = socket.heard
    assert isinstance(begin, wire.Begin)
    assert begin.next_sample is None
    assert [estimate.seq for estimate in (first, second, third)] == [1, 2, 3]
    assert error.problem.type == "urn:avf:problem:invalid-setting"
    assert (ended.next_seq, ended.next_sample, socket.closed) == (4, None, [1000])
