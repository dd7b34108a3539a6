"""How long do others wait beside one body of 4 MB, and beside clients that nobody knows yet?

    python -m benchmarks.doors [--rounds 3] [--json]

A real server with its own Redis, on loopback, with a small model and one of 4,096 dimensions. A prober, which is a
process of its own, asks for /health/live again and again on one connection, and beside each body the longest wait is
noted: of `rounds`, the median, since other work of the machine makes some of them longer. `quiet` is without a body.

Then, beside each kind of client that says nothing whole (16 MB of headers, 1,500 half requests, 500 silent sockets),
the prober's p99 is compared with that of before (of `rounds`, the medians), and it is asked what became of them and of
the server's memory.
"""

import argparse
import json
import multiprocessing
import re
import socket
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from benchmarks.large_bodies import BYTES, JSON, bodies, messages, post, say
from benchmarks.servers import PATIENT, served

MODELS = ("srnn-jsb", "svg-actions-small")
PROBE = 0.002  # seconds between two questions
QUIET = 1.0  # seconds
WINDOW = 4.0  # seconds before a crowd of strangers, and with it
PATIENCE = 15.0  # seconds, after which the server has ended what it does not know
HALF_OPEN, SILENT = 1500, 500
HALF = b"GET /health/live HTTP/1.1\r\nHost: avf\r\nX-More: "


def dial(url: str) -> socket.socket:
    """A connection."""
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=60)


def whole(connection: socket.socket) -> None:
    """Read one answer to its last byte."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(1 << 16)
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
    while len(body) < length:
        body += connection.recv(1 << 16)


def probe(url: str, orders: Connection) -> None:
    """Ask again and again; on each order, tell the waits since the last one."""
    waits: list[float] = []
    with dial(url) as connection:
        while True:
            if orders.poll():
                if orders.recv() is None:
                    return
                orders.send(waits)
                waits = []
            began = time.perf_counter()
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: avf\r\n\r\n")
            whole(connection)
            waits.append(time.perf_counter() - began)
            time.sleep(PROBE)


class Prober:
    """Another client, whose waits are told."""

    def __init__(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=probe, args=(url, theirs), daemon=True)
        self._process.start()
        self.waits()

    def waits(self) -> list[float]:
        """Seconds that each answer took since the last call."""
        self._orders.send(True)
        found: list[float] = self._orders.recv()
        return found

    def stop(self) -> None:
        """End it."""
        self._orders.send(None)
        self._process.join()


def chunked(url: str, session: str) -> str:
    """A body in chunks of one byte each."""
    with dial(url) as connection:
        head = f"POST /v1/sessions/{session}/steps HTTP/1.1\r\nHost: avf\r\nContent-Type: {JSON}\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            connection.sendall(b"1\r\n \r\n" * BYTES + b"0\r\n\r\n")
        return connection.recv(64).split(b" ")[1].decode()


def pipelined(url: str, session: str) -> str:
    """As many requests as fit into so many bytes."""
    with dial(url) as connection:
        request = b"GET /health/live HTTP/1.1\r\nHost: avf\r\n\r\n"
        connection.settimeout(2.0)
        with suppress(OSError):
            connection.sendall(request * (BYTES // len(request)))
        return connection.recv(64).split(b" ")[1].decode()


def opened(url: str, **options: Any) -> str:
    """A new session of the large model."""
    reply = httpx.post(f"{url}/v1/sessions", json={"model": MODELS[1], **options}, timeout=60)
    reply.raise_for_status()
    found: str = reply.json()["id"]
    return found


def cases() -> dict[str, Callable[[str, str], str]]:
    """Everything that is sent, by its name: it gets the server's address and a new session."""
    found: dict[str, Callable[[str, str], str]] = {}
    for name, (address, media_type, body) in bodies().items():
        found[name] = lambda url, session, a=address, m=media_type, b=body: post(url, session, a, m, b)  # type: ignore[misc]
    for name, (subprotocol, message) in messages().items():
        found[name] = lambda url, session, p=subprotocol, m=message: say(url, session, p, m)  # type: ignore[misc]
    return found | {"http: chunks of a byte": chunked, "http: requests in one piece": pipelined}


