"""Real parts for the client's tests: tiny checkpoints, a real server, and a proxy that cuts connections."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import models
from tests.support.proxies import CuttingProxy
from tests.support.servers import Server


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny music model, untrained."""
    return models.save(tmp_path_factory.mktemp("zoo") / "tiny", models.KEYS)


@pytest.fixture(scope="session")
def gaussian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of three real numbers."""
    return models.save(tmp_path_factory.mktemp("zoo") / "gaussian", models.GAUSSIAN)


@pytest.fixture(scope="session")
def server(start: Callable[..., Server], checkpoint: Path, gaussian: Path) -> Iterator[str]:
    """The address of a real server of both models."""
    running = start(checkpoint, gaussian)
    yield running.url
    assert running.stop() == 0


@pytest.fixture
def own_server(start: Callable[..., Server], checkpoint: Path) -> Iterator[Server]:
    """A server of the tiny music model that a test may stop and start."""
    running = start(checkpoint)
    yield running
    running.stop()


@pytest.fixture
def proxy(server: str) -> Iterator[Callable[[list[int]], CuttingProxy]]:
    """Makes proxies before the server; ended after the test."""
    made: list[CuttingProxy] = []

    def make(cuts: list[int]) -> CuttingProxy:
        made.append(CuttingProxy(server, cuts))
        return made[-1]

    yield make
    for one in made:
        one.close()
