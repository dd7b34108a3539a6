"""What becomes of streams when three times as much is sent as the server can filter, and beside clients that misbehave?

    python -m benchmarks.overload [--seconds 60] [--json]

A real server with its own Redis, on loopback, durability `group`. First its capacity: STREAMS streams send as fast as
they are answered. Then, for `seconds`, the same streams offer three times that, each at its own steady rate and within
its credit; what cannot be sent in time is sent late. Then NEIGHBOURS streams, which send as fast as they are answered,
are timed beside three more clients, of another process, which take turns: three that are as busy as their credit
allows, and three that misbehave. Of these, one never reads, one writes without regard to its credit, and one connects,
sends and vanishes, again and again.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import avf_wire as wire
import httpx
import numpy as np
import websockets
from avf_wire import binary

from benchmarks.servers import PATIENT, served

STREAMS = 48
NEIGHBOURS = 12  # with three more, a batch is padded to the same 16 rows
OVERLOAD = 3.0
WARM_UP = 4.0  # seconds in which capacity is measured
WINDOW = 5.0  # seconds beside the ones, and then the others
WINDOWS = 6  # of each
START = 2.0  # seconds until the other process is at it: importing takes that long
PAUSE = 0.2  # seconds between a client's vanishing and the next one's coming
CLOSED = websockets.ConnectionClosed


@dataclass
class Tally:
    """What streams met: observations answered and refused, sockets that were closed, seconds from sending to answer."""

    answered: int = 0
    refused: int = 0
    closed: int = 0
    late: list[float] = field(default_factory=list)

    def quantile(self, level: float) -> float:
        """Milliseconds from sending to answer."""
        return round(1e3 * float(np.quantile(self.late, level)), 1) if self.late else float("nan")


class Stream:
    """One well-behaved stream of a session of its own: it reads all the time, and keeps within its credit."""

    def __init__(self, connection: Any, tally: Tally, size: int) -> None:
        self.tally = tally
        self._connection = connection
        self._rows = (np.random.default_rng(0).random((64, 1, size)) > 0.9).astype(np.float32)
        self._seq = 0
        self._sent: dict[int, float] = {}
        self._room = asyncio.Event()
        self._credit = 0

    async def read(self) -> None:
        """Take what is answered, until the socket is closed."""
        async for data in self._connection:
            message = binary.decode_server(data)
            if isinstance(message, wire.Begin):
                self._credit = message.credit
            elif isinstance(message, binary.Estimate):
                self.tally.answered += 1
                self.tally.late.append(time.perf_counter() - self._sent.pop(message.seq))
            elif isinstance(message, wire.Error):
                self.tally.refused += 1
            self._room.set()

    async def write(self, *, until: float, every: float | None = None, most: int | None = None) -> None:
        """Send an observation every so many seconds, or whenever fewer than `most` are unanswered."""
        due = time.perf_counter()
        while (now := time.perf_counter()) < until:
            if every is not None and now < due:
                await asyncio.sleep(due - now)
            while len(self._sent) >= min(self._credit, most or self._credit):
                self._room.clear()
                await self._room.wait()
            due += every or 0.0
            self._seq += 1
            self._sent[self._seq] = time.perf_counter()
            await self._connection.send(
                binary.encode(binary.Observations(seq=self._seq, rows=self._rows[self._seq % len(self._rows)]))
            )

    async def run(self, **plan: Any) -> None:
        """Read and write at once; a socket that is closed is counted."""
        reading, writing = asyncio.create_task(self.read()), asyncio.create_task(self.write(**plan))
        done, _ = await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
        self.tally.closed += reading in done
        for task in (reading, writing):
            task.cancel()
        for result in await asyncio.gather(reading, writing, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, CLOSED):
                raise result


def open_session(url: str) -> tuple[str, int]:
    """The address of the stream of a new session, and the size of its observations."""
    model = httpx.get(f"{url}/v1/models", timeout=60).json()["models"][0]["name"]
    reply = httpx.post(f"{url}/v1/sessions", json={"model": model}, timeout=60)
    reply.raise_for_status()
    session = reply.json()
    return f"{url.replace('http', 'ws', 1)}/v1/sessions/{session['id']}/stream", session["observation_size"]


@asynccontextmanager
async def connected(address: str, query: str = "", subprotocol: str = "avf.v1.bin") -> AsyncIterator[Any]:
    """A connection that is never closed for its silence by this side."""
    options: dict[str, Any] = {"compression": None, "ping_interval": None, "open_timeout": 60, "close_timeout": 1}
    protocols = [websockets.Subprotocol(subprotocol)]
    async with websockets.connect(address + query, subprotocols=protocols, **options) as connection:
        yield connection


async def load(url: str, streams: int, seconds: float, **plan: Any) -> Tally:
    """That many streams at once."""
    tally = Tally()

    async def one() -> None:
        address, size = await asyncio.to_thread(open_session, url)
        async with connected(address, "?fields=scalars") as connection:
            await everyone.wait()
            await Stream(connection, tally, size).run(until=time.perf_counter() + seconds, **plan)

    everyone = asyncio.Barrier(streams)
    await asyncio.gather(*(one() for _ in range(streams)))
    return tally


def memory(pid: int) -> float:
    """A process's resident memory, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def overload(url: str, pid: int, *, streams: int, seconds: float) -> dict[str, Any]:
    """Capacity, and then more than that."""
    settled = asyncio.run(load(url, streams, min(WARM_UP, seconds), most=1))
    capacity = settled.answered / min(WARM_UP, seconds)
    before = memory(pid)
    tally = asyncio.run(load(url, streams, seconds, every=streams / (OVERLOAD * capacity)))
    return {
        "streams": streams,
        "seconds": seconds,
        "capacity_per_second": round(capacity),
        "wanted_per_second": round(OVERLOAD * capacity),
        "answered_per_second": round(tally.answered / seconds),
        "closed_sockets": tally.closed,
        "refused": tally.refused,
        "p50_ms": tally.quantile(0.5),
        "p99_ms": tally.quantile(0.99),
        "memory_before_mib": round(before),
        "memory_after_mib": round(memory(pid)),
    }


