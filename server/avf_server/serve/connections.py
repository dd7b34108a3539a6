"""Connections before anyone is known on them: uvicorn's, bounded in number, in bytes and in time.

The laws: what a peer can make the server hold or wait for, before its request is whole, is bounded; who is refused is
told why. A peer that closes its sending side after a whole request gets its answer (RFC 9112, section 9.6), but none
that has no end: nothing tells such a peer from one that has left.
"""

import logging
from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

import avf_wire as wire
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from avf_server import problems
from avf_server.problems import ProblemError

logger = logging.getLogger(__name__)

MAX_HEAD = 64 << 10  # bytes of a request's line and headers
PIECE = 16 << 10  # bytes that are parsed at once
MIN_RATE = 1 << 10  # bytes of a body in a second, on average
LINGER = 2.0  # seconds in which a refused peer may read why, while what it sends is thrown away
NO_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    max_connections: int
    request_s: float
    idle_s: int
    retry_after_s: int


class BoundedConnection(HttpToolsProtocol):
    """One connection, from its first byte to its last, or to its upgrade to a WebSocket."""

    limits: ClassVar[Limits]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._app, self.app = self.app, self._until_left
        self._timer: TimerHandle | None = None  # for the head, then for the body
        self._unread = b""  # what came while a request of before is waiting for its turn
        self._in_head = True
        self._brought = 0  # bytes, of this head, or of the body since the timer was set
        self._refused = self._upgraded = self._half_closed = False

    def connection_made(self, transport: Any) -> None:
        """Take it, where there is room for one more, and wait for it to say something."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self.transport.write(_response(self._too_many()))
            self._refused = True
            self.transport.close()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def data_received(self, data: bytes) -> None:
        """Parse it, a piece at a time, for as long as no request waits for one before it; then read no more."""
        if not self._refused:
            self._unread += data
            self._parse()
            if self._unread and not self._upgraded:
                self.flow.pause_reading()

    def _parse(self) -> None:
        while self._unread and not (self._refused or self._upgraded or self.pipeline or self.transport.is_closing()):
            piece, self._unread = self._unread[:PIECE], self._unread[PIECE:]
            self._brought += len(piece)
            if self._in_head and self._timer is None and not self._busy:
                self._wait(self._late_head)
            super().data_received(piece)
            if self._in_head and self._brought > MAX_HEAD + PIECE:  # to the byte where it comes to an end: see below
                self._refuse(_too_large())

    def on_headers_complete(self) -> None:
        """The request's head is whole: its body may come."""
        self._stop_waiting()
        self._in_head, self._brought = False, 0
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD:
            self._refuse(_too_large())
            raise ValueError("the head is too large")  # which ends the parser's work; its 400 is not sent
        super().on_headers_complete()
        self._wait(self._late_body)

    def on_message_complete(self) -> None:
        """The request is whole; another one may come."""
        self._stop_waiting()
        self._in_head, self._brought = True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is on its way; what came meanwhile is parsed."""
        super().on_response_complete()
        self._parse()
        if self._half_closed and not self._busy:
            self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        """The connection is a stream's from now on: see streams/sockets.py."""
        self._upgraded = True
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        if not self._refused:
            super().send_400_response(msg)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The peer will say no more; True keeps the connection open for what it is still owed."""
        owed = self._busy and not (self.cycle.more_body or self._refused)
        if not owed or (self.cycle.response_started and self.cycle.chunked_encoding):
            return False
        self._half_closed = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and with it all waiting."""
        self._stop_waiting()
        self._unread = b""
        super().connection_lost(exc)

    @property
    def _busy(self) -> bool:
        """Whether an answer is owed."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    async def _until_left(self, scope: Any, receive: Any, send: Any) -> None:
        """The application; an answer without an end is not begun for a peer that may have left."""

        async def sent(message: Any) -> None:
            await send(message)
            if self._half_closed and message["type"] == "http.response.start" and _is_endless(message):
                self.transport.close()

        await self._app(scope, receive, sent)

    def _late_head(self) -> None:
        self._timer = None
        self._refuse(problems.RequestTimeoutError(f"the headers took more than {self.limits.request_s:g} seconds"))

    def _late_body(self) -> None:
        """Look whether the body goes on; what the application has not taken is not the peer's fault."""
        self._timer = None
        cycle, expected = self.cycle, MIN_RATE * self.limits.request_s
        if cycle is None or not cycle.more_body:
            return
        if not cycle.response_started and (cycle.body or self.flow.read_paused or self._brought >= expected):
            self._brought = 0
            self._wait(self._late_body)
        elif cycle.response_started:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._refuse(
                problems.RequestTimeoutError(
                    f"the body brought {self._brought} bytes in {self.limits.request_s:g} seconds, "
                    f"expected {expected:g}, or its end"
                )
            )

    def _refuse(self, problem: ProblemError) -> None:
        """Say why, and let the peer read it: what it still sends is thrown away for a moment."""
        self._refused, self._unread = True, b""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self._busy and self.cycle.response_started:
            self.transport.close()
            return
        self.transport.write(_response(problem))
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER, self.transport.abort)

    def _too_many(self) -> ProblemError:
        return problems.OverloadedError(
            f"{self.limits.max_connections} connections are open, which is the limit",
            retry_after=self.limits.retry_after_s,
        )

    def _wait(self, then: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(self.limits.request_s, then)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded(limits: Limits) -> type[BoundedConnection]:
    """The connections of a server with these limits."""
    return type("Connection", (BoundedConnection,), {"limits": limits})


def _too_large() -> ProblemError:
    return problems.HeadersTooLargeError(f"the request's line and headers have more than {MAX_HEAD} bytes")


def _is_endless(start: Any) -> bool:
    """Whether an answer that starts so says nothing of its length."""
    return start["status"] not in NO_BODY and b"content-length" not in {name.lower() for name, _ in start["headers"]}


def _response(problem: ProblemError) -> bytes:
    """The whole answer, after which the connection is closed."""
    body = problems.to_json(problem)
    headers = {
        "Content-Type": wire.PROBLEM_MEDIA_TYPE,
        "Content-Length": str(len(body)),
        **problems.headers(problem),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}", *map(": ".join, headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
