"""Many sessions at once over real connections, which break at random: each session equals its solo run.

Requests are cut while they are under way, streams are aborted with observations unanswered and answers unread, sessions
are reset and forked in between; and all of it goes to either of two servers on one Redis.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import avf_wire as wire
import httpx
import numpy as np
import pytest
import websockets
from avf_server.stores.embedded import EmbeddedRedis

from tests.support.interleaving import Client, check

pytestmark = pytest.mark.slow

SESSIONS, ACTS, BURST = 64, 6, 4
PATIENCE = 60.0
LIMITS = httpx.Limits(keepalive_expiry=1.0)  # well before the server closes what lies idle
SUBPROTOCOL: Any = wire.SUBPROTOCOL_JSON


@pytest.fixture
def two(serve: Any, server: Any, data: Path) -> Iterator[list[Any]]:
    """The shared server, and another one on its Redis."""
    other = serve("--redis-url", EmbeddedRedis(data).url)
    yield [server, other]
    assert other.stop() == 0


class Connected:
    """What sends one client's observations, until all are answered, over connections that it breaks."""

    def __init__(self, servers: list[Any], requests: list[httpx.AsyncClient], seed: int) -> None:
        self._servers = servers
        self._requests = requests
        self._random = np.random.default_rng(seed)
        self.broken: Counter[str] = Counter()

    @property
    def chance(self) -> float:
        """A number in [0, 1)."""
        return float(self._random.random())

    @property
    def http(self) -> httpx.AsyncClient:
        """One of the servers."""
        return self._requests[int(self._random.integers(2))]

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        """One request that is answered."""
        reply = await self.http.post(path, json=body)
        assert reply.status_code in (200, 201), reply.text
        return reply.json()

    async def step(self, client: Client, epoch: int, xs: list[Any]) -> None:
        """Observations in one request, which may be cut before, and is then sent again."""
        body = {"seq": len(client.xs) + 1, "epoch": epoch, "observations": xs}
        path = f"/v1/sessions/{client.session}/steps"
        if self.chance < 0.4:
            await self._cut(path, body)
        while True:
            reply = await self.http.post(path, json=body)
            if reply.status_code == 200:
                client.xs += xs
                client.estimates += reply.json()["estimates"]
                return
            # what was cut may still be under way at the other server
            assert reply.json()["type"] == "urn:avf:problem:session-moved", reply.text

    async def _cut(self, path: str, body: dict[str, Any]) -> None:
        """A request on a connection of its own, which is aborted while it is under way, or just after."""
        url = httpx.URL(self._servers[int(self._random.integers(2))].url)
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: application/json\r\nContent-Length: "
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"{head}{len(content)}\r\n\r\n".encode() + content)
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.02 * self.chance)
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.broken["requests"] += 1

    async def stream(self, client: Client, epoch: int, xs: list[Any]) -> None:
        """Observations on a stream, which may be aborted, and is then opened anew for what was not answered."""
        start = len(client.xs)
        while left := xs[len(client.xs) - start :]:
            served = self._servers[int(self._random.integers(2))]
            address = f"{served.ws}/v1/sessions/{client.session}/stream"
            with suppress(websockets.ConnectionClosedError):  # 4409: what was aborted may still be under way
                async with websockets.connect(address, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE) as stream:
                    assert json.loads(await stream.recv())["session"]["epoch"] == epoch
                    for seq, x in enumerate(left, len(client.xs) + 1):
                        await stream.send(json.dumps({"type": "observe", "seq": seq, "x": x}))
                    for x in left[: int(self._random.integers(len(left) + 1)) if self.chance < 0.6 else None]:
                        said = json.loads(await stream.recv())
                        assert said["type"] == "estimate" or said["problem"]["type"].endswith("session-moved"), said
                        if said["type"] == "estimate":
                            client.xs.append(x)
                            client.estimates.append(said)
                    if len(client.xs) < start + len(xs):
                        self.broken["streams"] += 1
                        stream.transport.abort()


@pytest.mark.parametrize("seed", range(1))
async def test_sessions_whose_connections_break_equal_their_solo_runs(
    two: Any, observations: Any, offline_all: Any, seed: int
) -> None:
    """Two servers, 64 sessions over HTTP and WebSocket: every epoch and every fork is checked."""
    ended: list[Client] = []
    broken: Counter[str] = Counter()

    async def follow(connected: Connected, number: int) -> None:
        xs = iter(observations(ACTS * BURST, seed=number))
        options = {"model": "tiny", "seed": number}
        client, epoch = Client((await connected.ask("/v1/sessions", options))["id"], number, []), 1
        for _ in range(ACTS):
            burst = [next(xs) for _ in range(BURST)]
            await (connected.step if connected.chance < 0.5 else connected.stream)(client, epoch, burst)
            chance = connected.chance
            if chance < 0.2:
                epoch = (await connected.ask(f"/v1/sessions/{client.session}/reset", {}))["epoch"]
                ended.append(client)
                client = Client(client.session, number, [])
            elif chance < 0.4:
                forked = await connected.ask(f"/v1/sessions/{client.session}/fork", {})
                ended.append(client)
                client, epoch = Client(forked["id"], number, client.before + client.xs), 1
        ended.append(client)
        broken.update(connected.broken)

    async with (
        httpx.AsyncClient(base_url=two[0].url, timeout=PATIENCE, limits=LIMITS) as first,
        httpx.AsyncClient(base_url=two[1].url, timeout=PATIENCE, limits=LIMITS) as second,
    ):
        runs = [Connected(two, [first, second], seed * SESSIONS + i) for i in range(SESSIONS)]
        await asyncio.gather(*(follow(connected, i) for i, connected in enumerate(runs)))
    assert len(ended) > SESSIONS
    assert min(broken["requests"], broken["streams"]) > SESSIONS // 2, broken
    check(ended, offline_all)
