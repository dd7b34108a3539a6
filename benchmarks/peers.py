"""How many steps a second are answered here, and by the same step behind servers of others?

    python -m benchmarks.peers --json [--quick] [--only NAME ...]

64 sessions, each of which sends its next observation when the last one is answered, with clients and Redis on the same
cores; all systems by the same client over HTTP (`benchmarks.load`), and avf by WebSocket too. Peers are those of
`benchmarks/peer/`: each keeps the beliefs of sessions in a Redis between two requests, as this one does with durability
`group`, without its order, its idempotence and its fencing. Peers run the step on torch, as anybody would. Systems take
turns, each in processes of its own; figures are medians over the turns. A peer whose package is not installed (extra
`bench`), or that fails, is left out, by name and reason. `cpu_ms_per_step` is processor time of the system and its
Redis, `client_ms_per_step` that of the client, `times_best_peer` our steps a second over those of the fastest peer, and
`times_best_peer_cpu` the processor time of a step of the peer that takes the least, with its Redis, over ours: the
client's is in the former, and not in the latter.
"""

import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from avf_server.stores.embedded import EmbeddedRedis

from avf_core import checkpoints
from benchmarks import results
from benchmarks.servers import PATIENT, family, served

SESSIONS = 64
OURS = {"avf, HTTP": "http", "avf, WebSocket": "websocket"}
PEERS = {"fastapi-redis": "fastapi", "litserve": "litserve", "ray-serve": "ray"}  # by the package that each needs
ROUNDS, SECONDS = 2, 8.0
STARTING = 240.0  # seconds; Ray takes 40 where nothing else runs


class Running(NamedTuple):
    """A system to be loaded: the command of the load, and the processes that are watched."""

    load: list[str]
    pids: list[int]


@contextmanager
def ours(name: str, model: str) -> Iterator[Running]:
    """avf, with its own Redis."""
    with served(model, settings=PATIENT) as (url, pid):
        yield Running(["benchmarks.load", url, "--way", OURS[name], "--model", model], family(pid))


@contextmanager
def theirs(name: str, model: str) -> Iterator[Running]:
    """A peer, with a Redis beside it."""
    size = str(checkpoints.load(model).filter.model.observation.size)
    with tempfile.TemporaryDirectory(prefix="avf-bench-") as folder, EmbeddedRedis(Path(folder)) as redis:
        url, log = f"http://127.0.0.1:{free_port()}", Path(folder) / "log"
        command = [sys.executable, "-m", f"benchmarks.peer.{name.replace('-', '_')}", "--model", model]
        command += ["--port", url.rpartition(":")[2], "--redis", str(redis.socket)]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            wait(url, int(size), process, log)
            pids = [*family(process.pid), *([redis.pid] if redis.pid else [])]
            yield Running(["benchmarks.peer.load", url, "--size", size], pids)
        finally:
            end(process)


def wait(url: str, size: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a peer answers a step. Raises RuntimeError with what it wrote where it does not."""
    asked = {"session": "first", "x": [0.0] * size}
    until = time.monotonic() + STARTING
    while time.monotonic() < until and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.post(f"{url}/predict", json=asked, timeout=10.0).status_code == 200:
                return
        time.sleep(0.2)
    why = f"it ended with {process.poll()}" if process.poll() is not None else f"not within {STARTING:.0f} s"
    results.say(log.read_text(errors="replace")[-2000:])
    raise RuntimeError(f"it does not answer: {why}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a peer with all its processes, which are a session of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10.0)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def measured(name: str, model: str, seconds: float) -> dict[str, Any]:
    """One turn of a system."""
    with (ours if name in OURS else theirs)(name, model) as running:
        command = [sys.executable, "-m", *running.load, "--sessions", str(SESSIONS), "--seconds", str(seconds)]
        command += ["--pids", *map(str, running.pids)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + STARTING)
    if done.returncode:
        raise RuntimeError(f"the load on {name} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def missing(systems: list[str]) -> dict[str, str]:
    """The peers whose package is not here."""
    return {
        name: f"{PEERS[name]} is not installed: pip install 'avf[bench]'"
        for name in systems
        if name in PEERS and importlib.util.find_spec(PEERS[name]) is None
    }


def main() -> None:
    """Measure and print."""
    parser = results.options(__doc__)
    parser.add_argument("--model", default="srnn-jsb")
    parser.add_argument("--only", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, *PEERS])
    told = parser.parse_args()
    rounds, seconds = (1, 3.0) if told.quick else (ROUNDS, SECONDS)
    skipped = missing(told.only)
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in told.only if name not in skipped}
    for _ in range(rounds):
        for name, found in list(turns.items()):
            try:
                found.append(measured(name, told.model, seconds))
            except RuntimeError as error:
                if name in OURS:
                    raise
                skipped[name] = str(error)
                del turns[name]
                results.say(f"{name:16} {error}")
                continue
            results.say(f"{name:16} {found[-1]['steps_per_second']:8.0f} steps/s {found[-1]['p99_ms']:8.1f} ms p99")

    def medians(key: str) -> dict[str, float]:
        return {name: round(statistics.median(one[key] for one in found), 2) for name, found in turns.items()}

    def spent(part: slice) -> dict[str, float]:
        sums = {name: [sum(one["cpu_ms_per_step"][part]) for one in found] for name, found in turns.items()}
        return {name: round(statistics.median(found), 3) for name, found in sums.items()}

    result: dict[str, Any] = {"model": told.model, "sessions": SESSIONS, "seconds": seconds, "rounds": rounds}
    result |= {key: medians(key) for key in ("steps_per_second", "p50_ms", "p99_ms", "problems")}
    result |= {"cpu_ms_per_step": spent(slice(None, -1, 2)), "client_ms_per_step": spent(slice(-1, None))}
    costs = {name: 1.0 / cost for name, cost in result["cpu_ms_per_step"].items()}
    result |= {"times_best_peer": times_best_peer(result["steps_per_second"])}
    result |= {"times_best_peer_cpu": times_best_peer(costs), "skipped": skipped}
    results.told(result | {"machine": results.machine()}, as_json=told.json)


def times_best_peer(rates: dict[str, float]) -> dict[str, float]:
    """Ours over the best of theirs."""
    best = max((rate for name, rate in rates.items() if name in PEERS), default=float("nan"))
    return {name: round(rate / best, 2) for name, rate in rates.items() if name in OURS}


if __name__ == "__main__":
    main()
