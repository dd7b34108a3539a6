"""When to try again, and after how long: pure decisions, no clock and no I/O.

The law: a request is repeated only where that cannot apply anything twice. Reads, ends and steps are safe (a step
carries its `seq`); others are repeated only where they never reached the server, or were refused with a 503.
"""

from dataclasses import dataclass

from avf_client.errors import AvfClientError, ConnectionFailed, ProblemError, name_of

BUSY = frozenset({"overloaded", "store-unavailable", "stopping"})
"""Problems that pass by themselves, and that say that nothing was applied."""


class NeverSent(ConnectionFailed):
    """No connection could be made: the request never reached the server."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often, and after how long, to try again: exponential back-off with full jitter.

    attempts  tries in a row without progress, the first included
    first     seconds before the second try, at most; doubles each time
    most      seconds, the longest wait
    """

    attempts: int = 6
    first: float = 0.2
    most: float = 5.0

    def delay(self, failures: int, *, chance: float, retry_after: float | None = None) -> float | None:
        """Seconds to wait after this many failures in a row, or None to give up. `chance` is uniform in [0, 1)."""
        if failures >= self.attempts:
            return None
        ceiling = min(self.most, self.first * 2.0 ** (failures - 1))
        jittered = ceiling * (0.5 + 0.5 * chance)
        return jittered if retry_after is None else max(jittered, min(retry_after, self.most))


def may_repeat(error: AvfClientError, *, idempotent: bool) -> bool:
    """Whether an HTTP request that failed so may be sent again."""
    if isinstance(error, NeverSent):
        return True
    if isinstance(error, ConnectionFailed):
        return idempotent
    if isinstance(error, ProblemError):
        name = name_of(error.problem)
        return name in BUSY or (idempotent and (name == "session-moved" or error.problem.status in (502, 503, 504)))
    return False


def may_reconnect(error: AvfClientError) -> bool:
    """Whether a stream that failed so may go on by a new connection.

    Not after `session-moved`: two clients that take the session from each other would never end.
    """
    return isinstance(error, ConnectionFailed) or (isinstance(error, ProblemError) and name_of(error.problem) in BUSY)
