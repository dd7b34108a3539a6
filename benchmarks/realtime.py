"""How many streams in real time does one core carry, for each model?

    python -m benchmarks.realtime --json [--quick] [--models NAME ...]

The server and its Redis run on one core, the streams on the others, durability `group`. A stream of a model that hears
sound sends an observation whenever its samples would have come (16 kHz, 200 samples each: 80 a second), over its own
WebSocket and out of step with the others; the lag of an answer is counted from the time at which it was due to be sent,
so that what waits in a client that is not answered is late, too. `streams` is the most with a p99 of the lag below 100
ms, found by halving between none and what the core answers at best. `capacity` is the latter: steps a second with 64
sessions that wait for each answer. For all models, also those that hear no sound, `by_rate` divides it by the model's
own rate. Models that take inputs or times, and those that do not answer, are left out, by name and reason.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import uvloop
from avf_server.models import catalogue

from avf_core import checkpoints
from benchmarks import load, results
from benchmarks.servers import PATIENT, served

LAG = 0.1  # seconds
OUTSTANDING = 24  # observations without an answer: fewer than any credit
SETTLING = 1.0  # seconds before lags are counted
SECONDS, PROBES = 5.0, 6
SESSIONS = 64
RATES = {"video": 25.0, "music": 8.0, "series": 1.0}  # observations a second; of music, semiquavers at 120 a minute
CORES = sorted(os.sched_getaffinity(0))  # the server's, and those of the streams
PATIENCE = 120.0  # seconds, in which a run is over


class Paced(load.OverWebSocket):
    """A stream that sends when its observations are due."""

    def pace(self, rate: float, start: float, lags: list[float]) -> None:
        """Send so many a second from this time of the loop's clock on; note how late answers come."""
        self._period, self._start_at, self._lags = 1.0 / rate, start, lags
        self._due: list[float] = []
        self._begun = False

    def _next(self) -> None:
        if not self._begun:
            self._begun = True
            asyncio.get_running_loop().call_at(self._start_at, self._send)

    def _send(self) -> None:
        """What is due, and again when more is; nothing while too much is unanswered."""
        loop = asyncio.get_running_loop()
        if self._bench.over.is_set():
            return
        while self._answered + len(self._due) < (loop.time() - self._start_at) / self._period:
            if len(self._due) >= OUTSTANDING:
                break
            number = self._answered + len(self._due)
            self._due.append(self._start_at + number * self._period)
            self._transport.write(self._message(number + 1))
        following = self._start_at + (self._answered + len(self._due)) * self._period
        loop.call_at(max(following, loop.time() + 0.001), self._send)

    def _answer(self, problem: str | None) -> None:
        """Answers come in order."""
        if problem is not None:
            self._bench.problems[problem] += 1
        self._answered += 1
        self._lags.append(asyncio.get_running_loop().time() - self._due.pop(0))


async def streaming(url: str, model: str, streams: int, rate: float, seconds: float) -> dict[str, float]:
    """So many streams at once: quantiles of their lag, and what went wrong."""
    address = urlsplit(url)
    with httpx.Client(base_url=url, timeout=60.0) as client:
        opened = [client.post("/v1/sessions", json={"model": model}).raise_for_status().json() for _ in range(streams)]
    generator = np.random.default_rng(0)
    xs = (0.05 * generator.standard_normal((load.OBSERVATIONS, opened[0]["observation_size"]))).astype(np.float32)
    bench, lags = load.Bench(sessions=streams, seconds=seconds, pids=[]), [[] for _ in opened]
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.5 + 0.01 * streams

    def stream(place: int) -> Paced:
        found = Paced(bench, address.netloc, opened[place]["id"], xs)
        found.pace(rate, start + place / streams / rate, lags[place])
        return found

    for place in range(streams):
        await loop.create_connection(lambda place=place: stream(place), address.hostname, address.port)
    await asyncio.sleep(max(0.0, start - loop.time()) + SETTLING)
    for each in lags:
        each.clear()
    await asyncio.sleep(seconds)
    late = [lag for each in lags for lag in each]
    bench.over.set()
    silent = sum(not each for each in lags)
    p50, p99 = (float(np.quantile(late, level)) if late and not silent else float("inf") for level in (0.5, 0.99))
    with httpx.Client(base_url=url, timeout=60.0) as client:
        for session in opened:
            client.delete(f"/v1/sessions/{session['id']}")
    return {"p50": p50, "p99": p99, "problems": float(sum(bench.problems.values()))}


