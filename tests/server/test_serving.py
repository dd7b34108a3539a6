"""Real server processes: many clients, kill -9, two servers on one Redis, a Redis that stops, SIGTERM."""

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from avf_server.stores.embedded import EmbeddedRedis

from benchmarks import races

pytestmark = pytest.mark.slow

PATIENCE = 60.0
RACES = 50
ZERO = [0.0] * 6
JSON = [websockets.Subprotocol("avf.v1.json")]


def child_of(pid: int) -> int:
    """The process id of the embedded Redis of a server."""
    (child,) = [int(part) for part in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return child


def post(url: str, session: str, seq: int, xs: list[Any]) -> httpx.Response:
    """One request of steps."""
    body = {"seq": seq, "observations": xs}
    return httpx.post(f"{url}/v1/sessions/{session}/steps", json=body, timeout=PATIENCE)


def create(url: str, **options: Any) -> str:
    """Open a session."""
    reply = httpx.post(f"{url}/v1/sessions", json={"model": "tiny"} | options, timeout=PATIENCE)
    assert reply.status_code == 201, reply.text
    assert reply.headers["location"] == f"/v1/sessions/{reply.json()['id']}"
    identifier: str = reply.json()["id"]
    return identifier


def open_one(url: str) -> str | None:
    """Open a session, unless the server says that it cannot just now."""
    reply = httpx.post(f"{url}/v1/sessions", json={"model": "tiny", "seed": 5}, timeout=PATIENCE)
    return reply.json()["id"] if reply.status_code == 201 else None


async def over_http(served: Any, client: httpx.AsyncClient, xs: list[Any], seed: int) -> list[Any]:
    """A session over HTTP, in requests of one and of three observations."""
    created = await client.post("/v1/sessions", json={"model": "tiny", "seed": seed})
    path = f"/v1/sessions/{created.json()['id']}/steps"
    estimates: list[Any] = []
    while len(estimates) < len(xs):
        start = len(estimates)
        chunk = xs[start : start + (1 if start < 5 else 3)]
        reply = await client.post(path, json={"seq": start + 1, "observations": chunk})
        assert reply.status_code == 200, reply.text
        estimates += reply.json()["estimates"]
    return estimates


async def over_websocket(served: Any, client: httpx.AsyncClient, xs: list[Any], seed: int) -> list[Any]:
    """A session over its stream, with as many observations in flight as the server allows."""
    created = await client.post("/v1/sessions", json={"model": "tiny", "seed": seed, "durability": "none"})
    address = f"{served.ws}/v1/sessions/{created.json()['id']}/stream"
    async with websockets.connect(address, subprotocols=JSON, open_timeout=PATIENCE) as stream:
        await stream.recv()
        for seq, x in enumerate(xs, 1):
            await stream.send(json.dumps({"type": "observe", "seq": seq, "x": x}))
        return [json.loads(await stream.recv()) for _ in xs]


async def test_twenty_sessions_at_once_get_what_the_library_gives(
    server: Any, same: Callable[..., None], observations: Any
) -> None:
    """Ten over HTTP and ten over WebSocket, streamed together, equal the offline filter to 1e-4."""
    sequences = [observations(15, seed=i) for i in range(20)]
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
        ways = [over_http, over_websocket] * 10
        runs = [way(server, client, xs, i) for i, (way, xs) in enumerate(zip(ways, sequences, strict=True))]
        for i, estimates in enumerate(await asyncio.gather(*runs)):
            same(estimates, sequences[i], seed=i)


async def test_a_client_that_leaves_harms_no_neighbour(server: Any, observations: Any, same: Any) -> None:
    """Requests are cut while others are under way: the others get what they would have got alone."""
    xs = observations(10)
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client,
        httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as fleeting,  # no pool shares what is cut
    ):
        leaving = [asyncio.create_task(over_http(server, fleeting, xs, seed)) for seed in range(5)]
        staying = [asyncio.create_task(over_http(server, client, xs, seed)) for seed in range(5)]
        done, _ = await asyncio.wait(staying, return_when=asyncio.FIRST_COMPLETED)
        assert done
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        for seed, estimates in enumerate(await asyncio.gather(*staying)):
            same(estimates, xs, seed=seed)


