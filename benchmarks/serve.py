"""What does serving cost beside filtering, and how many steps a second does one server answer?

    python -m benchmarks.serve [--json] [--model srnn-jsb] [--seconds 5] [--open 10000]

A real server with its own Redis, on loopback, one torch thread; clients (`benchmarks.load`), server and Redis share the
machine. `served_over_engine_64` is the processor time of one row of `Filter.step` at a batch of 64 over that of the
whole server's process for one step of 64 WebSocket sessions, durability `group`. Rounds over WebSockets, over HTTP and
of the engine take turns; figures are medians. `--open` first opens so many sessions that do nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import httpx
import torch

from avf_core import checkpoints
from benchmarks import results
from benchmarks.servers import family, served

ROUNDS = 3
RUNS: tuple[tuple[str, str, int, str], ...] = (
    ("websocket_64", "websocket", 64, "group"),
    ("websocket_1", "websocket", 1, "group"),
    ("http_64", "http", 64, "group"),
    ("http_1", "http", 1, "group"),
    ("websocket_64_none", "websocket", 64, "none"),
)
SETTINGS = {"AVF_THREADS": "1", "AVF_MAX_SESSIONS": "100000", "AVF_MAX_SESSIONS_PER_KEY": "100000"}


def loaded(
    url: str, pids: list[int], *, model: str, way: str, sessions: int, durability: str, seconds: float
) -> dict[str, Any]:
    """What `benchmarks.load` measures."""
    options = {"model": model, "way": way, "sessions": sessions, "durability": durability, "seconds": seconds}
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "benchmarks.load", url, *given, "--pids", *map(str, pids)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 120)
    result: dict[str, Any] = json.loads(found.stdout)
    result["server_ms"], result["loop_ms"], result["redis_ms"], *_, result["clients_ms"] = result.pop("cpu_ms_per_step")
    return result


@torch.no_grad()
def engine(model: str, *, batch: int, rounds: int) -> tuple[float, float, float]:
    """Milliseconds of `Filter.step` for a row of a batch: of processor time, on the clock; and of the prediction.

    The last, of processor time, is what estimates of the server are told beside: made of draws, and not by the step.
    """
    filter = checkpoints.load(model).filter
    x = (torch.rand(batch, filter.model.observation.size, generator=torch.Generator().manual_seed(0)) > 0.95).float()
    belief, _ = filter.step(filter.initial(torch.arange(batch)), x)
    spent, took, predicted = [], [], []
    for _ in range(rounds):
        cpu, clock = time.thread_time(), time.perf_counter()
        belief, estimate = filter.step(belief, x)
        stepped = time.thread_time()
        took.append(1e3 * (time.perf_counter() - clock) / batch)
        _ = estimate.prediction.mean
        spent.append(1e3 * (stepped - cpu) / batch)
        predicted.append(1e3 * (time.thread_time() - stepped) / batch)
    return statistics.median(spent), statistics.median(took), statistics.median(predicted)


def open_idle(url: str, model: str, count: int) -> None:
    """Sessions that nobody steps."""
    with httpx.Client(base_url=url, timeout=60.0) as client:
        for _ in range(count):
            client.post("/v1/sessions", json={"model": model}).raise_for_status()


def measure(model: str, *, seconds: float, idle: int) -> dict[str, Any]:
    """All rounds, in turns."""
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in RUNS}
    engines: dict[int, list[tuple[float, ...]]] = {1: [], 64: []}
    with served(model, settings=SETTINGS) as (url, pid):
        pids = family(pid)
        open_idle(url, model, idle)
        for _ in range(ROUNDS):
            for name, way, sessions, durability in RUNS:
                one = loaded(url, pids, model=model, way=way, sessions=sessions, durability=durability, seconds=seconds)
                rounds[name].append(one)
                results.say(f"{name:18} {one['steps_per_second']:8.0f} steps/s {one['p50_ms']:8.2f} ms p50")
            for batch, found in engines.items():
                found.append(engine(model, batch=batch, rounds=30 if batch == 1 else 8))
    runs = {name: _medians(found) for name, found in rounds.items()}
    (raw_64, _, predicted_64), (_, raw_1, _) = (_medians_of(engines[batch]) for batch in (64, 1))
    return {
        "model": model,
        "served_over_engine_64": raw_64 / runs["websocket_64"]["server_ms"],
        "served_over_engine_and_prediction_64": (raw_64 + predicted_64) / runs["websocket_64"]["server_ms"],
        "steps_per_second": runs["websocket_64"]["steps_per_second"],
        "p50_ms": runs["websocket_1"]["p50_ms"],
        "overhead_ms": runs["websocket_1"]["p50_ms"] - raw_1,
        "http_over_websocket": runs["http_64"]["server_ms"] / runs["websocket_64"]["server_ms"],
        "engine_ms_64": raw_64,
        "prediction_ms_64": predicted_64,
        "engine_ms_1": raw_1,
        "open_sessions": idle,
        "runs": runs,
    }


def _medians(found: list[dict[str, Any]]) -> dict[str, float]:
    numbers = [name for name, value in found[0].items() if isinstance(value, int | float)]
    return {name: round(statistics.median(each[name] for each in found), 4) for name in numbers}


def _medians_of(found: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(map(statistics.median, zip(*found, strict=True)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="srnn-jsb")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run; there are 15")
    parser.add_argument("--open", type=int, default=0, help="sessions that are open beside those that step")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(options.model, seconds=options.seconds, idle=options.open)
    if options.json:
        print(json.dumps(found | {"machine": results.machine()}))
        return
    for name, value in found.items():
        if not isinstance(value, dict):
            print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    columns = list(next(iter(found["runs"].values())))
    print("| run | " + " | ".join(column.replace("_", " ") for column in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in found["runs"].items():
        print(f"| {name.replace('_', ' ')} | " + " | ".join(f"{row[column]:.3g}" for column in columns) + " |")


if __name__ == "__main__":
    main()
