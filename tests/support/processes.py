"""Processes that may be killed at any time, and how they are waited for.

The law: a process is known by its id from its start to its end; who waits for one that ends is told so. Futures are
those of threads: `asyncio.wrap_future` makes them those of a loop.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.waiting import PATIENCE

NURSERY = Path(__file__).with_name("nursery.py")
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def clean_environment() -> dict[str, str]:
    """The environment without settings of servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AVF_")}


@dataclass(frozen=True, kw_only=True)
class Process:
    """A child of the nursery. `ready` is what a server said of itself, `ended` the exit code."""

    pid: int
    ready: Future[dict[str, Any]] = field(default_factory=Future)
    ended: Future[int] = field(default_factory=Future)

    @property
    def alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return not self.ended.done()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to a process that has ended, nothing."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


class Nursery:
    """Starts servers and programs, from any thread. A context manager: all of them end with it."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(NURSERY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment() | THREADS | environment,
        )
        self._children: dict[int, Process] = {}
        self._starting: queue.Queue[int] = queue.Queue()
        self._turn = threading.Lock()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        self._starting.get(timeout=PATIENCE)  # it has imported what it needs

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and all that it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE)
        self._listening.join(timeout=PATIENCE)
        self._process.stdout.close()

    def serve(self, *options: str, log: Path, environment: dict[str, str], before: str = "") -> Process:
        """Start `avf serve` with these options; `before` is Python that is run first."""
        request = {"serve": [*options, "--json"], "log": str(log), "environment": environment, "before": before}
        return self._start(request)

    def run(self, *argv: str, log: Path) -> Process:
        """Start a program."""
        return self._start({"run": list(argv), "log": str(log)})

    def _start(self, request: dict[str, Any]) -> Process:
        assert self._process.stdin is not None
        with self._turn:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            return self._children[self._starting.get(timeout=PATIENCE)]

    def _listen(self) -> None:
        """Note what the nursery says, until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "started" in said:
                self._children[said["started"]] = Process(pid=said["started"])
                self._starting.put(said["started"])
            elif "ended" in said:
                _settle(self._children[said["ended"]], said["code"])
            else:
                self._children[said["pid"]].ready.set_result(said)
        for child in self._children.values():
            _settle(child, -signal.SIGKILL)


def _settle(child: Process, code: int) -> None:
    if not child.ended.done():
        child.ended.set_result(code)
    child.ready.cancel()  # which changes nothing where it was ready
