"""One observation at a time, straight from its socket to the queue, and its answer straight back: no task wakes for it.

The laws: it goes so where nothing else of its stream is under way, and what comes after it waits for it: so the order
is that of the conversation. Whatever is no single observation, and whatever is not answered by an estimate that can be
written at once, is the conversation's.
"""

import asyncio
from collections.abc import Callable

from avf_wire import binary
from avf_wire.rows import RowForm

from avf_server import problems
from avf_server.problems import ProblemError
from avf_server.stepping.replies import Reply
from avf_server.stepping.runs import Run
from avf_server.streams.flow import Credit
from avf_server.streams.sockets import BoundedSocket


class Straight:
    """The way of a stream of avf.v1.bin that asks for the estimate of each observation.

    `idle` says whether the conversation waits for something to do; it is handed what is its own, with its cost.
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
        hand: Callable[[Reply | ProblemError, int], None],
    ) -> None:
        self._socket = socket
        self._run = run
        self._form = form
        self._words = form.words
        self._credit = credit
        self._arrays = arrays
        self._idle = idle
        self._hand = hand
        self._answer: asyncio.Future[Reply] | None = None
        self._seq = 0
        socket.straight = self.take

    def close(self) -> None:
        """Nothing more goes this way; what is under way is not waited for."""
        self._socket.straight = None
        if self._answer is not None:
            self._answer.cancel()

    async def passed(self) -> None:
        """Return once nothing is under way here."""
        if self._answer is not None:
            await asyncio.wait([self._answer])

    def take(self, data: bytes) -> bool:
        """Take a message; False where it is the conversation's."""
        if self._answer is not None or not (self._credit.whole and self._idle()):
            return False
        found = binary.one_observation(data, words=self._words)
        if found is None:
            return False
        seq, row = found
        try:
            answer = self._run.offer(seq, self._form.observed(row))
        except (problems.StoppingError, problems.UnknownSessionError):
            return False
        except ProblemError as problem:
            self._credit.take_one()
            self._hand(self._run.heard(seq, problem), 1)
            return True
        if answer is None:
            return False
        self._credit.take_one()
        self._answer, self._seq = answer, seq
        answer.add_done_callback(self._heard)
        return True

    def _heard(self, answer: "asyncio.Future[Reply]") -> None:
        """Write the answer, where it is an estimate and the client reads."""
        self._answer = None
        if answer.cancelled():
            return
        error = answer.exception()
        problem = error if error is None or isinstance(error, ProblemError) else problems.internal()
        said = self._run.heard(self._seq, answer.result() if problem is None else problem)
        if isinstance(said, Reply) and self._socket.write(said.binary(arrays=self._arrays)):
            self._credit.give(1)
        else:
            self._hand(said, 1)
