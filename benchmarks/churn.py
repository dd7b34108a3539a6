"""Does anything leak? Sessions are opened, stepped and dropped; then memory and keys are looked at.

    python -m benchmarks.churn [--sessions 100000] [--seconds 480]

A real server with its own Redis, on loopback, durability `group`, and a small SRNN, so that coming and going is what
costs. Every second session is deleted, the others are left to expire. Prints one JSON object: resident memory of the
server, keys and memory of its Redis at the start, after the first tenth (caches are full then) and after all, each once
the last session has expired; sessions a second; and milliseconds of the server's processor for one of them.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
import torch
from rich.console import Console
from rich.progress import Progress

from avf_core import checkpoints, configuration
from benchmarks.watching import INFERENCE, MODEL, SERVE, SIZE, WIDTHS, busy

TTL = 5.0  # seconds
CLIENTS = 24
STEPS = 2
PATIENCE = 120.0  # seconds in which all that was dropped has gone
BODY = json.dumps({"seq": 1, "observations": [[0.0] * SIZE] * STEPS}).encode()
OPEN = json.dumps({"model": "small", "durability": "group"}).encode()


class Connection:
    """One connection that is kept alive. Hand-written, as the client would else take most of the machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request: its status, and the body of its answer."""
        head = f"{method} {path} HTTP/1.1\r\nhost: avf\r\ncontent-type: application/json\r\n"
        self._writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
        return int(status.split()[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        """Close it."""
        self._writer.close()


async def churn(url: str, numbers: Iterator[int], *, until: float, done: Callable[[], None]) -> None:
    """Open, step, drop, one session for each number, or until the time is over."""
    address = urlsplit(url)

    async def one() -> None:
        connection = Connection(*await asyncio.open_connection(address.hostname, address.port))
        for number in numbers:
            if time.monotonic() >= until:
                break
            while (opened := await connection.ask("POST", "/v1/sessions", OPEN))[0] == 503:
                await asyncio.sleep(0.1)
            path = f"/v1/sessions/{json.loads(opened[1])['id']}"
            status, answer = await connection.ask("POST", f"{path}/steps", BODY)
            assert status == 200, answer
            if number % 2:
                status, answer = await connection.ask("DELETE", path)
                assert status == 204, answer
            done()
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(one())


def look(pid: int, client: Any) -> dict[str, int]:
    """Bytes of resident memory of the server, keys and bytes of its Redis, once what was dropped has gone."""
    deadline = time.monotonic() + PATIENCE
    while client.keys("avf:*") and time.monotonic() < deadline:
        time.sleep(0.5)
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"rss": resident, "keys": client.dbsize(), "redis_memory": client.info("memory")["used_memory"]}


def measure(url: str, pid: int, client: Any, sessions: int, seconds: float) -> dict[str, Any]:
    """The first tenth, then all; what there was before, between, and after."""
    looks, spent, counted = [look(pid, client)], 0.0, 0
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("sessions", total=sessions)

        def done() -> None:
            nonlocal counted
            counted += 1
            progress.advance(bar)

        begun = busy(pid)
        for numbers, share in ((range(sessions // 10), 0.1), (range(sessions // 10, sessions), 0.9)):
            start = time.monotonic()
            asyncio.run(churn(url, iter(numbers), until=start + share * seconds, done=done))
            spent += time.monotonic() - start
            looks.append(look(pid, client))
    return {
        "sessions": counted,
        "per_second": round(counted / spent, 1),
        "server_ms": round(1e3 * (busy(pid) - begun) / counted, 2),
        **dict(zip(("start", "tenth", "end"), looks, strict=True)),
    }


def main() -> None:
    """Run the benchmark and print its JSON object."""
    parser = argparse.ArgumentParser(description="Does anything leak?")
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3600.0, help="end after so many, however many were opened")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    settings = {"model": MODEL | WIDTHS, "inference": INFERENCE}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoints.save(folder / "small", filter=configuration.build(settings), settings=settings, card={})
        options = ["--model", str(folder / "small"), "--data-dir", str(folder / "data"), "--port", "0", "--json"]
        environment = os.environ | {"AVF_THREADS": "1", "AVF_REDIS_TIMEOUT_S": "5", "AVF_SESSION_TTL_S": str(TTL)}
        environment |= {"AVF_MAX_SESSIONS": "100000", "AVF_MAX_SESSIONS_PER_KEY": "100000"}
        with subprocess.Popen(
            [sys.executable, "-c", SERVE, *options], stdout=subprocess.PIPE, env=environment
        ) as server:
            assert server.stdout is not None
            try:
                url = json.loads(server.stdout.readline())["server_url"]
                client = redis.Redis(unix_socket_path=str(folder / "data" / "redis" / "redis.sock"))
                found = measure(url, server.pid, client, arguments.sessions, arguments.seconds)
            finally:
                server.terminate()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
