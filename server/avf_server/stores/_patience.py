"""How long a call to Redis may take, in time in which this process was there to hear the answer.

The law: a call fails where Redis is late, not where we are. A machine that is busy, with our own work or with others',
keeps the event loop from running, and an answer that came long ago from being read; it keeps Redis waiting in the same
way. So time is counted in beats: however late the loop comes to a beat, no more than one has passed; and none, where
Redis is known to have waited for a processor. A loop that is on time counts seconds.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType

BEAT = 0.01  # seconds
WONDER = 0.2  # of a call's time, after which it is asked whether Redis is kept from running


class Attention:
    """A clock that goes on by a beat at a time, at most. `late` is told how late each beat was, in seconds."""

    def __init__(self, late: Callable[[float], None] = lambda seconds: None) -> None:
        self._late = late
        self._last = 0.0
        self.seconds = 0.0

    def begin(self, now: float) -> None:
        """From now on there is a beat every BEAT seconds, or later."""
        self._last = now

    def beat(self, now: float, *, counts: bool = True) -> None:
        """The loop is here. Time that does not count does not pass."""
        passed, self._last = now - self._last, now
        self.seconds += min(max(0.0, passed), BEAT) if counts else 0.0
        self._late(max(0.0, passed - BEAT))


class Patience:
    """Time-outs of `seconds` by such a clock, which beats while any call is under way.

    `kept` says, of the time since it was last asked, whether Redis was kept from running; it is asked when one waits.
    """

    def __init__(
        self,
        seconds: float,
        attention: Attention | None = None,
        *,
        kept: Callable[[float], bool] = lambda now: False,
    ) -> None:
        self._seconds = seconds
        self._kept = kept
        self._attention = attention or Attention()
        self._calls: dict[asyncio.Timeout, float] = {}  # until when by that clock; the soonest first
        self._timer: asyncio.TimerHandle | None = None

    def limit(self) -> "_Limit":
        """A context that raises TimeoutError where what is done inside takes longer."""
        return _Limit(self)

    def begin(self, scope: asyncio.Timeout) -> None:
        """A call is under way from now on."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._attention.begin(loop.time())
            self._timer = loop.call_later(BEAT, self._beat, loop)
        self._calls[scope] = self._attention.seconds + self._seconds

    def end(self, scope: asyncio.Timeout) -> None:
        """It is no longer."""
        self._calls.pop(scope, None)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if not self._calls:
            return
        now = loop.time()
        left = next(iter(self._calls.values())) - self._attention.seconds
        waits = left < (1.0 - WONDER) * self._seconds
        self._attention.beat(now, counts=not (waits and self._kept(now)))
        for scope, until in list(self._calls.items()):
            if until > self._attention.seconds:
                break
            del self._calls[scope]
            scope.reschedule(now)
        self._timer = loop.call_later(BEAT, self._beat, loop)


class _Limit:
    """A call within its time. There is one at every step: as a class it costs half of what a generator would."""

    __slots__ = ("_patience", "_scope")

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._scope = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        self._patience.begin(self._scope)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patience.end(self._scope)
        await self._scope.__aexit__(kind, error, trace)  # which lets no error go by, and may raise TimeoutError for one
