"""When to try again, and after how long: pure decisions, no clock and no I/O.

The law: a request is repeated only where that cannot apply anything twice. Reads, ends and steps are safe (a step
carries its `seq`); others are repeated only where they never reached the server, or were refused by one of the problems
that say that nothing was applied. Each problem of status 503 stands in one of the two sets below; a test compares.
"""

from dataclasses import dataclass

from avf_client.errors import AvfClientError, ConnectionFailed, ProblemError, name_of

BUSY = frozenset({"overloaded", "store-unavailable", "stopping"})
"""Problems that pass by themselves, and that say that nothing was applied."""
HELD = frozenset({"not-replicated"})
"""Problems that pass by themselves, of steps that were applied: the same again gives the reply, once there is one."""


class NeverSent(ConnectionFailed):
    """No connection could be made: the request never reached the server."""


class Lagging(ConnectionFailed):
    """The server has lost answered observations that it had not saved, and the client still has them."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often, and after how long, to try again: exponential back-off with full jitter.

    attempts  tries in a row without progress, the first included; a stream whose server answers that it is busy tries
              for as long as `total` says, unless there shall be one try only
    first     seconds before the second try, at most; doubles each time
    most      seconds, the longest wait
    total     seconds for all tries of one call together, or for a stream without progress; None for no end
    """

    attempts: int = 8
    first: float = 0.2
    most: float = 5.0
    total: float | None = 60.0

    def delay(
        self,
        failures: int,
        *,
        chance: float,
        retry_after: float | None = None,
        elapsed: float = 0.0,
        busy: bool = False,
    ) -> float | None:
        """Seconds to wait after this many failures in a row, or None to give up. `chance` is uniform in [0, 1).

        retry_after  what the server asked for: the jitter is added to it, so that clients don't come back together
        elapsed      seconds since the first try
        busy         whether the server answers, and says that this passes by itself: then tries are not counted
        """
        if failures >= self.attempts and not (busy and self.attempts > 1):
            return None
        jittered = chance * min(self.most, self.first * 2.0 ** min(failures - 1, 32))
        wait = jittered + min(retry_after or 0.0, self.most)
        return None if self.total is not None and elapsed + wait > self.total else wait


class Tries:
    """The tries of one call: when to give up, and how long each may take. No clock: `now` is passed in, in seconds."""

    def __init__(self, retry: Retry, *, now: float) -> None:
        self._retry = retry
        self._start = now
        self._failures = 0

    def limit(self, timeout: float, *, now: float) -> float:
        """Seconds that the next answer may take: `timeout`, or what is left of all."""
        if self._retry.total is None:
            return timeout
        return max(0.001, min(timeout, self._start + self._retry.total - now))

    def failed(
        self, error: AvfClientError, *, idempotent: bool, now: float, chance: float, retry_after: float | None
    ) -> float:
        """Seconds to wait before the next try. Raises `error` where there shall be none."""
        self._failures += 1
        delay = None
        if may_repeat(error, idempotent=idempotent):
            elapsed = now - self._start
            delay = self._retry.delay(self._failures, chance=chance, retry_after=retry_after, elapsed=elapsed)
        if delay is None:
            raise error
        return delay


def may_repeat(error: AvfClientError, *, idempotent: bool) -> bool:
    """Whether an HTTP request that failed so may be sent again."""
    if isinstance(error, NeverSent):
        return True
    if isinstance(error, ConnectionFailed):
        return idempotent
    if isinstance(error, ProblemError):
        name, status = name_of(error.problem), error.problem.status
        if name in BUSY and status == 503:
            return True
        # 502 and 504 are a gateway's, which does not know what the server did; other 503s, of a newer server
        return idempotent and (name in HELD or name == "session-moved" or status in (502, 503, 504))
    return False


def is_busy(error: AvfClientError) -> bool:
    """Whether a server answered that what it could not do now passes by itself."""
    return isinstance(error, ProblemError) and name_of(error.problem) in BUSY | HELD


def may_reconnect(error: AvfClientError) -> bool:
    """Whether a stream that failed so may go on by a new connection.

    Not after `session-moved`: two clients that take the session from each other would never end.
    """
    return is_busy(error) or isinstance(error, ConnectionFailed)
