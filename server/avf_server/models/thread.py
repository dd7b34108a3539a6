"""The one thread that runs models: the event loop never does."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Result = TypeVar("Result")


class ModelThread:
    """`threads` is how many torch may use inside; 0 means half of the cores."""

    def __init__(self, *, threads: int) -> None:
        self._aside = asyncio.Lock()
        self._thread = ThreadPoolExecutor(
            1, "avf-engine", torch.set_num_threads, (threads or max(1, (os.cpu_count() or 2) // 2),)
        )

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do this next."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def aside(self, work: Callable[[], Result]) -> Result:
        """Do other work, one such piece at a time, so that ticks get in between."""
        async with self._aside:
            return await self.run(work)

    def close(self) -> None:
        """End after the work that it is at."""
        self._thread.shutdown()
