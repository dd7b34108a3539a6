"""Starts the embedded Redis again whenever it has died, for as long as the server lives.

The laws: it never gives up, and tries less often while that does not help; why it does not help is in the log, once for
each reason, and in `reason`, for those who ask how the server is.
"""

import asyncio
import logging

from avf_server.problems import StartError
from avf_server.stores.embedded import EmbeddedRedis

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0  # seconds between looks, and tries; doubled by each that did not help
STEADY = 10.0  # seconds after which a Redis that was started has come to stay


class Keeper:
    """Looks after the embedded Redis at `url`. `reason` says why it is not there; None while it is."""

    def __init__(self, redis: EmbeddedRedis) -> None:
        self.url = redis.url
        self.reason: str | None = None
        self._redis = redis
        self.pause = FIRST_PAUSE
        self._began = float("-inf")  # when it was last started again
        self._started = True  # whether it ran at all since the last look

    async def run(self) -> None:
        """Look after it for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self.pause)
            self.look(clock())

    def look(self, now: float) -> None:
        """Start it again where it has died."""
        if self._redis.pid is not None:
            if now - self._began >= STEADY:
                self.pause, self.reason = FIRST_PAUSE, None
            return
        if self._started:
            self._failed(self._redis.last_words() or "it has died")
        if not self._started or now - self._began < STEADY:  # what was done last did not help
            self.pause = min(2 * self.pause, LONGEST_PAUSE)
        self._started = False
        try:
            self._redis.revive()
        except (StartError, OSError) as error:
            self._failed(str(error))
        else:
            self._started, self._began = True, now
            logger.info("the embedded Redis is started again")

    def _failed(self, reason: str) -> None:
        if reason != self.reason:
            logger.error("the embedded Redis does not run: %s", reason)
        self.reason = reason
