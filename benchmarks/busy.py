"""Does a busy machine only slow a server down, or do calls fail and streams end?

    python -m benchmarks.busy [--json] [--seconds 300] [--loops 2] [--sessions 64]

A real server with its own Redis, whose settings are the defaults, streams of the SDK that each send an observation when
the last one is answered, and beside them so many processes that do nothing but use a processor. What is to be seen: no
`store-unavailable`, no stream that ends, and every session going on.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from avf_client import AsyncClient

from benchmarks.serve import SETTINGS
from benchmarks.servers import served

SPIN = "while True: pass"
SIZE = 88


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """So many processes that use a processor each."""
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def stream(client: AsyncClient, model: str, until: float, steps: list[int], number: int) -> str | None:
    """Stream until then; why it ended before, if it did."""
    xs = (np.random.default_rng(number).random((64, SIZE)) > 0.95).astype(float)

    async def source() -> AsyncIterator[np.ndarray]:
        while asyncio.get_running_loop().time() < until:
            yield xs[steps[number] % len(xs)]

    try:
        async with await client.session(model=model) as session:
            async for _ in session.stream(source(), in_flight=1, fields="scalars"):
                steps[number] += 1
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


async def streams(url: str, model: str, *, sessions: int, seconds: float) -> tuple[list[int], list[str]]:
    """The steps of each stream, and why any ended."""
    steps = [0] * sessions
    async with AsyncClient(url, timeout=60.0) as client:
        until = asyncio.get_running_loop().time() + seconds
        ended = await asyncio.gather(*(stream(client, model, until, steps, n) for n in range(sessions)))
    return steps, [why for why in ended if why is not None]


def measure(model: str, *, loops: int, sessions: int, seconds: float) -> dict[str, Any]:
    """All of it."""
    with served(model, settings=SETTINGS) as (url, _), spinning(loops):
        steps, ended = asyncio.run(streams(url, model, sessions=sessions, seconds=seconds))
        metrics = dict(
            line.rsplit(" ", 1)
            for line in httpx.get(f"{url}/metrics", timeout=60.0).text.splitlines()
            if not line.startswith("#")
        )
    return {
        "seconds": seconds,
        "loops": loops,
        "sessions": sessions,
        "steps": sum(steps),
        "fewest_steps": min(steps),
        "streams_ended": len(ended),
        "why": sorted(set(ended)),
        "store_unavailable": float(metrics.get('avf_problems_total{name="store-unavailable"}', 0)),
        "store_errors": float(metrics["avf_store_errors_total"]),
        "loop_late_by_more_than_100_ms": float(metrics["avf_loop_lag_seconds_count"])
        - float(metrics['avf_loop_lag_seconds_bucket{le="0.1"}']),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="srnn-jsb")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--loops", type=int, default=2)
    parser.add_argument("--sessions", type=int, default=64)
    options = parser.parse_args()
    found = measure(options.model, loops=options.loops, sessions=options.sessions, seconds=options.seconds)
    print(json.dumps(found) if options.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
