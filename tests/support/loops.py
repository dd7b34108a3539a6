"""An event loop whose time is made up: waiting takes none, and whatever is late is late on purpose."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: the time that it would have waited for has then passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """What is ready."""
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found


class MadeUpTime(asyncio.SelectorEventLoop):
    """A loop that comes to everything on time, but for what `stall` says."""

    def __init__(self) -> None:
        self._made_up = _Selector()
        super().__init__(self._made_up)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._made_up.now

    def stall(self, seconds: float) -> None:
        """The loop did not run for so long, as when another has the processor."""
        self._made_up.now += seconds


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, in made-up time."""
    with asyncio.Runner(loop_factory=MadeUpTime) as runner:
        return runner.run(main)


def stall(seconds: float) -> None:
    """The running loop, which is one of these, did not run for so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MadeUpTime)
    loop.stall(seconds)
