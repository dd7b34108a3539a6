"""What the server's tests share: a tiny model, real server processes, a real Redis, and the offline truth."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from avf_server.stores.embedded import EmbeddedRedis

from avf_core import checkpoints, configuration

SETTINGS = {
    "model": {
        "kind": "srnn",
        "observation_size": 6,
        "latent_size": 4,
        "hidden_size": 8,
        "prior_widths": [8],
        "decoder_widths": [8],
    },
    "inference": {"kind": "iterative", "iterations": 2, "units": 16, "rule": "learned_sgd"},
}
SIZE = 6
SERVE = "from avf_server.serve.command import command; command()"
PATIENCE = 60.0  # seconds after which a wait has failed


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Poll until the condition holds, and return what it returned."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


class Served:
    """A server process, started with `avf serve --json`."""

    def __init__(self, log: Path, *options: str, environment: dict[str, str] | None = None, code: str = SERVE) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AVF_")}
        self.log = log
        self._stderr = log.open("ab")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                code,
                *options,
                "--json",
            ],
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=clean | {"AVF_PORT": "0", "AVF_REDIS_TIMEOUT_S": "5", "AVF_THREADS": "1"} | (environment or {}),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the server did not start: {log.read_text()}"
        self.ready = json.loads(line)
        self.url: str = self.ready["server_url"]
        self.ws: str = self.url.replace("http://", "ws://")
        self.pid = self.process.pid

    def stop(self, number: int) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.close()

    def close(self) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._stderr.close()
        return code


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny checkpoint with six binary observations."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoints.save(folder, filter=configuration.build(SETTINGS), settings=SETTINGS, card={"name": "tiny"})
    return folder


@pytest.fixture(scope="session")
def serve(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Start a server process; whatever still runs at the end is killed."""
    running: list[Served] = []

    def start(*options: str, code: str = SERVE, **environment: str) -> Served:
        log = tmp_path_factory.mktemp("log") / "stderr"
        running.append(Served(log, "--model", str(tiny), *options, environment=environment, code=code))
        return running[-1]

    yield start
    for served in running:
        if served.process.poll() is None:
            served.stop(9)


@pytest.fixture(scope="session")
def server(serve: Callable[..., Served], tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A server that many tests share; its bodies are bounded by 64 KiB."""
    return serve("--data-dir", str(tmp_path_factory.mktemp("data")), AVF_MAX_BODY_BYTES=str(1 << 16))


@pytest.fixture
def http(server: Served) -> Iterator[httpx.Client]:
    """A client of the shared server."""
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real Redis that many tests share."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture(scope="session")
def observations() -> Callable[..., list[list[float]]]:
    """Draw binary observations, as lists of numbers."""

    def draw(count: int, *, seed: int = 0) -> list[list[float]]:
        drawn: list[list[float]] = np.random.default_rng(seed).integers(0, 2, (count, SIZE)).astype(float).tolist()
        return drawn

    return draw


@pytest.fixture(scope="session")
def offline(tiny: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Filter a sequence with the library alone: the truth that servers are held to."""
    filter = checkpoints.load(tiny).filter

    def run(xs: list[list[float]], *, seed: int, iterations: int | None = None) -> dict[str, np.ndarray]:
        with torch.no_grad():
            belief = filter.initial(torch.tensor([seed]))
            _, estimate = filter.scan(belief, torch.tensor(xs)[:, None], iterations=iterations)
        return {
            "free_energy": estimate.free_energy[:, 0].numpy(),
            "posterior": estimate.posterior.mean[:, 0].numpy(),
            "prediction": estimate.prediction.mean[:, 0].numpy(),
        }

    return run


@pytest.fixture(scope="session")
def offline_all(tiny: Path) -> Callable[..., list[np.ndarray]]:
    """Filter many sequences with the library alone, side by side; the free energies of each, in nats."""
    filter = checkpoints.load(tiny).filter

    def run(runs: list[list[list[float]]], *, seeds: list[int]) -> list[np.ndarray]:
        xs = torch.zeros(max(map(len, runs)), len(runs), SIZE)  # what comes after a sequence does not change it
        for i, each in enumerate(runs):
            xs[: len(each), i] = torch.tensor(each).reshape(-1, SIZE)
        with torch.no_grad():
            _, estimate = filter.scan(filter.initial(torch.tensor(seeds)), xs)
        return [estimate.free_energy[: len(each), i].numpy() for i, each in enumerate(runs)]

    return run


@pytest.fixture(scope="session")
def same(offline: Callable[..., dict[str, np.ndarray]]) -> Callable[..., None]:
    """Assert that a server's estimates are those of the library, to 1e-4."""

    def check(
        estimates: list[dict[str, Any]],
        xs: list[list[float]],
        *,
        seed: int,
        iterations: int | None = None,
    ) -> None:
        truth = offline(xs, seed=seed, iterations=iterations)
        assert [estimate["seq"] for estimate in estimates] == list(range(1, len(xs) + 1))
        found = {
            "free_energy": [estimate["free_energy"] for estimate in estimates],
            "posterior": [estimate["posterior"]["mean"] for estimate in estimates],
            "prediction": [estimate["prediction"]["mean"] for estimate in estimates],
        }
        for name, values in truth.items():
            np.testing.assert_allclose(found[name], values, atol=1e-4, rtol=1e-4, err_msg=name)

    return check


@pytest.fixture
def runtime(tiny: Path, redis_server: EmbeddedRedis) -> Callable[..., Any]:
    """Open a server's parts in this process, without transports, on the shared Redis."""
    from avf_server.runtime import Runtime, open_runtime
    from avf_server.settings import Settings

    @contextlib.asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Runtime]:
        defaults: dict[str, Any] = {
            "redis_url": redis_server.url,
            "models": (str(tiny),),
            "redis_timeout_s": 5.0,
            "threads": 1,
            "max_batch": 8,
        }
        async with open_runtime(Settings(**(defaults | settings))) as runtime:
            yield runtime

    return opened


@pytest.fixture
def open_session() -> Callable[..., Any]:
    """Open a session on a runtime, and return its id."""
    import avf_wire as wire

    async def opened(runtime: Any, **options: Any) -> str:
        request = wire.CreateSession(model="tiny", **({"seed": 1} | options))
        session = await runtime.sessions.create(request, owner="")
        return str(session.id)

    return opened


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Poll a condition to a deadline."""
    return wait_for


@pytest.fixture
def patiently() -> Callable[..., Any]:
    """Run a coroutine, to a deadline."""

    def run(coroutine: Any) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await coroutine

        return asyncio.run(bounded())

    return run


SPEECH = {
    "model": {
        "kind": "srnn",
        "observation_size": 200,
        "latent_size": 4,
        "hidden_size": 8,
        "prior_widths": [8],
        "decoder_widths": [8],
        "likelihood": "discretized",
        "scale": 0.1,
    },
    "inference": {"kind": "iterative", "iterations": 2, "units": 16, "rule": "learned_sgd"},
}


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny checkpoint of sound: 200 samples an observation, 16,000 a second."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("models") / "speech"
    card = {"name": "speech", "data": {"name": "made", "kind": "audio", "options": {"rate": 16000}}}
    checkpoints.save(folder, filter=configuration.build(SPEECH), settings=SPEECH, card=card)
    return folder
