"""The one thread that runs models; the event loop does where that is shorter than to wake the thread, and nobody waits.

The law: work is done one piece at a time, in the order in which it was asked for, and whoever asked is told on its own
loop; one who has left is told nothing. A tick is handed over and back with one wake-up each way, which is half of what
an executor takes.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")

_Asked = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class ModelThread:
    """`threads` is how many torch may use inside; 0 means half of the cores."""

    def __init__(self, *, threads: int) -> None:
        self._aside = asyncio.Lock()
        self._inside = threads or max(1, (os.cpu_count() or 2) // 2)
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._open: set[asyncio.Future[Any]] = set()  # of those who asked: what is not done yet
        self._working = threading.Lock()
        self._limited = threading.local()  # whether torch was told how many threads it may use

    async def run(self, work: Callable[[], Result], *, here: bool = False) -> Result:
        """Do this next; `here`: by who asks, where nothing else is under way or waits."""
        if here and not self._open and self._working.acquire(blocking=False):
            try:
                self._limit()
                return work()
            finally:
                self._working.release()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="avf-engine", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._open.add(answer)
        self._asked.put((work, answer, loop))
        return await answer

    async def aside(self, work: Callable[[], Result]) -> Result:
        """Do other work, one such piece at a time, so that ticks get in between."""
        async with self._aside:
            return await self.run(work)

    def close(self) -> None:
        """End after the work that it was asked for."""
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join()

    def _limit(self) -> None:
        if not getattr(self._limited, "done", False):
            torch.set_num_threads(self._inside)
            self._limited.done = True

    def _serve(self) -> None:
        self._limit()
        while (asked := self._asked.get()) is not None:
            work, answer, loop = asked
            result, error = None, None
            try:
                with self._working:
                    result = None if answer.cancelled() else work()  # who has left before it began wants none of it
            except BaseException as raised:  # whatever it is, it is told to whoever asked
                error = raised
            self._open.discard(answer)
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(_tell, answer, result, error)
            del asked, work, answer, result, error  # what was asked for is not held until something else is


def _tell(answer: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
