"""Real parts for the client's tests: a tiny checkpoint, a real server, and a proxy that cuts connections."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from avf_core import checkpoints, configuration

NURSERY = Path(__file__).parents[1] / "chaos" / "nursery.py"
TINY = {
    "model": {
        "kind": "srnn",
        "observation_size": 88,
        "latent_size": 4,
        "hidden_size": 8,
        "prior_widths": [8],
        "decoder_widths": [8],
    },
    "inference": {"kind": "iterative", "iterations": 2, "units": 16, "rule": "learned_sgd"},
}
GAUSSIAN = {
    "model": {"kind": "lgssm", "latent_size": 2, "observation_size": 3},
    "inference": {"kind": "iterative", "iterations": 1, "units": 8, "rule": "learned_sgd"},
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny music model, untrained."""
    return _saved(tmp_path_factory.mktemp("zoo") / "tiny", TINY)


@pytest.fixture(scope="session")
def gaussian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of three real numbers."""
    return _saved(tmp_path_factory.mktemp("zoo") / "gaussian", GAUSSIAN)


def _saved(folder: Path, settings: dict[str, dict[str, object]]) -> Path:
    torch.manual_seed(0)
    checkpoints.save(folder, filter=configuration.build(settings), settings=settings, card={})
    return folder


@pytest.fixture(scope="session")
def nursery() -> Iterator["Nursery"]:
    """Where servers come from."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="session")
def server(
    nursery: "Nursery", checkpoint: Path, gaussian: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a real server of both models, with a Redis of its own."""
    running = Server(nursery, tmp_path_factory.mktemp("data"), [checkpoint, gaussian])
    yield running.url
    assert running.stop(signal.SIGTERM) == 0


@pytest.fixture
def own_server(nursery: "Nursery", checkpoint: Path, tmp_path: Path) -> Iterator["Server"]:
    """A server of the tiny music model that a test may stop and start."""
    running = Server(nursery, tmp_path / "data", [checkpoint])
    yield running
    running.stop(signal.SIGTERM)


class Nursery:
    """A process that has imported the server once; each server is a fork of it (tests/chaos/nursery.py)."""

    def __init__(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AVF_")}
        self._process = subprocess.Popen(
            [sys.executable, str(NURSERY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**clean, "OMP_NUM_THREADS": "1"},
        )
        self._codes: dict[int, int] = {}
        self._hear()  # it has imported what it needs

    def serve(self, options: list[str], *, log: Path, environment: dict[str, str]) -> tuple[int, str]:
        """Start `avf serve` with these options; gives its process id and its address, once it is ready."""
        request = {"serve": [*options, "--json"], "log": str(log), "environment": environment}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        pid = self._hear()["started"]
        while pid not in self._codes:
            said = self._hear()
            if said.get("pid") == pid:
                return pid, said["server_url"]
        raise AssertionError(f"the server ended with {self._codes[pid]}: {log.read_text()}")

    def wait(self, pid: int) -> int:
        """The exit code of a server, once it has ended."""
        while pid not in self._codes:
            self._hear()
        return self._codes[pid]

    def close(self) -> None:
        """End it, and all servers that are left."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the nursery ended with {self._process.wait()}"
        said: dict[str, Any] = json.loads(line)
        if "ended" in said:
            self._codes[said["ended"]] = said["code"]
        return said


class Server:
    """`avf serve` as a process, which can be stopped and started again at the same address over the same data."""

    def __init__(self, nursery: Nursery, data: Path, models: list[Path], **settings: str) -> None:
        self._nursery = nursery
        self._data = data
        self._settings = {f"AVF_{name.upper()}": value for name, value in settings.items()}
        self._models = models
        self.url = "http://127.0.0.1:0"
        self.start()

    def start(self) -> None:
        """Start, and wait until it is ready."""
        models = [part for model in self._models for part in ("--model", str(model))]
        options = ["--port", self.url.rpartition(":")[2], "--data-dir", str(self._data), *models]
        log = self._data.with_suffix(".log")
        self._pid, self.url = self._nursery.serve(options, log=log, environment=self._settings)

    def stop(self, how: signal.Signals) -> int:
        """Stop it by a signal; gives its exit code."""
        os.kill(self._pid, how)
        return self._nursery.wait(self._pid)


@pytest.fixture
def proxy(server: str) -> Iterator[Callable[[list[int]], "CuttingProxy"]]:
    """Makes proxies before the server; ended after the test."""
    made: list[CuttingProxy] = []

    def make(cuts: list[int]) -> CuttingProxy:
        made.append(CuttingProxy(server, cuts))
        return made[-1]

    yield make
    for one in made:
        one.close()


class CuttingProxy:
    """A TCP proxy: connection i is cut once `cuts[i]` bytes have come from the server; later ones are left alone.

    A negative number counts the bytes that have come from the client.
    """

    def __init__(self, target: str, cuts: list[int]) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._cuts = list(cuts)
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            budget = self._cuts[self.connections] if self.connections < len(self._cuts) else None
            self.connections += 1
            self._open += [near, far]
            up = None if budget is None or budget >= 0 else -budget
            down = None if budget is None or budget < 0 else budget
            for source, sink, left in ((near, far, up), (far, near, down)):
                thread = threading.Thread(target=_pump, args=(source, sink, left))
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """End all connections and threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for one in self._open:
            _end(one)
        for thread in self._threads[1:]:
            thread.join()
        for one in self._open:
            one.close()


def _pump(source: socket.socket, sink: socket.socket, left: int | None) -> None:
    try:
        while left is None or left > 0:
            data = source.recv(65536 if left is None else min(65536, left))
            if not data:
                break
            sink.sendall(data)
            left = None if left is None else left - len(data)
    except OSError:
        pass
    _end(source)
    _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
