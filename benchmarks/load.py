"""Load on a server by clients that cost next to nothing: closed loops over raw sockets, a process of its own.

    python -m benchmarks.load URL --sessions 64 --seconds 5 --way websocket --durability group --model srnn-jsb

Every session sends its next observation when the last one is answered: `avf.v1.bin` frames over a WebSocket, or JSON
over HTTP/1.1 on a connection that is kept. What is measured begins once all sessions have been answered WARM times, and
is printed as JSON. A library of WebSockets or HTTP in Python would take as much of the machine as the server.
"""

import argparse
import asyncio
import json
import os
import resource
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

import avf_wire as wire
import httpx
import numpy as np
import uvloop
from avf_wire import binary

WARM = 5  # answers of each session before anything is measured
OBSERVATIONS = 64  # different ones, in turns
Way = Literal["websocket", "http"]
TICK = os.sysconf("SC_CLK_TCK")


def busy(pid: int) -> tuple[float, float]:
    """Seconds of processor time that all threads of a process have used, and its first one, which has the loop."""
    tasks = [Path(f"/proc/{pid}/task/{pid}"), *Path(f"/proc/{pid}/task").iterdir()]
    first, *each = [_used(task) for task in tasks]
    return sum(each), first


def _used(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):  # a kernel that keeps no such statistics
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


class Bench:
    """What the sessions of one run share: when it began, and what was measured since. `pids` are watched."""

    def __init__(self, *, sessions: int, seconds: float, pids: Sequence[int]) -> None:
        self._cold = sessions
        self._seconds = seconds
        self._pids = pids
        self.times: list[float] = []
        self.problems: Counter[str] = Counter()
        self.over = asyncio.Event()
        self._began = 0.0
        self._spent: list[float] = []
        self.found: dict[str, float | int | list[float]] = {}

    def warm(self) -> None:
        """One more session is warm."""
        self._cold -= 1
        if self._cold == 0:
            self._began = time.perf_counter()
            self._spent = self._used()
            self.times.clear()
            asyncio.get_running_loop().call_later(self._seconds, self._end)

    def _end(self) -> None:
        elapsed, steps = time.perf_counter() - self._began, len(self.times)
        spent = [after - before for before, after in zip(self._spent, self._used(), strict=True)]
        self.found = {
            "steps": steps,
            "steps_per_second": steps / elapsed,
            "p50_ms": 1e3 * float(np.quantile(self.times, 0.5)),
            "p99_ms": 1e3 * float(np.quantile(self.times, 0.99)),
            "problems": sum(self.problems.values()),
            "cpu_ms_per_step": [1e3 * each / steps for each in spent],
        }
        self.over.set()

    def _used(self) -> list[float]:
        own = resource.getrusage(resource.RUSAGE_SELF)
        return [*(seconds for pid in self._pids for seconds in busy(pid)), own.ru_utime + own.ru_stime]


class Session(asyncio.Protocol):
    """A closed loop; how a message is written and where an answer ends is in the classes below."""

    def __init__(self, bench: Bench, host: str, session: str, xs: np.ndarray) -> None:
        self._bench = bench
        self._host = host
        self._session = session
        self._xs = xs
        self._buffer = b""
        self._answered = 0
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's, which is of no such class
        self._begin()

    def _begin(self) -> None:
        self._next()

    def _next(self) -> None:
        if not self._bench.over.is_set():
            self._sent = time.perf_counter()
            self._transport.write(self._message(self._answered + 1))

    def _message(self, seq: int) -> bytes:
        raise NotImplementedError

    def _answer(self, problem: str | None) -> None:
        """Count an answer, and go on; the same observation again where it was refused."""
        if problem is not None:
            self._bench.problems[problem] += 1
            asyncio.get_running_loop().call_later(0.05, self._next)
            return
        self._bench.times.append(time.perf_counter() - self._sent)
        self._answered += 1
        if self._answered == WARM:
            self._bench.warm()
        self._next()


