"""Ends tasks for good.

The law: who waits for a task's end gets it. A cancellation may be swallowed on its way by a library that was finishing
a call; it is then sent again.
"""

import asyncio
from typing import Any

AGAIN = 0.05  # seconds


async def end(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task, and wait until it has ended."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN)
