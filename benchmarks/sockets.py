"""What does a server of WebSockets cost a message, beside the one that steps come by?

    python -m benchmarks.sockets --json [--quick] [--only NAME ...]

64 connections, each of which sends its next observation when the last one is answered, masked, on loopback, to the
servers of `benchmarks/peer/echo.py`, which filter nothing. They take turns, each in a process of its own; figures are
medians over the turns, of processor time of all threads of the server, the kernel's for it too. A server whose package
is not installed (extra `bench`) is left out, by name.
"""

import asyncio
import importlib.util
import socket
import statistics
import subprocess
import sys
import time
from typing import cast

import numpy as np
import uvloop

from benchmarks import load, peers, results
from benchmarks.peer.echo import HOST, OTHERS, SERVERS
from benchmarks.servers import family

SESSIONS, SIZE = 64, 88  # of an observation of srnn-jsb
ROUNDS, SECONDS = 7, 3.0


class Masked(load.OverWebSocket):
    """A client whose mask is one, as those of others are; nobody looks at what comes of the observation."""

    def _message(self, seq: int) -> bytes:
        plain = super()._message(seq)
        return plain[:4] + b"\x9a\x3c\x57\xe1" + plain[8:]


async def loaded(name: str, port: int, pids: list[int], seconds: float) -> float:
    """Microseconds that a message costs all threads of these processes."""
    bench = load.Bench(sessions=SESSIONS, seconds=seconds, pids=pids)
    xs = np.zeros((load.OBSERVATIONS, SIZE), dtype=np.float32)
    for _ in range(SESSIONS):
        await asyncio.get_running_loop().create_connection(lambda: Masked(bench, HOST, name, xs), HOST, port)
    await bench.over.wait()
    return 1e3 * sum(cast(list[float], bench.found["cpu_ms_per_step"])[:-1:2])  # of each two, that of all threads


def measured(name: str, seconds: float) -> float:
    """One turn of a server, in processes of its own."""
    port, until = peers.free_port(), time.monotonic() + peers.STARTING
    command = [sys.executable, "-m", "benchmarks.peer.echo", name, str(port)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        while not is_open(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server of {name} does not answer")
            time.sleep(0.1)
        return uvloop.run(loaded(name, port, family(process.pid), seconds))
    finally:
        peers.end(process)


def is_open(port: int) -> bool:
    """Whether anybody listens there."""
    with socket.socket() as tried:
        return tried.connect_ex((HOST, port)) == 0


def main() -> None:
    """Measure and print."""
    parser = results.options(__doc__)
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=SERVERS)
    told = parser.parse_args()
    rounds, seconds = (1, 1.5) if told.quick else (ROUNDS, SECONDS)
    absent = [name for name in OTHERS if not importlib.util.find_spec(name)]
    turns: dict[str, list[float]] = {name: [] for name in told.only if name not in absent}
    for _ in range(rounds):
        for name, found in turns.items():
            found.append(measured(name, seconds))
            results.say(f"{name:12} {found[-1]:6.1f} µs a message")
    medians = {name: round(statistics.median(found), 1) for name, found in turns.items()}
    skipped = {name: f"{name} is not installed: pip install 'avf[bench]'" for name in absent}
    results.told({"us": medians, "skipped": skipped, "machine": results.machine()}, as_json=told.json)


if __name__ == "__main__":
    main()
