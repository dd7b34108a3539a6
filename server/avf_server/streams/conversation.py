"""The stream of one session, from `begin` to its close code, as docs/protocol.md states it.

The laws: one answer per observation, in order; at most `credit` of them under way, past which the client is not read;
an error before any close that is not asked for. A stream belongs to the epoch it began in. What is left over of a chunk
of sound is kept in the session however the stream ends.
"""

import asyncio
import logging
import math
import time
from contextlib import suppress
from typing import Any

import avf_wire as wire
from avf_wire import binary
from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from avf_server import problems
from avf_server.access.keys import caller_of
from avf_server.problems import ProblemError
from avf_server.runtime import Runtime
from avf_server.sessions.options import form_of
from avf_server.sound.runs import SoundRun, takes_none
from avf_server.stepping.replies import Reply
from avf_server.stepping.runs import Run
from avf_server.streams import flow
from avf_server.streams.dialects import Dialect, Fatal, Item, Observations
from avf_server.streams.sockets import SOCKET
from avf_server.streams.straight import Straight

logger = logging.getLogger(__name__)

ENDED, OUT_OF_RANGE, INTERNAL, TRY_LATER = 1000, 1008, 1011, 1013

CLOSE_CODES: dict[type[ProblemError], int] = {
    problems.UnauthorisedError: wire.CLOSE_UNAUTHORISED,
    problems.ForbiddenError: wire.CLOSE_UNAUTHORISED,
    problems.UnknownSessionError: wire.CLOSE_GONE,
    problems.SessionMovedError: wire.CLOSE_CONFLICT,
    problems.EpochMismatchError: wire.CLOSE_CONFLICT,
}
"""Problems that end a stream at any time; others end it only at its beginning."""

REFUSALS: dict[type[ProblemError], int] = CLOSE_CODES | {
    problems.UnknownSessionError: wire.CLOSE_UNKNOWN_SESSION,
    problems.UnknownModelError: wire.CLOSE_UNKNOWN_SESSION,
    problems.InvalidSettingError: OUT_OF_RANGE,
}
"""Problems at the beginning."""


