"""What the server's tests share: a tiny model, real server processes, a real Redis, and the offline truth."""

import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from avf_client import Client
from avf_server.stores.embedded import EmbeddedRedis

from avf_core import checkpoints
from tests.support import models
from tests.support.processes import Nursery
from tests.support.servers import Server
from tests.support.waiting import PATIENCE, wait_for

SIZE = 6


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny checkpoint with six binary observations."""
    return models.save(tmp_path_factory.mktemp("models") / "tiny", models.TINY, name="tiny")


@pytest.fixture(scope="session")
def serve(nursery: Nursery, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server process; whatever still runs at the end is killed."""
    running: list[Server] = []

    def start(*options: str, before: str = "", **environment: str) -> Server:
        log = tmp_path_factory.mktemp("log") / "stderr"
        options = ("--model", str(tiny), *options)
        running.append(Server(nursery, *options, log=log, before=before, **environment))
        return running[-1]

    yield start
    for served in running:
        served.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def forgetful(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of `linear` that keeps the belief of one session only in its memory: all others come from the store."""
    folder = models.save(tmp_path_factory.mktemp("models") / "linear", models.GAUSSIAN, name="linear")
    return serve("--model", str(folder), "--data-dir", str(tmp_path_factory.mktemp("data")), AVF_HOT_SESSIONS="1")


@pytest.fixture
def linear_client(forgetful: Server) -> Iterator[Client]:
    """A client of it."""
    with Client(forgetful.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of the shared server."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server], data: Path) -> Server:
    """A server that many tests share; its bodies are bounded by 64 KiB."""
    return serve("--data-dir", str(data), AVF_MAX_BODY_BYTES=str(1 << 16))


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
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


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny checkpoint of sound: 200 samples an observation, 16,000 a second."""
    data = {"name": "made", "kind": "audio", "options": {"rate": 16000}}
    return models.save(tmp_path_factory.mktemp("models") / "speech", models.SPEECH, seed=1, name="speech", data=data)
