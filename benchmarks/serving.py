"""How many observations a second does one server answer, by the number of sessions that send at once?

    python -m benchmarks.serving [--json]

A real server with its own Redis, on loopback; every session sends one HTTP request an observation, and the next one
when it is answered. Each step is saved before it is answered (durability `group`), or not at all (`none`), in turns.
The clients are one asyncio process on the same machine. The load is bounded: FRAMES observations a session.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time

import avf_wire as wire
import numpy as np
from avf_client import AsyncClient

SESSIONS = (1, 8, 32, 64)
FRAMES = 30
ROUNDS = 2


async def send(client: AsyncClient, x: np.ndarray, durability: wire.Durability, model: str) -> list[float]:
    """Send the rows of `x` to a session of its own; gives the seconds that each took."""
    times = []
    async with await client.session(model=model, durability=durability) as session:
        for row in x:
            start = time.perf_counter()
            await session.step(row)
            times.append(time.perf_counter() - start)
    return times


async def measure(url: str, model: str, sessions: int, durability: wire.Durability) -> tuple[float, list[float]]:
    """Observations a second over all sessions, and the latencies in seconds."""
    x = (np.random.default_rng(0).random((FRAMES, 88)) > 0.95).astype(float)
    async with AsyncClient(url, timeout=60.0) as client:
        start = time.perf_counter()
        sending = [send(client, x, durability, model) for _ in range(sessions)]
        times = [t for one in await asyncio.gather(*sending) for t in one]
        return sessions * FRAMES / (time.perf_counter() - start), times


def run(model: str) -> list[dict[str, float | int | str]]:
    """All measurements, against a server started for them."""
    with tempfile.TemporaryDirectory(prefix="avf-bench-") as folder:
        arguments = ["serve", "--port", "0", "--json", "--model", model, "--data-dir", folder]
        process = subprocess.Popen(
            [sys.executable, "-m", "avf_client", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["server_url"]
            return [row(url, model, sessions) for sessions in SESSIONS]
        finally:
            process.terminate()
            process.wait(timeout=30)


def row(url: str, model: str, sessions: int) -> dict[str, float | int | str]:
    """Medians over the rounds, the two durabilities taking turns."""
    result: dict[str, float | int | str] = {"sessions": sessions}
    rates: dict[wire.Durability, list[float]] = {"group": [], "none": []}
    latencies: dict[wire.Durability, list[float]] = {"group": [], "none": []}
    for _ in range(ROUNDS):
        for durability in rates:
            rate, times = asyncio.run(measure(url, model, sessions, durability))
            rates[durability].append(rate)
            latencies[durability] += times
    for durability in rates:
        result[f"{durability}_steps_per_second"] = round(statistics.median(rates[durability]), 1)
        result[f"{durability}_p50_ms"] = round(1e3 * float(np.quantile(latencies[durability], 0.5)), 1)
        result[f"{durability}_p99_ms"] = round(1e3 * float(np.quantile(latencies[durability], 0.99)), 1)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="srnn-jsb")
    options = parser.parse_args()
    rows = run(options.model)
    if options.json:
        print(json.dumps({"model": options.model, "frames": FRAMES, "rows": rows}))
        return
    print("| " + " | ".join(rows[0]).replace("_", " ") + " |")
    print("|---" * len(rows[0]) + "|")
    for one in rows:
        print("| " + " | ".join(str(value) for value in one.values()) + " |")


if __name__ == "__main__":
    main()
