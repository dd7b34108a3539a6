"""Sound over real sockets: whatever the chunks are, the estimates are those of the library."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import avf_wire as wire
import httpx
import numpy as np
import pytest
import torch
import websockets
from avf_wire import binary

from avf_core import checkpoints

pytestmark = pytest.mark.slow

SIZE = 200
S16 = {"Content-Type": "application/vnd.avf.s16"}
F32 = {"Content-Type": "application/vnd.avf.float32"}


def sound(count: int, *, seed: int = 0) -> np.ndarray:
    """Samples of 16 bits: a tone in noise."""
    noise = np.random.default_rng(seed).normal(0.0, 500.0, count)
    return np.rint(noise + 3000 * np.sin(np.arange(count) / 20)).astype("<i2")


class Line:
    """A raw client of one stream in `avf.v1.bin`."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def send(self, message: Any) -> None:
        await self.connection.send(binary.encode(message))

    async def samples(self, offset: int, samples: np.ndarray) -> None:
        await self.send(binary.Samples(offset=offset, encoding="s16", data=samples.tobytes()))

    async def receive(self) -> Any:
        return binary.decode_server(await self.connection.recv())

    async def until(self, kind: type) -> list[Any]:
        """What comes, up to the first message of this kind."""
        found = [await self.receive()]
        while not isinstance(found[-1], kind):
            found.append(await self.receive())
        return found

    async def close_code(self) -> int:
        await self.connection.wait_closed()
        return int(self.connection.close_code)


