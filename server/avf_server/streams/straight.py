"""Single observations, straight from their socket to the queue, and answers straight back: no task wakes for them.

The laws: they go so where all that is under way on their stream does, one after another: one that comes while another
is under way waits here for its turn, so that a client that is late stays on the short way. What comes after them and is
the conversation's waits for them. So the order is that of the conversation. Whatever is no single observation, and what
is not answered by an estimate that can be written at once, is the conversation's, with all that waits behind it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from avf_wire import binary
from avf_wire.rows import RowForm

from avf_server import problems
from avf_server.problems import ProblemError
from avf_server.stepping.replies import Reply
from avf_server.stepping.runs import Run
from avf_server.streams.dialects import Observations
from avf_server.streams.flow import Credit
from avf_server.streams.sockets import BoundedSocket

Handed = tuple[Reply | ProblemError | Observations, int, float | None]
"""What is the conversation's: with its cost in credit, and when it came, where it is yet to be offered."""


class Straight:
    """The way of a stream of avf.v1.bin that asks for the estimate of each observation.

    `idle` says whether the conversation waits for something to do; it is handed what is its own.
    """

    def __init__(
        self,
        socket: BoundedSocket,
        run: Run,
        form: RowForm,
        credit: Credit,
        *,
        arrays: bool,
        idle: Callable[[], bool],
        hand: Callable[[Handed], None],
    ) -> None:
        self._socket = socket
        self._run = run
        self._form = form
        self._words = form.words
        self._credit = credit
        self._arrays = arrays
        self._idle = idle
        self._hand = hand
        self._clock = asyncio.get_running_loop().time
        self._answer: asyncio.Future[Reply] | None = None
        self._seq = 0
        self._waiting: deque[tuple[int, Any, float]] = deque()  # seq, row, and when it came
        self._stopped = False  # whether what comes now is the conversation's, which waits for those before
        socket.straight = self.take

    def close(self) -> None:
        """Nothing more goes this way; what is under way is not waited for."""
        self._socket.straight = None
        self._waiting.clear()
        if self._answer is not None:
            self._answer.cancel()

    async def passed(self) -> list[Handed]:
        """Return once nothing is under way here; what became the conversation's meanwhile, and comes first."""
        found: list[Handed] = []
        hand, self._hand, self._stopped = self._hand, found.append, True
        try:
            while self._answer is not None:
                await asyncio.wait([self._answer])
        finally:
            self._hand, self._stopped = hand, False
        return found

    def take(self, data: bytes) -> bool:
        """Take a message; False where it is the conversation's."""
        own = len(self._waiting) + (self._answer is not None)
        if self._stopped or self._credit.under_way != own or not (self._credit.free and self._idle()):
            return False
        found = binary.one_observation(data, words=self._words)
        if found is None:
            return False
        if self._answer is not None:
            self._waiting.append((*found, self._clock()))
        elif not self._offered(*found):
            return False
        self._credit.take_one()
        return True

    def _offered(self, seq: int, row: Any, came: float | None = None) -> bool:
        """Whether an observation is on its way, or its problem on the way of the conversation."""
        try:
            answer = self._run.offer(seq, self._form.observed(row), came=came, told=self._heard)
        except (problems.StoppingError, problems.UnknownSessionError):
            return False
        except ProblemError as problem:
            self._hand((self._run.heard(seq, problem), 1, None))
            return True
        if answer is None:
            return False
        self._answer, self._seq = answer, seq
        return True

    def _heard(self, answer: "asyncio.Future[Reply]") -> None:
        """Write the answer, where it is an estimate and the client reads; then the next one goes."""
        self._answer = None
        error = answer.exception()
        problem = error if error is None or isinstance(error, ProblemError) else problems.internal()
        said = self._run.heard(self._seq, answer.result() if problem is None else problem)
        if isinstance(said, Reply) and self._socket.write(said.binary(arrays=self._arrays)):
            self._credit.give(1)
            if self._waiting:
                self._go_on()
        else:
            self._hand((said, 1, None))
            self._give_way()

    def _go_on(self) -> None:
        """The next of those that wait."""
        seq, row, came = self._waiting.popleft()
        if not self._offered(seq, row, came):
            self._waiting.appendleft((seq, row, came))
        if self._answer is None:
            self._give_way()

    def _give_way(self) -> None:
        """All that waits is the conversation's."""
        while self._waiting:
            seq, row, came = self._waiting.popleft()
            self._hand((Observations(seq=seq, observed=[self._form.observed(row)]), 1, came))
