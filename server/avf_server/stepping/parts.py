"""Parts of ticks that go on beside the next tick: loads and commits.

The law: a part that fails answers its frames and no others, and no session is held by it; whoever stops ends all parts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from avf_server import problems
from avf_server.problems import ProblemError
from avf_server.stepping.rows import Frame
from avf_server.stopping import Stopping

logger = logging.getLogger(__name__)


class Parts:
    """`release` answers frames with a problem, and lets go of their sessions."""

    def __init__(self, release: Callable[[Sequence[Frame], ProblemError], None], stopping: Stopping) -> None:
        self._release = release
        self._stopping = stopping
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def tasks(self) -> list["asyncio.Task[None]"]:
        """Those that are under way."""
        return list(self._tasks)

    def begin(self, part: Callable[[], Awaitable[None]], frames: Sequence[Frame]) -> "asyncio.Task[None]":
        """Begin a part of a tick, of these frames."""
        task = asyncio.create_task(self._guarded(part, frames), name="part of a tick")
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, frames))
        return task

    def _ended(self, task: "asyncio.Task[None]", frames: Sequence[Frame]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # which may be before it began
            self._release(frames, self._stopping.problem())

    async def _guarded(self, part: Callable[[], Awaitable[None]], frames: Sequence[Frame]) -> None:
        try:
            await part()
        except Exception:
            logger.exception("a part of a tick, of %d observations, failed", len(frames))
            self._release(frames, problems.internal())
