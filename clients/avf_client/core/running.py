"""What a run of a stream decides, whoever carries its bytes: no I/O. Each face has its `streaming`.

The law: an error of the source ends the run after the estimates of all that came before it; an error of the network
is survived as `retries` says; the session's place follows the estimates that came.
"""

import random
from collections.abc import Iterable

from avf_wire.rows import RowForm

from avf_client.core.protocol import Incoming
from avf_client.core.retries import Retry, is_busy, may_reconnect
from avf_client.core.session import SessionCore, StreamOptions
from avf_client.errors import AvfClientError
from avf_client.observations import StepLike
from avf_client.results.estimates import Summary, from_answer


class Run:
    """One stream of observations through a session."""

    def __init__(self, core: SessionCore, retry: Retry, options: StreamOptions) -> None:
        self.machine = core.machine(options)
        self.options = options
        self.source_error: Exception | None = None
        self._core = core
        self._retry = retry
        self._failures = 0  # in a row, without progress
        self._began: float | None = None  # when the first of them was, in seconds

    @property
    def session_id(self) -> str:
        """The session that is streamed through."""
        return self.machine.session

    @property
    def form(self) -> RowForm:
        """What the session takes with each observation."""
        return self._core.form

    def pieces(self, xs: Iterable[StepLike]) -> Iterable[StepLike]:
        """The source as pieces to take."""
        return self._core.pieces(xs)

    def hear(self, message: Incoming) -> Summary | None:
        """Take what the server said; gives the estimate where it brings a new one."""
        before = self.machine.acknowledged
        answer = self.machine.receive(message)
        if self.machine.acknowledged > before:
            self._failures, self._began = 0, None
            self._core.follow(self.machine)
        return None if answer is None else from_answer(answer)

    def take(self, x: StepLike) -> None:
        """Take a step, or samples, of the source; what does not fit is an error of the source."""
        try:
            self._core.offer(self.machine, x)
        except AvfClientError as error:
            self.source_failed(error)

    def source_failed(self, error: Exception) -> None:
        """The source raised: no more will come of it."""
        self.source_error = error
        self.machine.finish()

    def lost(self, error: AvfClientError, *, now: float) -> float:
        """The connection is gone: seconds to wait before the next one. Raises `error` where there shall be none."""
        self.machine.disconnected()
        if self.machine.done:
            return 0.0
        self._failures += 1
        delay = None
        if may_reconnect(error):
            self._began = now if self._began is None else self._began
            elapsed, busy = now - self._began, is_busy(error)
            delay = self._retry.delay(self._failures, chance=random.random(), elapsed=elapsed, busy=busy)
        if delay is None:
            raise error
        return delay

    def leave(self) -> None:
        """The run is over, done or not: the session's place is the first observation not answered."""
        if not self.machine.done:
            self.machine.abandon()
        self._core.follow(self.machine)
