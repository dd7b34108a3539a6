"""What does it cost a server that a page watches 200 sessions of 5 steps a second each?

    python -m benchmarks.watching [--windows 6] [--json]

A real server with its own Redis, on loopback, durability `group`, and a small SRNN. Windows without and with watchers
take turns; in the latter one reads `/v1/events` of all sessions, and another the events of one session, with what was
observed. What is compared is the processor time of the server's process, which the load of the machine hardly moves.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import avf_wire as wire
import httpx
import numpy as np
import torch
import websockets
from avf_wire import binary

from avf_core import checkpoints, configuration

SESSIONS, RATE = 200, 5.0
WINDOW = 10.0  # seconds
SIZE = 16
MODEL = {"kind": "srnn", "observation_size": SIZE, "latent_size": 8, "hidden_size": 32}
WIDTHS = {"prior_widths": [32], "decoder_widths": [32]}
INFERENCE = {"kind": "iterative", "iterations": 2, "units": 32, "rule": "learned_sgd"}
TICK = os.sysconf("SC_CLK_TCK")
SERVE = "from avf_server.serve.command import command; command()"


def busy(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def stream(url: str, session: str, number: int, over: asyncio.Event, stepped: list[int]) -> None:
    """One session, stepped at its rate until told to stop."""
    x = np.random.default_rng(number).integers(0, 2, (64, 1, SIZE)).astype(np.float32)
    address = f"{url.replace('http', 'ws', 1)}/v1/sessions/{session}/stream"
    protocol: Any = wire.SUBPROTOCOL_BINARY
    async with websockets.connect(address, subprotocols=[protocol], compression=None) as connection:
        await connection.recv()
        due = asyncio.get_running_loop().time() + number / SESSIONS / RATE
        for seq in range(1, 1 << 30):
            if over.is_set():
                return
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            due += 1.0 / RATE
            await connection.send(binary.encode(binary.Observations(seq=seq, rows=x[seq % 64])))
            await connection.recv()
            stepped[0] += 1


async def watch(url: str, path: str, heard: list[int]) -> None:
    """Read a stream of events, and count its bytes."""
    async with httpx.AsyncClient(base_url=url, timeout=None) as client, client.stream("GET", path) as page:
        async for piece in page.aiter_bytes():
            heard[0] += len(piece)


async def measure(url: str, pid: int, windows: int) -> dict[str, float]:
    """Windows without and with watchers, in turns."""
    over, stepped, heard = asyncio.Event(), [0], [0]
    with httpx.Client(base_url=url, timeout=60) as client:
        sessions = [client.post("/v1/sessions", json={"model": "small"}).json()["id"] for _ in range(SESSIONS)]
    streams = [asyncio.create_task(stream(url, each, i, over, stepped)) for i, each in enumerate(sessions)]
    while stepped[0] < 2 * SESSIONS:
        await asyncio.sleep(0.1)
    paths = ("/v1/events?interval=0.5", f"/v1/sessions/{sessions[0]}/events?with=observation")
    spent: dict[bool, list[float]] = {False: [], True: []}
    for window in range(2 * windows):
        watched = window % 2 == 1
        watchers = [asyncio.create_task(watch(url, path, heard)) for path in paths] if watched else []
        await asyncio.sleep(1.0)
        before, steps = busy(pid), stepped[0]
        await asyncio.sleep(WINDOW)
        spent[watched].append((busy(pid) - before) / (stepped[0] - steps))
        for task in watchers:
            task.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
    over.set()
    await asyncio.gather(*streams)
    alone, with_pages = float(np.median(spent[False])), float(np.median(spent[True]))
    return {
        "sessions": SESSIONS,
        "steps": stepped[0],
        "ms_per_step_unwatched": round(1e3 * alone, 3),
        "ms_per_step_watched": round(1e3 * with_pages, 3),
        "cost_percent": round(100.0 * (with_pages / alone - 1.0), 1),
        "kilobytes_per_second": round(heard[0] / 1e3 / (windows * (WINDOW + 1.0)), 1),
    }


def main() -> None:
    """Run the benchmark and print its table, or JSON."""
    parser = argparse.ArgumentParser(description="What does it cost a server to be watched?")
    parser.add_argument("--windows", type=int, default=6, help="of each kind")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    settings = {"model": MODEL | WIDTHS, "inference": INFERENCE}
    with tempfile.TemporaryDirectory() as name, suppress(KeyboardInterrupt):
        folder = Path(name)
        checkpoints.save(folder / "small", filter=configuration.build(settings), settings=settings, card={})
        options = ["--model", str(folder / "small"), "--data-dir", str(folder / "data"), "--port", "0", "--json"]
        environment = os.environ | {"AVF_THREADS": "1", "AVF_REDIS_TIMEOUT_S": "5"}
        command = [sys.executable, "-c", SERVE, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as server:
            assert server.stdout is not None
            try:
                ready = json.loads(server.stdout.readline())
                found = asyncio.run(measure(ready["server_url"], server.pid, arguments.windows))
            finally:
                server.terminate()
    print(json.dumps(found) if arguments.json else "\n".join(f"{key:24} {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
