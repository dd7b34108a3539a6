"""Two servers race for every step of one session: does each have exactly one winner?

    python -m benchmarks.races [--rounds 1000]

Two real servers on one Redis, on loopback. In every round both are sent an observation for the same `seq`, each another
one, at once: over HTTP in one round, over streams in the next. Prints one JSON object: rounds, those with exactly one
winner, those whose winner's observation is what Redis has, wins of each server, streams that lost, those of them that
were closed with 4409, and losers that held no belief of the session afterwards.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import avf_wire as wire
import httpx
import numpy as np
import torch
import websockets
from avf_server.stores.embedded import EmbeddedRedis
from rich.console import Console
from rich.progress import track

from avf_core import checkpoints, configuration
from benchmarks.watching import INFERENCE, MODEL, SERVE, WIDTHS

MODEL_NAME = "small"
PATIENCE = 60.0  # seconds
REFUSED = {"urn:avf:problem:session-moved", "urn:avf:problem:observation-conflict"}
SUBPROTOCOL: Any = wire.SUBPROTOCOL_JSON


@dataclass(kw_only=True)
class Tally:
    """What became of the rounds."""

    rounds: int = 0
    one_winner: int = 0
    stored: int = 0
    wins: list[int] = field(default_factory=lambda: [0, 0])
    streams_lost: int = 0
    closed_4409: int = 0
    caches_dropped: int = 0


@dataclass(kw_only=True)
class Race:
    """A session, what was observed of it by whoever won, and what the winners were told."""

    session: str
    seed: int = 7
    tally: Tally = field(default_factory=Tally)
    won: list[list[float]] = field(default_factory=list)
    estimates: list[dict[str, Any]] = field(default_factory=list)


Answer = dict[str, Any] | None
"""An estimate, or None where another had won."""


async def over_http(client: httpx.AsyncClient, session: str, seq: int, x: list[float]) -> Answer:
    """One observation in a request."""
    reply = await client.post(f"/v1/sessions/{session}/steps", json={"seq": seq, "observations": [x]})
    if reply.status_code == 200:
        (estimate,) = reply.json()["estimates"]
        return dict(estimate)
    assert reply.json()["type"] in REFUSED, reply.text
    return None


async def over_stream(stream: Any, tally: Tally, seq: int, x: list[float]) -> Answer:
    """One observation on a stream that began at this seq; who loses is told, and then closed."""
    await stream.send(json.dumps({"type": "observe", "seq": seq, "x": x}))
    answer = json.loads(await stream.recv())
    if answer["type"] == "estimate":
        return dict(answer)
    assert answer["problem"]["type"] == "urn:avf:problem:session-moved", answer
    tally.streams_lost += 1
    try:
        raise AssertionError(await asyncio.wait_for(stream.recv(), PATIENCE))
    except websockets.ConnectionClosed:
        tally.closed_4409 += stream.close_code == wire.CLOSE_CONFLICT
    return None


async def streams_of(clients: Sequence[httpx.AsyncClient], session: str, seq: int) -> list[Any]:
    """A stream of each server, both at this seq."""
    streams = []
    for client in clients:
        address = f"{str(client.base_url).replace('http', 'ws', 1).rstrip('/')}/v1/sessions/{session}/stream"
        streams.append(await websockets.connect(address, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE))
        begun = json.loads(await streams[-1].recv())
        assert begun["session"]["next_seq"] == seq
    return streams


async def one_round(clients: Sequence[httpx.AsyncClient], race: Race, seq: int, offers: list[list[float]]) -> None:
    """Both servers at once; which of them is asked first takes turns."""
    streams = await streams_of(clients, race.session, seq) if seq % 2 == 0 else []
    order = (0, 1) if seq % 4 < 2 else (1, 0)

    def offer(i: int) -> Any:
        if streams:
            return over_stream(streams[i], race.tally, seq, offers[i])
        return over_http(clients[i], race.session, seq, offers[i])

    answers = dict(zip(order, await asyncio.gather(*(offer(i) for i in order)), strict=True))
    await asyncio.gather(*(stream.close() for stream in streams))
    winners = [i for i in order if answers[i] is not None]
    race.tally.rounds += 1
    race.tally.one_winner += len(winners) == 1
    for i in winners:
        race.tally.wins[i] += 1
        race.won.append(offers[i])
        race.estimates.append(answers[i] or {})
        kept = await clients[i].get(f"/v1/sessions/{race.session}/estimate", params={"with": "observation"})
        race.tally.stored += kept.json()["observation"] == offers[i]
        race.tally.caches_dropped += await beliefs(clients[1 - i]) == 0


async def beliefs(client: httpx.AsyncClient) -> float:
    """How many beliefs a server holds in its cache."""
    lines = (await client.get("/metrics")).text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("avf_hot_beliefs ")))


async def race(urls: Sequence[str], model: str, *, rounds: int) -> Race:
    """All rounds, on one session. Nobody else may use these servers."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(httpx.AsyncClient(base_url=u, timeout=PATIENCE)) for u in urls]
        opened = (await clients[0].post("/v1/sessions", json={"model": model, "seed": 7})).json()
        run, random = Race(session=opened["id"]), np.random.default_rng(0)
        for seq in track(range(1, rounds + 1), "rounds", console=Console(stderr=True)):
            x = random.integers(0, 2, opened["observation_size"]).astype(float)
            await one_round(clients, run, seq, [x.tolist(), (1.0 - x).tolist()])
        return run


@contextmanager
def servers(folder: Path, model: Path) -> Iterator[list[str]]:
    """The addresses of two servers on one Redis."""
    with ExitStack() as stack:
        shared = stack.enter_context(EmbeddedRedis(folder / "data"))
        options = ["--model", str(model), "--redis-url", shared.url, "--port", "0", "--json"]
        environment = os.environ | {"AVF_THREADS": "1", "AVF_REDIS_TIMEOUT_S": "5"}
        urls = []
        for _ in range(2):
            command = [sys.executable, "-c", SERVE, *options]
            server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment))
            stack.callback(server.terminate)
            assert server.stdout is not None
            urls.append(str(json.loads(server.stdout.readline())["server_url"]))
        yield urls


def main() -> None:
    """Run the rounds and print their JSON object."""
    parser = argparse.ArgumentParser(description="Two servers race for every step of one session")
    parser.add_argument("--rounds", type=int, default=1000)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    settings = {"model": MODEL | WIDTHS, "inference": INFERENCE}
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / MODEL_NAME
        checkpoints.save(model, filter=configuration.build(settings), settings=settings, card={})
        with servers(Path(name), model) as urls:
            tally = asyncio.run(race(urls, MODEL_NAME, rounds=arguments.rounds)).tally
    print(json.dumps(asdict(tally)))


if __name__ == "__main__":
    main()
