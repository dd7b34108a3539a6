"""Ends tasks for good.

The law: who is cancelled ends. Until Python 3.12 `asyncio.wait_for` swallows a cancellation that comes when what it
waits for is just done (python/cpython#86296), and redis-py sends every command with it: the task would go on as if
nobody had asked. `cancellable` sees to it that such a cancellation is late by one call, and not lost.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