async def deaf(url: str) -> None:
    """Ask for much, and read nothing."""
    address, size = await asyncio.to_thread(open_session, url)
    async with connected(address, subprotocol="avf.v1.json") as connection:
        connection.transport.pause_reading()
        for seq in range(1, 1 << 20):
            await connection.send(json.dumps({"type": "observe", "seq": seq, "x": [0] * size}))


async def hasty(url: str) -> None:
    """Write as fast as the socket takes it."""
    address, size = await asyncio.to_thread(open_session, url)
    async with connected(address) as connection:

        async def read() -> None:
            async for _ in connection:
                pass

        reading = asyncio.create_task(read())
        rows = np.zeros((32, size), dtype=np.float32)
        for seq in range(1, 1 << 20, 32):
            await connection.send(binary.encode(binary.Observations(seq=seq, rows=rows)))
        await reading


async def fleeting(url: str) -> None:
    """Connect, send, vanish; and come back to the same session."""
    address, size = await asyncio.to_thread(open_session, url)
    rows = np.zeros((32, size), dtype=np.float32)
    while True:
        async with connected(address) as connection:
            begin = binary.decode_server(await connection.recv())
            assert isinstance(begin, wire.Begin)
            await connection.send(binary.encode(binary.Observations(seq=begin.session.next_seq, rows=rows)))
            await connection.recv()
            connection.transport.abort()
        await asyncio.sleep(PAUSE)


async def polite(url: str) -> None:
    """Always have as much under way as the credit allows, and read what comes."""
    address, size = await asyncio.to_thread(open_session, url)
    async with connected(address, "?fields=scalars") as connection:
        await Stream(connection, Tally(), size).run(until=math.inf)


def others(url: str, clients: tuple[Any, ...]) -> None:
    """These clients, until this process is ended."""

    async def together() -> None:
        async def again(client: Any) -> None:
            while True:
                with suppress(CLOSED, OSError, httpx.HTTPError):
                    await client(url)

        await asyncio.gather(*(again(client) for client in clients))

    asyncio.run(together())


BESIDE = {"polite": (polite, polite, polite), "misbehaving": (deaf, hasty, fleeting)}


def neighbours(url: str, *, streams: int, window: float, windows: int) -> dict[str, Any]:
    """The same streams beside polite clients, and beside others."""
    tallies = {name: Tally() for name in BESIDE}
    context = multiprocessing.get_context("spawn")
    for _ in range(windows):
        for name, tally in tallies.items():
            process = context.Process(target=others, args=(url, BESIDE[name]))
            process.start()
            time.sleep(START)
            found = asyncio.run(load(url, streams, window, most=1))
            process.terminate()
            process.join()
            tally.late += found.late
            tally.closed += found.closed
    result: dict[str, Any] = {"streams": streams}
    for name, tally in tallies.items():
        result |= {f"beside_{name}_p50_ms": tally.quantile(0.5), f"beside_{name}_p99_ms": tally.quantile(0.99)}
    ratio = tallies["misbehaving"].quantile(0.99) / tallies["polite"].quantile(0.99)
    return result | {"p99_ratio": round(ratio, 3), "closed_sockets": sum(tally.closed for tally in tallies.values())}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="srnn-jsb")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with served(options.model, settings=PATIENT) as (url, pid):
        results = {
            "overload": overload(url, pid, streams=STREAMS, seconds=options.seconds),
            "neighbours": neighbours(url, streams=NEIGHBOURS, window=WINDOW, windows=WINDOWS),
        }
    if options.json:
        print(json.dumps({"model": options.model} | results))
        return
    for name, result in results.items():
        print(f"\n{name}\n")
        for what, value in result.items():
            print(f"| {what.replace('_', ' ')} | {value} |")


if __name__ == "__main__":
    main()
