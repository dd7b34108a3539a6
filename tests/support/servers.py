"""`avf serve` as a process of its own, in a fraction of a second."""

import signal
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from tests.support.processes import Nursery, Process
from tests.support.waiting import PATIENCE

DEFAULTS = {"AVF_REDIS_TIMEOUT_S": "5", "AVF_THREADS": "1"}


class Server:
    """A server that is up, and can be stopped and started again at the same address over the same data."""

    process: Process
    ready: dict[str, Any]  # what it said of itself
    port = 0

    def __init__(self, nursery: Nursery, *options: str, log: Path, before: str = "", **environment: str) -> None:
        self._nursery = nursery
        self._options = options
        self._environment = DEFAULTS | environment
        self._before = before
        self.log = log
        self.start()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        options = [*self._options, "--port", str(self.port)]
        self.process = self._nursery.serve(*options, log=self.log, environment=self._environment, before=self._before)
        try:
            self.ready = self.process.ready.result(PATIENCE)
        except CancelledError:
            code = self.process.ended.result()
            raise AssertionError(f"the server ended with {code}: {self.log.read_text()}") from None
        self.url: str = self.ready["server_url"]
        self.ws = self.url.replace("http://", "ws://")
        self.port = int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send(number)

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        return self.process.ended.result(PATIENCE)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.send(number)
        return self.wait()
