"""What a run of a stream decides, whoever carries its bytes: no I/O. `streaming` and `aio` are its two faces.

The law: an error of the source ends the run after the estimates of all that came before it; an error of the network
is survived as `retries` says; the session's place follows the estimates that came.
"""

import random

from avf_client import wire
from avf_client.errors import AvfClientError
from avf_client.estimates import Estimate, from_wire
from avf_client.observations import ObservationLike
from avf_client.retries import Retry, may_reconnect
from avf_client.session import SessionCore


class Run:
    """One stream of observations through a session."""

    def __init__(self, core: SessionCore, retry: Retry, *, in_flight: int | None) -> None:
        self.machine = core.machine(in_flight)
        self.source_error: Exception | None = None
        self._core = core
        self._retry = retry
        self._failures = 0  # in a row, without progress

    @property
    def session_id(self) -> str:
        """The session that is streamed through."""
        return self.machine.session

    def hear(self, message: wire.ServerMessage) -> Estimate | None:
        """Take what the server said; gives the estimate where it brings a new one."""
        estimate = self.machine.receive(message)
        if estimate is None:
            return None
        self._failures = 0
        self._core.follow(self.machine)
        return from_wire(estimate)

    def take(self, x: ObservationLike) -> None:
        """Take an observation of the source; one that does not fit is an error of the source."""
        try:
            self.machine.offer(self._core.observation(x))
        except AvfClientError as error:
            self.source_failed(error)

    def source_failed(self, error: Exception) -> None:
        """The source raised: no more will come of it."""
        self.source_error = error
        self.machine.finish()

    def lost(self, error: AvfClientError) -> float:
        """The connection is gone: seconds to wait before the next one. Raises `error` where there shall be none."""
        self.machine.disconnected()
        if self.machine.done:
            return 0.0
        self._failures += 1
        delay = self._retry.delay(self._failures, chance=random.random()) if may_reconnect(error) else None
        if delay is None:
            raise error
        return delay

    def leave(self) -> None:
        """The run is over, done or not: the session's place is the first observation not answered."""
        if not self.machine.done:
            self.machine.abandon()
        self._core.follow(self.machine)
