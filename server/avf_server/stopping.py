"""Whether the server is stopping.

The law: it is said once, and heard by everyone at once: no new work begins after it, and who waits for long wakes up.
"""

import asyncio

from avf_server import problems


class Stopping:
    """`begun` is set from the moment on at which new work is refused; `retry_after` is in seconds."""

    def __init__(self, *, retry_after: int) -> None:
        self.begun = asyncio.Event()
        self._retry_after = retry_after

    def check(self) -> None:
        """Raise StoppingError once the server stops."""
        if self.begun.is_set():
            raise self.problem()

    def problem(self) -> problems.ProblemError:
        """What those are told whose work was not begun."""
        return problems.stopping(self._retry_after)