def test_models_describe_themselves(server: Any) -> None:
    """The list and the page of a model agree, with its bounds and sizes."""
    (listed,) = httpx.get(f"{server.url}/v1/models").json()["models"]
    assert httpx.get(f"{server.url}/v1/models/tiny").json() == listed
    assert (listed["name"], listed["kind"], listed["inference"], listed["iterations"]) == (
        "tiny",
        "srnn",
        "iterative",
        2,
    )
    assert (listed["observation_size"], listed["latent_size"], listed["low"], listed["high"]) == (6, 4, 0.0, 1.0)
    assert listed["parameters"] > 0


def test_a_killed_server_goes_on_where_it_was(serve: Any, tmp_path: Path, observations: Any, same: Any) -> None:
    """kill -9 with steps under way; on the same directory a new server repeats nothing and forgets nothing."""
    xs = observations(40)
    first = serve("--data-dir", str(tmp_path))
    session = create(first.url, seed=3)
    estimates = []
    for seq in range(1, 6):
        estimates += post(first.url, session, seq, [xs[seq - 1]]).json()["estimates"]
    stored = post(first.url, session, 5, [xs[4]]).json()["estimates"][0]

    def more() -> None:
        with contextlib.suppress(httpx.TransportError):  # the server is killed meanwhile, which is the point
            post(first.url, session, 6, xs[5:])

    sending = threading.Thread(target=more)
    sending.start()
    httpx.get(f"{first.url}/v1/sessions/{session}", timeout=PATIENCE)
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    sending.join()

    second = serve("--data-dir", str(tmp_path))
    following = httpx.get(f"{second.url}/v1/sessions/{session}").json()["next_seq"]
    assert 6 <= following <= 41
    again = post(second.url, session, 5, [xs[4]]).json()["estimates"][0]
    assert again == stored | {"durable_seq": following - 1}
    estimates += post(second.url, session, 6, xs[5:]).json()["estimates"]
    same(estimates, xs, seed=3)
    assert httpx.get(f"{second.url}/v1/sessions/{session}/estimate").json() == estimates[-1]
    assert second.stop(signal.SIGTERM) == 0


async def test_two_servers_on_one_redis_win_each_step_once(serve: Any, redis_server: EmbeddedRedis, same: Any) -> None:
    """Both are sent another observation for every seq at once, over HTTP and streams; what was won is one sequence.

    The loser's stream is closed with 4409, and its server forgets the belief.
    """
    servers = [serve("--redis-url", redis_server.url) for _ in range(2)]
    run = await races.race([served.url for served in servers], "tiny", rounds=RACES)
    expected = races.Tally(
        rounds=RACES,
        one_winner=RACES,
        stored=RACES,
        wins=run.tally.wins,
        streams_lost=RACES // 2,
        closed_4409=RACES // 2,
        caches_dropped=RACES,
    )
    assert run.tally == expected
    assert sum(run.tally.wins) == RACES  # who holds the belief is the faster one, and may win them all
    same(run.estimates, run.won, seed=run.seed)
    for served in servers:
        assert served.stop(signal.SIGTERM) == 0


def test_a_redis_that_stops_is_said_to_and_sessions_go_on_after_it(
    serve: Any, tmp_path: Path, observations: Any, same: Any, eventually: Any
) -> None:
    """Stopped: 503, with the reason. Going on, or killed and started again by the server: the session goes on."""
    xs = observations(3)
    served = serve("--data-dir", str(tmp_path), AVF_REDIS_TIMEOUT_S="0.3")
    opened = eventually(lambda: open_one(served.url), "a session")

    def step(seq: int) -> Any:
        reply = post(served.url, opened, seq, [xs[seq - 1]])
        return reply.json()["estimates"] if reply.status_code == 200 else None

    estimates = eventually(lambda: step(1), "the first step")
    redis = child_of(served.pid)
    os.kill(redis, signal.SIGSTOP)
    refused = post(served.url, opened, 2, [xs[1]])
    unready = httpx.get(f"{served.url}/health/ready", timeout=PATIENCE)
    alive = httpx.get(f"{served.url}/health/live", timeout=PATIENCE)
    os.kill(redis, signal.SIGCONT)
    for reply in (refused, unready):
        assert (reply.status_code, reply.json()["type"]) == (503, "urn:avf:problem:store-unavailable")
        assert int(reply.headers["retry-after"]) > 0
    assert alive.status_code == 200
    estimates += eventually(lambda: step(2), "Redis to go on")
    os.kill(redis, signal.SIGKILL)
    estimates += eventually(lambda: step(3), "Redis to be started again")
    same(estimates, xs, seed=5)
    assert served.stop(signal.SIGTERM) == 0