class Conversation:
    """A reader that fills a bounded queue, and a worker that answers it."""

    def __init__(self, websocket: WebSocket, runtime: Runtime, session: str, dialect: Dialect) -> None:
        self._websocket = websocket
        self._runtime = runtime
        self._session = session
        self._dialect = dialect
        self._items: asyncio.Queue[tuple[Item | Reply | wire.GoAway | ProblemError, int, float | None]]
        self._items = asyncio.Queue()
        self._straight: Straight | None = None
        self._credit = flow.Credit(runtime.settings.stream_credit)

    async def hold(self) -> None:
        """Begin, answer, end; a fault is told, too."""
        try:
            await self._hold()
        except WebSocketDisconnect:
            pass  # the client has gone; what it sent is applied or not, and sending it again finds out
        except Exception:
            logger.exception("a stream failed")
            await self.turn_away(problems.internal(), code=INTERNAL)

    async def turn_away(self, problem: ProblemError, *, code: int) -> None:
        """Say why there is no stream."""
        with suppress(WebSocketDisconnect):
            await self._refuse(problem, code=code)

    async def _hold(self) -> None:
        try:
            begin = await self._begin()
        except problems.StoppingError:
            await self._go_away()
            return
        except ProblemError as problem:
            default = TRY_LATER if problem.status == 503 else INTERNAL
            await self._refuse(problem, code=REFUSALS.get(type(problem), default))
            return
        await self._send(begin)
        self._straight = self._way()
        tasks = [asyncio.create_task(part) for part in (self._work(), self._read(), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            if self._straight is not None:
                self._straight.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._keep_rest()

    async def _begin(self) -> wire.Begin:
        runtime, query = self._runtime, self._websocket.query_params
        caller = caller_of(
            self._websocket.headers, keys=runtime.settings.api_keys, now=time.time(), query=self._websocket.query_params
        )
        caller.check(session=self._session, intent="write")
        self._owner, self._expires_at = caller.owner, caller.expires_at
        runtime.stopping.check()
        self._options = flow.options(every=query.get("every"), fields=query.get("fields"))
        record = await runtime.sessions.record(self._session, owner=self._owner)
        self._run = Run(runtime.service, record, owner=self._owner)
        self._sound = None if record.meta.audio is None else SoundRun(self._run, record)
        self._thinning = flow.Thinning(self._options.every, most=max(1, self._credit.total // 2))
        session = runtime.sessions.describe(record)
        self._form = form_of(record.meta, runtime.models)
        return wire.Begin(session=session, credit=self._credit.total, next_sample=session.next_sample)

    def _way(self) -> Straight | None:
        """Where single observations may go straight through; None where their answers take more than to be written."""
        socket = self._websocket.scope.get("state", {}).get(SOCKET)
        if socket is None or self._sound is not None or self._options.every > 1:
            return None
        if self._dialect.subprotocol != wire.SUBPROTOCOL_BINARY:
            return None
        return Straight(
            socket,
            self._run,
            self._form,
            self._credit,
            arrays=self._options.arrays,
            idle=self._items.empty,
            hand=self._items.put_nowait,
        )

    async def _read(self) -> None:
        """Queue what the client sends, as long as it has credit, until it ends the stream or leaves."""
        clock = asyncio.get_running_loop().time
        while True:
            item = await self._dialect.decode(await self._websocket.receive(), form=self._form)
            came = clock()
            self._items.put_nowait((item, await self._credit.take(self._cost(item)), came))
            if isinstance(item, wire.End | Fatal):
                break
        while True:  # nothing more is expected, but that the client may leave
            await self._dialect.decode(await self._websocket.receive(), form=self._form)

    def _cost(self, item: Item) -> int:
        """How much of the credit a message takes: the observations that it may complete, and one at least."""
        if isinstance(item, Observations):
            return len(item.observed)
        return self._sound.completes(len(item)) if self._sound and isinstance(item, binary.Samples) else 1

    async def _watch(self) -> None:
        """Queue a goaway once the server stops, and an end once the token has expired."""
        seconds = self._expires_at - time.time()
        try:
            async with asyncio.timeout(seconds if math.isfinite(seconds) else None):
                await self._runtime.stopping.begun.wait()
            self._items.put_nowait((wire.GoAway(), 0, None))
        except TimeoutError:
            self._items.put_nowait((problems.UnauthorisedError("the token has expired: ask for a new one"), 0, None))

    async def _work(self) -> None:
        """Answer the queue, in order, until the stream ends; then end the reader too, by an exception."""
        with suppress(problems.StoppingError):
            while await self._worked():
                pass
        await self._go_away()
        raise WebSocketDisconnect(wire.CLOSE_GOING_AWAY)

    async def _worked(self) -> bool:
        """Answer what is next, and what went before it another way and was left here; False where the server stops."""
        if self._items.empty():
            await self._ack()
        taken = await self._items.get()
        before = [] if self._straight is None else await self._straight.passed()
        for item, cost, self._run.came in [*before, taken]:
            if isinstance(item, wire.GoAway):
                return False
            if not await self._answered(item):
                raise WebSocketDisconnect(ENDED)
            self._credit.give(cost)
        return True

    async def _answered(self, item: Item | Reply | ProblemError) -> bool:
        """Answer one item; False where the stream has ended with it."""
        try:
            if isinstance(item, ProblemError):
                raise item
            if isinstance(item, Observations):
                await self._observe(item)
            elif isinstance(item, Reply):
                await self._answer(item)
            elif isinstance(item, binary.Samples):
                await self._hear(item)
            elif isinstance(item, Fatal):
                await self._refuse(problems.MalformedBodyError(item.detail, session=self._session), code=item.code)
                return False
            elif isinstance(item, wire.End):
                return await self._end()
            else:
                await self._ack()
                await self._send(item)
        except problems.StoppingError:
            raise
        except ProblemError as problem:
            return not await self._refuse(problem, code=CLOSE_CODES.get(type(problem)))
        return True

    async def _observe(self, item: Observations) -> None:
        """Observations one by one; where one is refused, those after it are not looked at."""
        for seq, observed in enumerate(item.observed, item.seq):
            reply = await self._run.observe(seq, observed)
            if self._sound is not None:
                self._sound.passed(reply)
            await self._answer(reply)

    async def _hear(self, item: binary.Samples) -> None:
        """The observations that a chunk of sound completes, one by one."""
        if self._sound is None:
            raise takes_none(self._session)
        async for reply in self._sound.take(item):
            await self._answer(reply)

    async def _answer(self, reply: Reply) -> None:
        """The estimate of a reply, or an ack, now or later."""
        if self._thinning.wants(reply):
            await self._websocket.send(self._dialect.estimate(reply, arrays=self._options.arrays))
        elif self._thinning.due:
            await self._ack()

    async def _ack(self) -> None:
        ack = self._thinning.ack()
        if ack is not None:
            await self._send(ack)

    async def _end(self) -> bool:
        await self._ack()
        try:
            if self._sound is not None:
                await self._sound.keep()
            session = await self._runtime.sessions.session(self._session, owner=self._owner)
        except ProblemError as problem:
            await self._refuse(problem, code=CLOSE_CODES.get(type(problem), TRY_LATER))
        else:
            await self._send(wire.Ended(next_seq=session.next_seq, next_sample=session.next_sample))
            await self._websocket.close(ENDED)
        return False

    async def _keep_rest(self) -> None:
        """Keep what is left over; a client that has gone learns from `begin` whether it was."""
        try:
            if self._sound is not None:
                await self._sound.keep()
        except ProblemError as problem:
            logger.info("the remainder of session %s is not kept: %s", self._session, problem.detail)

    async def _refuse(self, problem: ProblemError, *, code: int | None) -> bool:
        """Send a problem, and close with this code, if any; True where it closed."""
        self._runtime.telemetry.problems.labels(problem.name).inc()
        await self._send(wire.Error(problem=problems.to_message(problem)))
        if code is not None:
            await self._websocket.close(code, problem.name)
        return code is not None

    async def _go_away(self) -> None:
        await self._send(wire.GoAway())
        await self._websocket.close(wire.CLOSE_GOING_AWAY, "stopping")

    async def _send(self, message: wire.ServerMessage) -> None:
        event: dict[str, Any] = self._dialect.encode(message)
        await self._websocket.send(event)
