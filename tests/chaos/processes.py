"""Processes that may be killed at any time, and how they are waited for.

The law: a process is known by its id from its start to its end; who waits for one that ends is told so.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NURSERY = Path(__file__).with_name("nursery.py")
PATIENCE = 60.0  # seconds after which a start has failed, on a machine with other work


@dataclass(frozen=True, kw_only=True)
class Process:
    """A child of the nursery. `ready` is what a server said of itself, `ended` the exit code."""

    pid: int
    ready: asyncio.Future[dict[str, Any]] = field(default_factory=asyncio.Future)
    ended: asyncio.Future[int] = field(default_factory=asyncio.Future)

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
    """Starts servers and programs. An asynchronous context manager: all of them end with it."""

    def __init__(self) -> None:
        self._children: dict[int, Process] = {}
        self._starting: asyncio.Queue[int] = asyncio.Queue()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> "Nursery":
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AVF_")}
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", str(NURSERY)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=clean | one_thread,
        )
        self._listening = asyncio.create_task(self._listen())
        async with asyncio.timeout(PATIENCE):
            await self._starting.get()
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    async def serve(self, *options: str, log: Path, environment: dict[str, str]) -> Process:
        """Start `avf serve` with these options."""
        return await self._start({"serve": [*options, "--json"], "log": str(log), "environment": environment})

    async def run(self, *argv: str, log: Path) -> Process:
        """Start a program."""
        return await self._start({"run": list(argv), "log": str(log)})

    async def _start(self, request: dict[str, Any]) -> Process:
        assert self._process.stdin is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            async with asyncio.timeout(PATIENCE):
                return self._children[await self._starting.get()]

    async def _listen(self) -> None:
        """Note what the nursery says, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "started" in said:
                self._children[said["started"]] = Process(pid=said["started"])
                self._starting.put_nowait(said["started"])
            elif "ended" in said:
                _settle(self._children[said["ended"]], said["code"])
            else:
                self._children[said["pid"]].ready.set_result(said)
        for child in self._children.values():
            _settle(child, -signal.SIGKILL)


def _settle(child: Process, code: int) -> None:
    if not child.ended.done():
        child.ended.set_result(code)
    if not child.ready.done():
        child.ready.cancel()