async def test_a_server_that_is_told_to_stop_drains(
    serve: Any, redis_server: EmbeddedRedis, observations: Any, same: Any
) -> None:
    """A request under way is finished or refused, a stream gets goaway and 1012, and the exit code is 0."""
    served = serve("--redis-url", redis_server.url)
    session = create(served.url, seed=6)
    xs = observations(200)

    async def scenario() -> list[Any]:
        address = f"{served.ws}/v1/sessions/{session}/stream"
        received: list[Any] = []
        async with websockets.connect(address, subprotocols=JSON, open_timeout=PATIENCE) as stream:
            assert json.loads(await stream.recv())["type"] == "begin"
            for seq in range(1, 31):
                await stream.send(json.dumps({"type": "observe", "seq": seq, "x": xs[seq - 1]}))
            received.append(json.loads(await stream.recv()))
            served.send(signal.SIGTERM)
            with contextlib.suppress(websockets.ConnectionClosedError):
                while True:
                    received.append(json.loads(await stream.recv()))
            assert stream.close_code == 1012
        assert received.pop()["type"] == "goaway"
        return received

    acknowledged = await scenario()
    assert served.wait() == 0
    same(acknowledged, xs[: len(acknowledged)], seed=6)
    following = serve("--redis-url", redis_server.url)
    assert httpx.get(f"{following.url}/v1/sessions/{session}").json()["next_seq"] == len(acknowledged) + 1
    assert following.stop(signal.SIGINT) == 0


async def test_a_server_that_stops_under_load_loses_nothing_that_it_acknowledged(
    serve: Any, redis_server: EmbeddedRedis, observations: Any, same: Any
) -> None:
    """Twelve streams and four clients over HTTP: goaway and 1012 for the ones, 503 for the others, and exit code 0."""
    served = serve("--redis-url", redis_server.url)
    xs = observations(400)
    sessions = {create(served.url, seed=i): i for i in range(16)}
    streamed, requested = list(sessions)[:12], list(sessions)[12:]
    answered: dict[str, list[Any]] = {session: [] for session in sessions}

    async def over_stream(session: str) -> None:
        address = f"{served.ws}/v1/sessions/{session}/stream"
        async with websockets.connect(address, subprotocols=JSON, open_timeout=PATIENCE) as stream:
            credit = json.loads(await stream.recv())["credit"]
            for seq, x in enumerate(xs, 1):
                with contextlib.suppress(websockets.ConnectionClosed):
                    await stream.send(json.dumps({"type": "observe", "seq": seq, "x": x}))
                if seq < credit:
                    continue
                if (said := json.loads(await stream.recv()))["type"] == "goaway":
                    break
                answered[session].append(said)
            with contextlib.suppress(websockets.ConnectionClosed):
                raise AssertionError(await stream.recv())
            assert stream.close_code == 1012

    async def over_requests(session: str) -> None:
        async with httpx.AsyncClient(base_url=served.url, timeout=PATIENCE) as client:
            for seq, x in enumerate(xs, 1):
                body = {"seq": seq, "observations": [x]}
                try:
                    reply = await client.post(f"/v1/sessions/{session}/steps", json=body)
                except httpx.TransportError:  # it was not taken any more
                    return
                if reply.status_code != 200:
                    assert (reply.status_code, reply.json()["type"]) == (503, "urn:avf:problem:stopping")
                    return
                answered[session] += reply.json()["estimates"]

    ways = [*map(over_stream, streamed), *map(over_requests, requested)]
    running = [asyncio.create_task(way) for way in ways]
    while not all(len(each) >= 2 for each in answered.values()):
        assert not any(task.done() for task in running)
        await asyncio.sleep(0.005)
    served.send(signal.SIGTERM)
    await asyncio.gather(*running)
    assert served.wait() == 0
    following = serve("--redis-url", redis_server.url)
    for session, seed in sessions.items():
        stands = httpx.get(f"{following.url}/v1/sessions/{session}").json()["next_seq"]
        told = len(answered[session])
        assert stands == told + 1 if session in streamed else told < stands <= told + 2
        same(answered[session], xs[:told], seed=seed)
    assert following.stop(signal.SIGTERM) == 0