class OverWebSocket(Session):
    """Frames are masked by zeros, which leaves them as they are."""

    def _begin(self) -> None:
        self._transport.write(
            f"GET /v1/sessions/{self._session}/stream HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: {wire.SUBPROTOCOL_BINARY}\r\n\r\n".encode()
        )
        self._open = False
        data = binary.encode(binary.Observations(seq=0, rows=self._xs[:1]))
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        self._start = b"\x82" + length + bytes(4) + data[:8]
        self._rows = [x.astype("<f4").tobytes() for x in self._xs]

    def _message(self, seq: int) -> bytes:
        return self._start + seq.to_bytes(8, "little") + self._rows[seq % OBSERVATIONS]

    def data_received(self, data: bytes) -> None:
        """Frames of the server: estimates, and what says that there will be none."""
        self._buffer += data
        if not self._open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                raise RuntimeError(head.decode())
            self._open, self._buffer = True, rest
        while len(self._buffer) >= 4:
            size, start = self._buffer[1], 2
            if size == 126:
                size, start = int.from_bytes(self._buffer[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(self._buffer[2:10], "big"), 10
            if len(self._buffer) < start + size:
                return
            payload, opcode = self._buffer[start : start + size], self._buffer[0] & 0xF
            self._buffer = self._buffer[start + size :]
            self._hear(opcode, payload)

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == 8:
            self._bench.problems[f"closed: {payload[2:].decode()}"] += 1
        elif opcode == 2 and payload[1] == binary.Kind.BEGIN:
            self._next()
        elif opcode == 2 and payload[1] in (binary.Kind.ESTIMATE, binary.Kind.ERROR):
            self._answer(None if payload[1] == binary.Kind.ESTIMATE else payload[16:].decode())


class OverHttp(Session):
    """A request an observation, in JSON."""

    def _message(self, seq: int) -> bytes:
        body = json.dumps({"seq": seq, "observations": [self._xs[seq % OBSERVATIONS].tolist()]}).encode()
        head = (
            f"POST /v1/sessions/{self._session}/steps HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def data_received(self, data: bytes) -> None:
        """One answer at a time."""
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            whole = rest.endswith(b"\r\n0\r\n\r\n")
        else:
            whole = len(rest) >= int(lowered.partition(b"content-length:")[2].partition(b"\r")[0])
        if whole:
            self._buffer = b""
            self._answer(None if b" 200 " in head[:16] else rest.decode())


WAYS: dict[Way, Callable[[Bench, str, str, np.ndarray], Session]] = {"websocket": OverWebSocket, "http": OverHttp}


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Open the sessions, let them run, and say what was measured."""
    address = urlsplit(options.url)
    with httpx.Client(base_url=options.url, timeout=60.0) as client:
        asked = {"model": options.model, "durability": options.durability}
        opened = [client.post("/v1/sessions", json=asked).raise_for_status().json() for _ in range(options.sessions)]
    xs = (np.random.default_rng(0).random((OBSERVATIONS, opened[0]["observation_size"])) > 0.95).astype(np.float32)
    bench = Bench(sessions=options.sessions, seconds=options.seconds, pids=options.pids)
    loop, batches = asyncio.get_running_loop(), _batches(options.url)
    for each in opened:
        make = WAYS[options.way]
        await loop.create_connection(
            lambda: make(bench, address.netloc, each["id"], xs),  # noqa: B023 - called before the next round
            address.hostname,
            address.port,
        )
    await bench.over.wait()
    rows, ticks = (after - before for after, before in zip(_batches(options.url), batches, strict=True))
    return bench.found | {"batch_rows": rows / max(1.0, ticks), "which": bench.problems.most_common(3)}


def _batches(url: str) -> tuple[float, float]:
    """How many rows, and how many batches, a server has filtered."""
    lines = httpx.get(f"{url}/metrics", timeout=60.0).text.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if line.startswith("avf_batch_rows_"))
    return float(found["avf_batch_rows_sum"]), float(found["avf_batch_rows_count"])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--way", choices=list(WAYS), default="websocket")
    parser.add_argument("--durability", default="group")
    parser.add_argument("--model", default="srnn-jsb")
    parser.add_argument("--pids", type=int, nargs="*", default=[], help="processes whose processor time is measured")
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
