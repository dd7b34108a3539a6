"""What all tests share: where the real data is, and which tests what is missing here kept from running."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import pytest

from tests.support import parsing
from tests.support.processes import Nursery
from tests.support.servers import Server

BESIDE = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Hear Ctrl-C, also where the shell that started this ignores it, as do programs under test; parse in turns."""
    parsing.in_turns()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count, by name, the tests that missing data, or a missing browser, kept from running."""
    for reason, remedy in (("real data", "set AVF_DATA"), ("Chromium", "apt-get install chromium")):
        skipped = [r.nodeid for r in terminalreporter.stats.get("skipped", []) if reason in str(r.longrepr)]
        if skipped:
            terminalreporter.write_line(f"{len(skipped)} tests need {reason} ({remedy}): {', '.join(skipped)}")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data: $AVF_DATA, or shared/data beside the project; the test is skipped without it."""
    folder = Path(os.environ.get("AVF_DATA", BESIDE))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set AVF_DATA")
    return folder


@pytest.fixture(scope="module")
def shapes_unchecked() -> Iterator[None]:
    """For modules of very many small steps: shapes are checked elsewhere, and that costs half the time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where servers come from."""
    with Nursery() as made:
        yield made


@pytest.fixture(scope="session")
def start(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Server]:
    """Start a server of these models, with a Redis of its own where none is named; who starts it stops it."""

    def started(*models: Path | str, **environment: str) -> Server:
        data = tmp_path_factory.mktemp("data")
        options = [part for model in models for part in ("--model", str(model))]
        return Server(nursery, "--data-dir", str(data), *options, log=data.with_suffix(".log"), **environment)

    return started


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """What runs tests that are coroutines: asyncio, as the product does."""
    return "asyncio"
