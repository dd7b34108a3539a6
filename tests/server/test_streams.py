"""The stream of a session, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets

SIZE = 6
ZERO = [0.0] * SIZE
ONE = [1.0] * SIZE


class Stream:
    """A raw client of one stream."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def observe(self, seq: int, x: Any) -> None:
        await self.send(type="observe", seq=seq, x=x)

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def close_code(self) -> int:
        await self.connection.wait_closed()
        code: int = self.connection.close_code
        return code


@pytest.fixture
def stream(server: Any) -> Callable[..., Any]:
    """Connect to a session's stream on the shared server."""

    @asynccontextmanager
    async def connected(session: str, **options: Any) -> AsyncIterator[Stream]:
        settings: dict[str, Any] = {"subprotocols": ["avf.v1.json"], "open_timeout": 60, "compression": None} | options
        async with websockets.connect(f"{server.ws}/v1/sessions/{session}/stream", **settings) as connection:
            yield Stream(connection)

    return connected


@pytest.fixture
def session(http: httpx.Client) -> str:
    """A new session of the shared server."""
    identifier: str = http.post("/v1/sessions", json={"model": "tiny", "seed": 1}).json()["id"]
    return identifier


async def test_a_stream_begins_answers_in_order_and_ends(
    stream: Any, session: str, same: Any, observations: Any
) -> None:
    """Begin, one estimate for each observation, ended with the next seq, close 1000."""
    xs = observations(20)
    async with stream(session) as client:
        begin = await client.receive()
        assert begin["type"] == "begin"
        assert (begin["session"]["id"], begin["session"]["next_seq"]) == (session, 1)
        assert begin["credit"] >= 1
        assert client.connection.subprotocol == "avf.v1.json"
        for seq, x in enumerate(xs, 1):
            await client.observe(seq, x)
        await client.send(type="end")
        estimates = [await client.receive() for _ in xs]
        assert {estimate["type"] for estimate in estimates} == {"estimate"}
        same(estimates, xs, seed=1)
        assert await client.receive() == {"type": "ended", "next_seq": 21, "next_sample": None}
        assert await client.close_code() == 1000


async def test_a_client_that_ignores_its_credit_is_answered_all_the_same(stream: Any, session: str) -> None:
    """It is not read for a while, and nothing is lost."""
    async with stream(session) as client:
        await client.receive()

        async def flood() -> None:
            for seq in range(1, 301):
                await client.observe(seq, ZERO)

        sending = asyncio.create_task(flood())
        assert [(await client.receive())["seq"] for _ in range(300)] == list(range(1, 301))
        await sending


async def test_a_refused_observation_is_an_error_and_the_stream_goes_on(stream: Any, session: str) -> None:
    """Wrong dimension, gap, conflict, replay: the stream stays open, at the same seq."""
    async with stream(session) as client:
        await client.receive()
        await client.observe(1, [0.0])
        error = await client.receive()
        assert error["type"] == "error"
        assert error["problem"]["type"] == "urn:avf:problem:invalid-observation"
        assert error["problem"]["seq"] == 1
        await client.observe(1, ZERO)
        first = await client.receive()
        assert first["seq"] == 1
        await client.observe(5, ZERO)
        error = await client.receive()
        assert error["problem"]["type"] == "urn:avf:problem:sequence-gap"
        assert error["problem"]["expected_seq"] == 2
        await client.observe(1, ONE)
        assert (await client.receive())["problem"]["type"] == "urn:avf:problem:observation-conflict"
        await client.observe(1, ZERO)
        assert await client.receive() == first
        await client.observe(2, None)
        estimate = await client.receive()
        assert (estimate["seq"], estimate["free_energy"], estimate["kl"]) == (2, 0.0, 0.0)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("no JSON", 1007),
        ('{"type": "observe", "seq": 1, "x": [NaN]}', 1007),
        ('{"type": "dance"}', 1007),
        ("[" * 50_000, 1007),
        (b"binary", 1003),
        ("x" * 100_000, 1009),
    ],
    ids=["no JSON", "NaN", "unknown type", "nested", "binary", "too large"],
)
async def test_what_is_no_message_ends_the_stream_and_not_the_session(
    stream: Any, session: str, http: httpx.Client, frame: Any, code: int
) -> None:
    """An error before the close, where the frame could be read at all; the session goes on elsewhere."""
    async with stream(session) as client:
        await client.receive()
        await client.observe(1, ZERO)
        assert (await client.receive())["seq"] == 1
        await client.connection.send(frame)
        if code != 1009:
            assert (await client.receive())["problem"]["type"] == "urn:avf:problem:malformed-body"
        assert await client.close_code() == code
    reply = http.post(f"/v1/sessions/{session}/steps", json={"seq": 2, "observations": [ZERO]})
    assert reply.json()["next_seq"] == 3


async def test_an_unknown_session_and_another_epoch_close_the_stream(
    stream: Any, session: str, http: httpx.Client
) -> None:
    """4404 at the start; 4409 once a reset has gone on with the session; 4410 once it is deleted."""
    async with stream("none") as client:
        assert (await client.receive())["problem"]["type"] == "urn:avf:problem:unknown-session"
        assert await client.close_code() == 4404
    async with stream(session) as client:
        await client.receive()
        await asyncio.to_thread(http.post, f"/v1/sessions/{session}/reset")
        await client.observe(1, ZERO)
        assert (await client.receive())["problem"]["type"] == "urn:avf:problem:epoch-mismatch"
        assert await client.close_code() == 4409
    async with stream(session) as client:
        await client.receive()
        await asyncio.to_thread(http.delete, f"/v1/sessions/{session}")
        await client.observe(1, ZERO)
        assert (await client.receive())["problem"]["type"] == "urn:avf:problem:unknown-session"
        assert await client.close_code() == 4410


async def test_another_sub_protocol_is_refused(stream: Any, session: str) -> None:
    """The handshake fails with the problem; with none offered, the stream speaks JSON."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with stream(session, subprotocols=["avf.v9.bin"]):
            pass
    assert caught.value.response.status_code == 415
    async with stream(session, subprotocols=None) as client:
        assert (await client.receive())["type"] == "begin"


async def test_a_client_that_vanishes_harms_nobody(stream: Any, session: str, http: httpx.Client) -> None:
    """Its socket is cut with observations under way; the session goes on where it stands."""
    async with stream(session) as client:
        await client.receive()
        for seq in range(1, 11):
            await client.observe(seq, ZERO)
        client.connection.transport.abort()
    seq = http.get(f"/v1/sessions/{session}").json()["next_seq"]
    assert 1 <= seq <= 11
    path = f"/v1/sessions/{session}/steps"
    replayed = http.post(path, json={"seq": 1, "observations": [ZERO] * 12})
    assert replayed.json()["next_seq"] == 13