def probed(url: str, model: str, streams: int, rate: float, seconds: float) -> dict[str, float]:
    """`streaming` in a process of its own, which is not on the server's core."""
    command = [sys.executable, "-m", "benchmarks.realtime", "--probe", url, "--models", model]
    command += ["--streams", str(streams), "--rate", str(rate), "--seconds", str(seconds)]
    return _run(command)


def capacity(url: str, model: str, seconds: float) -> float:
    """Steps a second with sessions that wait for each answer."""
    command = [sys.executable, "-m", "benchmarks.load", url, "--model", model, "--sessions", str(SESSIONS)]
    return float(_run([*command, "--seconds", str(seconds)])["steps_per_second"])


class UnansweredError(RuntimeError):
    """A model of which there is no figure, and why."""


def _run(command: list[str]) -> dict[str, float]:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            preexec_fn=lambda: os.sched_setaffinity(0, CORES[1:] or CORES),
        )
    except subprocess.TimeoutExpired as late:
        raise UnansweredError(f"its sessions were not answered within {PATIENCE:.0f} s") from late
    if done.returncode:
        raise UnansweredError(f"its load failed: {done.stderr[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def most(url: str, model: str, rate: float, limit: int, *, probes: int, seconds: float) -> tuple[int, float]:
    """The most streams that are on time, and the p99 of their lag in seconds; by halving."""
    good, bad, lag = 0, limit + 1, 0.0
    for _ in range(probes):
        if bad - good <= 1:
            break
        middle = max(good + 1, round(good + 0.6 * (bad - good))) if good == 0 else (good + bad) // 2
        found = probed(url, model, middle, rate, seconds)
        results.say(f"{model}: {middle} streams, lag p99 {1e3 * found['p99']:.0f} ms")
        if found["p99"] < LAG and not found["problems"]:
            good, lag = middle, found["p99"]
        else:
            bad = middle
    return good, lag


def hears(model: str) -> bool:
    """Whether a checkpoint is one of sound."""
    return catalogue.sample_rate_of(checkpoints.load(model)) is not None


def measured(model: str, *, quick: bool) -> dict[str, Any]:
    """The row of a model."""
    seconds, probes = (2.0, 5) if quick else (SECONDS, PROBES)
    with served(model, settings={"AVF_THREADS": "1", **PATIENT}, cores=CORES[:1]) as (url, _):
        info = httpx.get(f"{url}/v1/models", timeout=60.0).json()["models"][0]
        if info.get("input_size") or info.get("calendar") or info.get("timed"):
            raise UnansweredError("it takes inputs or times beside observations, which this load does not send")
        modality, samples = info["modality"], info["sample_rate"] or 0
        rate = samples / info["observation_size"] if samples else RATES.get(modality, RATES["series"])
        best = capacity(url, model, seconds)
        results.say(f"{model}: {best:.0f} steps/s on one core")
        row = {"modality": modality, "rate": rate, "capacity": round(best, 1), "by_rate": int(best / rate)}
        if samples:
            streams, lag = most(url, model, rate, int(best / rate), probes=probes, seconds=seconds)
            row |= {"streams": streams, "lag_p99_ms": round(1e3 * lag, 1)}
    return row


def main() -> None:
    """Measure and print."""
    parser = results.options(__doc__)
    parser.add_argument("--models", nargs="+", help="all; with --quick those that hear sound")
    for name, kind in (("--probe", str), ("--streams", int), ("--rate", float), ("--seconds", float)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.probe:
        print(json.dumps(uvloop.run(streaming(told.probe, told.models[0], told.streams, told.rate, told.seconds))))
        return
    began, rows, skipped = time.perf_counter(), {}, {}
    for model in told.models or [name for name in checkpoints.available() if not told.quick or hears(name)]:
        try:
            rows[model] = measured(model, quick=told.quick)
        except UnansweredError as error:
            skipped[model] = str(error)
            results.say(f"{model}: {error}")
    result = {
        "streams": {model: row["streams"] for model, row in rows.items() if "streams" in row},
        "lag_ms": 1e3 * LAG,
        "models": rows,
        "skipped": skipped,
        "wall_s": round(time.perf_counter() - began, 1),
        "machine": results.machine(),
    }
    results.told(result, as_json=told.json)


if __name__ == "__main__":
    main()