@pytest.fixture(scope="session")
def speaker(serve: Callable[..., Any], speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of the model of sound, and of the tiny one."""
    return serve("--model", str(speech), "--data-dir", str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def http(speaker: Any) -> Any:
    with httpx.Client(base_url=speaker.url, timeout=60) as client:
        yield client


@pytest.fixture
def opened(http: httpx.Client) -> Callable[..., str]:
    """Open a session for sound."""

    def open_session(encoding: str = "s16", **options: Any) -> str:
        body = {"model": "speech", "seed": 3, "audio": {"rate": 16000, "encoding": encoding}} | options
        reply = http.post("/v1/sessions", json=body)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    return open_session


@pytest.fixture
def line(speaker: Any) -> Callable[..., Any]:
    """Connect to a session's stream, in binary."""

    @asynccontextmanager
    async def connected(session: str, query: str = "", **options: Any) -> AsyncIterator[Line]:
        settings: dict[str, Any] = {"subprotocols": ["avf.v1.bin"], "compression": None, "open_timeout": 60} | options
        async with websockets.connect(f"{speaker.ws}/v1/sessions/{session}/stream{query}", **settings) as connection:
            yield Line(connection)

    return connected


@pytest.fixture(scope="session")
def truth(speech: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The free energies of all whole observations of these samples, by the library alone."""
    filter = checkpoints.load(speech).filter

    def run(samples: np.ndarray) -> np.ndarray:
        xs = torch.from_numpy(samples[: len(samples) // SIZE * SIZE].astype(np.float32) / 32768).reshape(-1, 1, SIZE)
        with torch.no_grad():
            _, estimate = filter.scan(filter.initial(torch.tensor([3])), xs)
        return np.asarray(estimate.free_energy[:, 0])

    return run


def energies(messages: list[Any]) -> list[float]:
    return [message.free_energy for message in messages if isinstance(message, binary.Estimate)]


@pytest.mark.parametrize("length", [1, 7, 200, 4099])
async def test_chunks_of_any_length_give_the_same_estimates(
    line: Any, opened: Any, truth: Any, http: httpx.Client, length: int
) -> None:
    """In s16 on a stream; what is left over is in the session at the end."""
    samples = sound(4099 if length > 1 else 650)
    session = opened()

    async def scenario() -> list[Any]:
        async with line(session) as client:
            begin = await client.receive()
            assert (begin.next_sample, begin.session.audio.rate) == (0, 16000)

            async def send() -> None:
                for offset in range(0, len(samples), length):
                    await client.samples(offset, samples[offset : offset + length])
                await client.send(wire.End())

            sending = asyncio.create_task(send())
            heard = await client.until(wire.Ended)
            await sending
            return heard

    heard = await scenario()
    assert [message.seq for message in heard[:-1]] == list(range(1, len(samples) // SIZE + 1))
    np.testing.assert_allclose(energies(heard), truth(samples), rtol=1e-4)
    assert heard[-1] == wire.Ended(next_seq=len(samples) // SIZE + 1, next_sample=len(samples))
    assert http.get(f"/v1/sessions/{session}").json()["next_sample"] == len(samples)


async def test_every_way_in_gives_the_same_estimates(opened: Any, speaker: Any, http: httpx.Client) -> None:
    """Samples in JSON, as s16 and f32, over HTTP in both forms, and as observations: to the last digit of float32."""
    samples = sound(1000)
    numbers = samples.astype("<f4") / np.float32(32768)

    def over_http(headers: dict[str, str], encoding: str, data: np.ndarray, step: int) -> list[float]:
        session, found = opened(encoding), []
        for offset in range(0, len(data), step):
            body = data[offset : offset + step].tobytes()
            reply = http.post(f"/v1/sessions/{session}/samples?offset={offset}", content=body, headers=headers)
            assert reply.status_code == 200, reply.text
            assert reply.json()["next_sample"] == min(offset + step, len(data))
            found += [estimate["free_energy"] for estimate in reply.json()["estimates"]]
        return found

    async def over_json(encoding: str) -> list[float]:
        url = f"{speaker.ws}/v1/sessions/{opened(encoding)}/stream"
        async with websockets.connect(url, subprotocols=[websockets.Subprotocol("avf.v1.json")]) as connection:
            await connection.recv()
            for offset in range(0, 1000, 333):
                part = samples[offset : offset + 333]
                body: dict[str, Any] = {"s16": base64.b64encode(part.tobytes()).decode()}
                if encoding == "f32":
                    body = {"f32": numbers[offset : offset + 333].tolist()}
                await connection.send(json.dumps({"type": "samples", "offset": offset} | body))
            return [json.loads(await connection.recv())["free_energy"] for _ in range(5)]

    steps = http.post(f"/v1/sessions/{opened()}/steps?seq=1", content=samples.tobytes(), headers=S16)
    expected = [estimate["free_energy"] for estimate in steps.json()["estimates"]]
    assert len(expected) == 5
    assert over_http(S16, "s16", samples, 333) == expected
    assert over_http(F32, "f32", numbers, 70) == expected
    assert (await over_json("s16")) == (await over_json("f32")) == expected


async def test_a_stream_that_is_cut_within_an_observation_goes_on_there(
    line: Any, opened: Any, truth: Any, http: httpx.Client, eventually: Any
) -> None:
    """The remainder is in the session, for a stream as for a request; chunks that overlap are not taken twice."""
    samples = sound(1500)
    session = opened()

    async def first() -> list[Any]:
        async with line(session) as client:
            await client.receive()
            await client.samples(0, samples[:450])
            await client.send(wire.Marker(text="450"))
            heard = await client.until(wire.Marker)
            client.connection.transport.abort()
            return heard

    async def second() -> list[Any]:
        async with line(session) as client:
            begin = await client.receive()
            assert begin.next_sample == 450
            await client.samples(450, samples[450:510])
            await client.samples(430, samples[430:1010])  # again, with what has come already
            await client.send(wire.KeepAlive())
            return await client.until(wire.KeepAlive)

    heard = await first()
    await asyncio.to_thread(
        eventually, lambda: http.get(f"/v1/sessions/{session}").json()["next_sample"] == 450, "the remainder"
    )
    heard += await second()
    await asyncio.to_thread(
        eventually, lambda: http.get(f"/v1/sessions/{session}").json()["next_sample"] == 1010, "the remainder"
    )
    url = f"/v1/sessions/{session}/samples?offset=1010"
    reply = http.post(url, content=samples[1010:].tobytes(), headers=S16)
    found = energies(heard) + [estimate["free_energy"] for estimate in reply.json()["estimates"]]
    np.testing.assert_allclose(found, truth(samples), rtol=1e-4)
    again = http.post(url, content=samples[1010:].tobytes(), headers=S16)
    for one, other in zip(again.json()["estimates"], reply.json()["estimates"], strict=True):
        assert one | {"durable_seq": 0} == other | {"durable_seq": 0}, "a chunk that is sent again is answered again"


async def test_a_chunk_out_of_place_or_of_another_form_is_refused_and_says_where_to_go_on(
    line: Any, opened: Any, http: httpx.Client
) -> None:
    """A gap, other samples than before, another encoding, no agreement at all; the stream goes on."""
    samples = sound(600)
    session, plain = opened(), http.post("/v1/sessions", json={"model": "speech"}).json()["id"]
    async with line(session) as client:
        await client.receive()

        async def problem_of(message: Any) -> wire.Problem:
            await client.send(message)
            error = await client.receive()
            assert isinstance(error, wire.Error)
            return error.problem

        await client.samples(0, samples[:250])
        assert (await client.receive()).seq == 1
        gap = await problem_of(binary.Samples(offset=300, encoding="s16", data=samples[300:].tobytes()))
        assert (gap.type, gap.expected_sample) == ("urn:avf:problem:sequence-gap", 250)
        other = await problem_of(binary.Samples(offset=0, encoding="s16", data=bytes(400)))
        assert (other.type, other.expected_sample) == ("urn:avf:problem:observation-conflict", 250)
        floats = await problem_of(binary.Samples(offset=250, encoding="f32", data=bytes(4)))
        assert (floats.type, floats.expected_sample) == ("urn:avf:problem:invalid-observation", 250)
        await client.samples(250, samples[250:400])
        assert (await client.receive()).seq == 2
    async with line(plain) as client:
        await client.receive()
        await client.samples(0, samples)
        refused = (await client.receive()).problem
        assert refused.type == "urn:avf:problem:invalid-setting"
        assert "open it with" in refused.detail


def test_sound_that_does_not_fit_the_model_is_refused_when_the_session_is_opened(http: httpx.Client) -> None:
    """Rate, channels, encoding, and a model of something else."""
    for model, audio, status, detail in [
        ("speech", {"rate": 44100}, 422, "takes 16000 samples a second"),
        ("speech", {"rate": 16000, "channels": 2}, 422, "takes 1"),
        ("tiny", {"rate": 16000}, 422, "are no sound"),
        ("speech", {"rate": 16000, "encoding": "u8"}, 400, "encoding"),
    ]:
        reply = http.post("/v1/sessions", json={"model": model, "audio": audio})
        assert reply.status_code == status
        assert detail in reply.json()["detail"]


@pytest.mark.parametrize("length", [7, 4000])
async def test_a_file_is_no_sound(line: Any, opened: Any, http: httpx.Client, length: int) -> None:
    """Its header is refused in one piece and in many, and nothing of it is filtered."""
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 4036, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", 4000
    )
    data = np.frombuffer(header + bytes(4000), "<i2")
    session = opened()
    async with line(session) as client:
        await client.receive()
        for offset in range(0, 210, length):
            await client.samples(offset, data[offset : offset + length])
        error = await client.receive()
        assert error.problem.type == "urn:avf:problem:invalid-observation"
        assert "WAV file" in error.problem.detail
    assert http.get(f"/v1/sessions/{session}").json()["next_seq"] == 1


def test_requests_of_samples_are_checked(opened: Any, http: httpx.Client) -> None:
    """Type, whole samples, offset, epoch, and at most 128 observations."""
    session = opened()
    for query, content, headers, status in [
        ("offset=0", bytes(4), {"Content-Type": "application/json"}, 415),
        ("offset=0", bytes(3), S16, 400),
        ("offset=0", b"", S16, 400),
        ("offset=-1", bytes(4), S16, 400),
        ("offset=x", bytes(4), S16, 400),
        ("", bytes(4), S16, 400),
        ("offset=0&epoch=2", bytes(4), S16, 409),
        ("offset=5", bytes(4), S16, 409),
        ("offset=0", bytes(2 * 130 * SIZE), S16, 400),
    ]:
        reply = http.post(f"/v1/sessions/{session}/samples?{query}", content=content, headers=headers)
        assert reply.status_code == status, (query, reply.text)
    assert http.get(f"/v1/sessions/{session}").json()["next_sample"] == 0
    http.post(f"/v1/sessions/{session}/samples?offset=0", content=bytes(100), headers=S16)
    assert http.post(f"/v1/sessions/{session}/reset").json()["next_sample"] == 0, "a reset leaves no remainder"


async def test_estimates_are_thinned_and_summarised(line: Any, opened: Any, truth: Any) -> None:
    """Every third estimate, without arrays; acks between, before a marker and the end, and nothing is unanswered."""
    samples = sound(20 * SIZE)
    async with line(opened(), "?every=3&fields=scalars") as client:
        await client.receive()
        await client.samples(0, samples[: 5 * SIZE])
        await client.send(wire.Marker(text="five"))
        heard = await client.until(wire.Marker)
        assert [type(message) for message in heard] == [binary.Estimate, wire.Ack, wire.Marker]
        assert (heard[0].seq, heard[0].prior, heard[1].seq) == (3, None, 5)
        await client.samples(5 * SIZE, samples[5 * SIZE :])
        await client.send(wire.End())
        heard += await client.until(wire.Ended)
        estimates = [message for message in heard if isinstance(message, binary.Estimate)]
        assert [message.seq for message in estimates] == [3, 6, 9, 12, 15, 18]
        np.testing.assert_allclose(energies(heard), truth(samples)[2::3], rtol=1e-4)
        assert [message.seq for message in heard if isinstance(message, wire.Ack)][-1] == 20


async def test_acks_come_to_a_client_that_sends_one_at_a_time(line: Any, opened: Any) -> None:
    """Thinned by more than the credit, and still every observation is answered at once."""
    samples = sound(40 * SIZE)
    async with line(opened(), "?every=1000") as client:
        credit = (await client.receive()).credit
        for seq in range(1, 4):
            await client.samples((seq - 1) * SIZE, samples[(seq - 1) * SIZE : seq * SIZE])
            assert (await client.receive()).seq == seq
        await client.samples(3 * SIZE, samples[3 * SIZE :])
        seen = [3]
        while seen[-1] < 40:
            seen.append((await client.receive()).seq)
        assert max(np.diff(seen)) <= credit // 2


@pytest.mark.parametrize("query", ["?every=0", "?every=x", "?fields=some", "?every=" + "9" * 30])
async def test_options_out_of_range_end_the_stream(line: Any, opened: Any, query: str) -> None:
    """With the problem, and 1008."""
    async with line(opened(), query) as client:
        assert (await client.receive()).problem.type == "urn:avf:problem:invalid-setting"
        assert await client.close_code() == 1008


async def test_observations_in_binary_are_those_in_json(line: Any, speaker: Any, http: httpx.Client) -> None:
    """Several in one message, one of them with a missing number; where one is refused, those after it are dropped."""
    rows = np.random.default_rng(0).integers(0, 2, (4, 6)).astype(np.float32)
    rows[2, 1] = np.nan

    def new() -> str:
        return str(http.post("/v1/sessions", json={"model": "tiny", "seed": 3}).json()["id"])

    async with line(new()) as client:
        await client.receive()
        await client.send(binary.Observations(seq=1, rows=rows))
        found = [await client.receive() for _ in rows]
        bad = rows.copy()
        bad[1, 0] = 7.0
        await client.send(binary.Observations(seq=5, rows=bad))
        assert (await client.receive()).seq == 5
        error = await client.receive()
        assert (error.problem.type, error.problem.seq) == ("urn:avf:problem:invalid-observation", 6)
        await client.send(wire.End())
        assert (await client.receive()).next_seq == 6
    body = {"seq": 1, "observations": [[None if np.isnan(v) else float(v) for v in row] for row in rows]}
    reply = await asyncio.to_thread(http.post, f"/v1/sessions/{new()}/steps", json=body)
    for estimate, other in zip(found, reply.json()["estimates"], strict=True):
        assert estimate.free_energy == other["free_energy"]
        assert estimate.durability == "group"
        np.testing.assert_array_equal(estimate.posterior.mean, np.float32(other["posterior"]["mean"]))
        np.testing.assert_array_equal(estimate.free_energies, np.float32(other["free_energies"]))
        assert estimate.prediction.deviation is None


async def test_what_is_no_message_ends_a_binary_stream(line: Any, opened: Any) -> None:
    """A wrong magic, a text frame; the error comes first."""
    for frame, code in [(b"RIFF" + bytes(40), 1007), ("{}", 1003), (b"", 1007)]:
        async with line(opened()) as client:
            await client.receive()
            await client.connection.send(frame)
            assert (await client.receive()).problem.type == "urn:avf:problem:malformed-body"
            assert await client.close_code() == code


async def test_nothing_is_compressed(line: Any, opened: Any) -> None:
    """Also where the client offers it."""
    async with line(opened(), compression="deflate") as client:
        assert client.connection.protocol.extensions == []
        assert (await client.receive()).credit >= 1


def test_forks_and_restored_sessions_take_the_same_sound(opened: Any, http: httpx.Client) -> None:
    """They count their samples from 0, and go on from the origin's belief."""
    samples, session = sound(450), opened()
    http.post(f"/v1/sessions/{session}/samples?offset=0", content=samples.tobytes(), headers=S16)
    snapshot = http.get(f"/v1/sessions/{session}/snapshot").content
    restored = http.post(
        "/v1/sessions/restore", content=snapshot, headers={"Content-Type": "application/vnd.avf.belief"}
    ).json()
    fork = http.post(f"/v1/sessions/{session}/fork", json={}).json()
    energy = []
    for branch in (restored, fork):
        assert (branch["audio"]["rate"], branch["next_sample"], branch["next_seq"]) == (16000, 0, 1)
        url = f"/v1/sessions/{branch['id']}/samples?offset=0"
        reply = http.post(url, content=samples[:SIZE].tobytes(), headers=S16).json()
        energy.append(reply["estimates"][0]["free_energy"])
    assert energy[0] == energy[1]
