"""Tasks that live as long as the server: they come back whatever ends them, and end for good when they are told to.

The laws: a long-lived task never ends on an error that nobody sees: `Supervisor` logs it with its traceback, counts it,
and begins again, later each time; `/health/ready` shows it. And who is cancelled ends: until Python 3.12
`asyncio.wait_for` swallows a cancellation that comes when what it waits for is just done (python/cpython#86296), and
redis-py sends every command with it, so that the task would go on as if nobody had asked. `cancellable` sees to it that
such a cancellation is late by one call, and not lost.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds until a task that failed begins again: doubled each time
STEADY = 10.0  # seconds after which a failure counts as the first one again


@dataclass
class Health:
    """How a task fares: how often it has failed, and why it waits to begin again; None while it runs."""

    failures: int = 0
    down: str | None = None


class Supervisor:
    """Runs long-lived tasks. `failed` is told the name of each that failed."""

    def __init__(self, failed: Callable[[str], None] | None = None) -> None:
        self._failed = failed
        self.tasks: dict[str, Health] = {}

    def start(self, name: str, body: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        """Run `body` until it returns or is cancelled, again after each error."""
        health = self.tasks.setdefault(name, Health())
        return asyncio.create_task(self._run(name, body, health), name=name)

    def down(self) -> dict[str, str]:
        """The tasks that wait to begin again, and why."""
        return {name: health.down for name, health in self.tasks.items() if health.down is not None}

    async def _run(self, name: str, body: Callable[[], Awaitable[None]], health: Health) -> None:
        clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
        while True:
            began = clock()
            try:
                return await body()
            except Exception as error:
                pause = FIRST_PAUSE if clock() - began > STEADY else pause
                logger.exception("the task %s failed, and begins again in %g seconds", name, pause)
                health.failures += 1
                health.down = type(error).__name__
            if self._failed is not None:
                self._failed(name)
            try:
                await asyncio.sleep(pause)
            finally:
                health.down = None
            pause = min(2 * pause, LONGEST_PAUSE)


async def end(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task, and wait until it has ended."""
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task])


@contextmanager
def cancellable() -> Iterator[None]:
    """Raise CancelledError at the end where this task was cancelled inside, and it was not raised."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        yield
    except Exception as error:
        if task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task.cancelling() > before:
        raise asyncio.CancelledError
