"""The stream of one session, sub-protocol `avf.v1.json`, as docs/protocol.md states it.

The laws: one answer per observation, in order; at most `credit` of them unanswered, past which the client is
not read; an error before any close that is not asked for. A stream belongs to the epoch it began in.
"""

import asyncio
import logging
from typing import Any

import msgspec
from avf_client import wire
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from avf_server import problems
from avf_server.auth import owner_of
from avf_server.problems import ProblemError
from avf_server.runtime import Runtime
from avf_server.transports.http import problem_response

logger = logging.getLogger(__name__)

router = APIRouter()

ENDED, NOT_TEXT, NOT_A_MESSAGE, INTERNAL, TRY_LATER = 1000, 1003, 1007, 1011, 1013

CLOSE_CODES: dict[type[ProblemError], int] = {
    problems.UnauthorisedError: wire.CLOSE_UNAUTHORISED,
    problems.UnknownSessionError: wire.CLOSE_UNKNOWN_SESSION,
    problems.UnknownModelError: wire.CLOSE_UNKNOWN_SESSION,
    problems.SessionMovedError: wire.CLOSE_CONFLICT,
    problems.EpochMismatchError: wire.CLOSE_CONFLICT,
}
"""Problems that end a stream at any time; others end it only at its beginning."""

_decoder: msgspec.json.Decoder[wire.ClientMessage] = msgspec.json.Decoder(wire.ClientMessage)
_encoder = msgspec.json.Encoder()


@router.websocket("/v1/sessions/{session}/stream")
async def stream(websocket: WebSocket, session: str) -> None:
    """Serve one stream."""
    runtime: Runtime = websocket.app.state.runtime
    offered: list[str] = websocket.scope["subprotocols"]
    if offered and wire.SUBPROTOCOL_JSON not in offered:
        problem = problems.UnsupportedMediaTypeError(f"the sub-protocol is not {wire.SUBPROTOCOL_JSON}")
        await websocket.send_denial_response(problem_response(problem))
        return
    await websocket.accept(subprotocol=wire.SUBPROTOCOL_JSON if offered else None)
    task = asyncio.current_task()
    assert task is not None
    runtime.streams.add(task)
    try:
        with runtime.telemetry.streams.track_inprogress():
            await _Stream(websocket, runtime, session).serve()
    finally:
        runtime.streams.discard(task)


class _Fatal(msgspec.Struct, frozen=True):
    """In place of a message: what came is none, and the stream ends with this code."""

    detail: str
    code: int


_Item = wire.ClientMessage | _Fatal | wire.GoAway


class _Stream:
    """A reader that fills a bounded queue, and a worker that answers it."""

    def __init__(self, websocket: WebSocket, runtime: Runtime, session: str) -> None:
        self._websocket = websocket
        self._runtime = runtime
        self._session = session
        self._owner = ""
        self._epoch = 0
        self._items: asyncio.Queue[_Item] = asyncio.Queue()
        self._credit = asyncio.Semaphore(runtime.settings.stream_credit)

    async def serve(self) -> None:
        """Begin, answer, end; a fault is told, too."""
        try:
            await self._serve()
        except WebSocketDisconnect:
            pass  # the client has gone; what it sent is applied or not, and sending it again finds out
        except Exception:
            logger.exception("a stream failed")
            await self._refuse(problems.internal(), code=INTERNAL)

    async def _serve(self) -> None:
        try:
            begin = await self._begin()
        except ProblemError as problem:
            if isinstance(problem, problems.StoppingError):
                await self._go_away()
            else:
                await self._refuse(problem, default=TRY_LATER if problem.status == 503 else INTERNAL)
            return
        self._epoch = begin.session.epoch
        await self._send(begin)
        tasks = [asyncio.create_task(part) for part in (self._work(), self._read(), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self) -> wire.Begin:
        runtime = self._runtime
        self._owner = owner_of(self._websocket.headers, keys=runtime.settings.api_keys)
        runtime.service.check_running()
        session = await runtime.sessions.session(self._session, owner=self._owner)
        return wire.Begin(session=session, credit=runtime.settings.stream_credit)

    async def _read(self) -> None:
        """Queue what the client sends, as long as it has credit, until it ends the stream or leaves."""
        while True:
            await self._credit.acquire()
            item = _decode(await self._websocket.receive())
            self._items.put_nowait(item)
            if not isinstance(item, wire.Observe):
                break
        while True:  # nothing more is expected, but that the client may leave
            _decode(await self._websocket.receive())

    async def _work(self) -> None:
        """Answer the queue, in order, until the stream ends; then end the reader too, by an exception."""
        try:
            while not isinstance(item := await self._items.get(), wire.GoAway):
                if not await self._answered(item):
                    raise WebSocketDisconnect(ENDED)
                self._credit.release()
        except problems.StoppingError:
            pass
        await self._go_away()
        raise WebSocketDisconnect(wire.CLOSE_GOING_AWAY)

    async def _watch(self) -> None:
        """Queue a goaway once the server stops."""
        await self._runtime.service.stopping.wait()
        self._items.put_nowait(wire.GoAway())

    async def _answered(self, item: wire.ClientMessage | _Fatal) -> bool:
        """Answer one item; False where the stream has ended with it."""
        if isinstance(item, _Fatal):
            await self._refuse(problems.MalformedBodyError(item.detail, session=self._session), code=item.code)
            return False
        if isinstance(item, wire.End):
            return await self._end()
        if not isinstance(item, wire.Observe):
            item = _Fatal(f"no message of {wire.SUBPROTOCOL_JSON} that this server answers", NOT_A_MESSAGE)
            return await self._answered(item)
        try:
            reply = await self._runtime.service.observe(
                self._session, seq=item.seq, x=item.x, owner=self._owner, epoch=self._epoch
            )
        except problems.StoppingError:
            raise
        except ProblemError as problem:
            return not await self._refuse(problem)
        await self._websocket.send_text(reply.estimate.decode())
        return True

    async def _end(self) -> bool:
        try:
            session = await self._runtime.sessions.session(self._session, owner=self._owner)
        except ProblemError as problem:
            await self._refuse(problem, default=TRY_LATER)
        else:
            await self._send(wire.Ended(next_seq=session.next_seq))
            await self._websocket.close(ENDED)
        return False

    async def _refuse(self, problem: ProblemError, *, code: int | None = None, default: int | None = None) -> bool:
        """Send a problem, and close where it ends the stream; True where it does."""
        self._runtime.telemetry.problems.labels(problem.name).inc()
        await self._send(wire.Error(problem=problems.to_message(problem)))
        code = code or CLOSE_CODES.get(type(problem), default)
        if code is not None:
            await self._websocket.close(code, problem.name)
        return code is not None

    async def _go_away(self) -> None:
        await self._send(wire.GoAway())
        await self._websocket.close(wire.CLOSE_GOING_AWAY, "stopping")

    async def _send(self, message: wire.ServerMessage) -> None:
        await self._websocket.send_text(_encoder.encode(message).decode())


def _decode(event: Any) -> wire.ClientMessage | _Fatal:
    """What a client sent. Raises WebSocketDisconnect where it has left."""
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code", ENDED))
    text = event.get("text")
    if text is None:
        return _Fatal("a binary frame, expected text: this is avf.v1.json", NOT_TEXT)
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return _Fatal(f"no message of {wire.SUBPROTOCOL_JSON}: {error}", NOT_A_MESSAGE)