def longest(prober: Prober, work: Callable[[], str], *, rounds: int) -> tuple[float, str]:
    """Milliseconds of the longest wait beside some work, the median of the rounds; and what came of the last."""
    found, came = [], ""
    for _ in range(rounds):
        prober.waits()
        came = work()
        time.sleep(0.05)
        found.append(1e3 * max(prober.waits()))
    return round(statistics.median(found), 1), came


def memory(pid: int) -> float:
    """Megabytes that a process has in memory."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def headers(url: str, stack: ExitStack) -> list[socket.socket]:
    """Sixteen megabytes of headers, on four connections after each other."""
    found = [stack.enter_context(dial(url)) for _ in range(4)]
    for connection in found:
        with suppress(OSError):
            connection.sendall(HALF)
            for _ in range(256):
                connection.sendall(b"a" * (1 << 16))
    return found


def half_open(url: str, stack: ExitStack) -> list[socket.socket]:
    """Half requests."""
    found = [stack.enter_context(dial(url)) for _ in range(HALF_OPEN)]
    for connection in found:
        connection.sendall(HALF)
    return found


def silent(url: str, stack: ExitStack) -> list[socket.socket]:
    """Sockets that say nothing."""
    return [stack.enter_context(dial(url)) for _ in range(SILENT)]


def ended(connections: list[socket.socket], *, within: float) -> int:
    """How many the server has ended within so many seconds."""
    deadline, count = time.monotonic() + within, 0
    for connection in connections:
        try:
            while True:
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                if not connection.recv(1 << 16):
                    break
        except TimeoutError:
            continue
        except OSError:
            pass
        count += 1
    return count


def beside(
    prober: Prober, url: str, pid: int, strangers: Callable[[str, ExitStack], list[socket.socket]], *, rounds: int
) -> Any:
    """What a crowd of strangers does to others and to memory, as it comes and then; and what becomes of it."""
    before, arrival, meanwhile, grown, left = [], [], [], [], 0
    for _ in range(rounds):
        prober.waits()
        time.sleep(WINDOW)
        before.append(quantile(prober.waits()))
        had = memory(pid)
        with ExitStack() as stack:
            crowd = strangers(url, stack)
            time.sleep(0.1)
            arrival.append(1e3 * max(prober.waits()))
            time.sleep(WINDOW)
            meanwhile.append(quantile(prober.waits()))
            grown.append(memory(pid) - had)
            left += len(crowd) - ended(crowd, within=PATIENCE)
    return {
        "strangers": len(crowd),
        "not_ended": left,
        "longest_at_arrival_ms": round(statistics.median(arrival), 1),
        "p99_before_ms": statistics.median(before),
        "p99_beside_ms": statistics.median(meanwhile),
        "memory_grew_mb": round(max(grown), 1),
    }


def quantile(waits: list[float]) -> float:
    """The p99 in milliseconds."""
    return round(1e3 * float(np.quantile(waits, 0.99)), 2)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    found: dict[str, Any] = {"waits_ms": {}, "strangers": {}}
    with served(*MODELS, settings=PATIENT) as (url, pid):
        prober = Prober(url)

        def quiet() -> str:
            time.sleep(QUIET)
            return ""

        found["waits_ms"]["quiet"], _ = longest(prober, quiet, rounds=options.rounds)
        for name, send in cases().items():
            if options.only in name:
                wait, came = longest(prober, lambda send=send: send(url, opened(url)), rounds=options.rounds)  # type: ignore[misc]
                found["waits_ms"][name] = wait
                print(f"{name:36} {wait:8.1f} ms   {came}", file=sys.stderr, flush=True)
        for crowd in (headers, half_open, silent):
            if options.only in crowd.__name__:
                found["strangers"][crowd.__name__] = beside(prober, url, pid, crowd, rounds=options.rounds)
                print(crowd.__name__, found["strangers"][crowd.__name__], file=sys.stderr, flush=True)
        prober.stop()
    print(json.dumps(found) if options.json else f"longest wait: {max(found['waits_ms'].values())} ms")


if __name__ == "__main__":
    main()
