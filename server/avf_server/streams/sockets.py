"""The sockets under streams: uvicorn's, with bounds on what a peer can make the server hold.

The laws: a peer that does not read is told so and cut, after a stated time; while it does not read, it is not read
either, not even its pings, whose pongs would pile up; messages do not pile up faster than they are taken; and what came
at once is parsed a piece at a time, in turns with everybody else's work.
"""

import socket
import struct
from asyncio import Handle, TimerHandle
from typing import Any, ClassVar

import avf_wire as wire
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

RESET = struct.pack("ii", 1, 0)
MOST_WAITING = 4096  # messages read and not yet taken: one read of the socket brings them at once
MOST_FRAMES = 4096  # frames of one message
PIECE = 16 << 10  # bytes that are parsed at once


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket. `send_limit` is in seconds."""

    send_limit: ClassVar[float] = 30.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience: TimerHandle | None = None
        self._full = False  # the buffer of what is to be sent
        self._unparsed = b""
        self._turn: Handle | None = None  # when the rest is parsed

    def pause_writing(self) -> None:
        """The peer does not read: the transport's buffer is full."""
        super().pause_writing()
        self._full = True
        self._wait(self._give_up)

    def resume_writing(self) -> None:
        """The peer has read."""
        super().resume_writing()
        self._full = False
        if not self.close_sent:
            self._stop_waiting()
        self._read_on()

    def data_received(self, data: bytes) -> None:
        """Parse it, a piece at a time."""
        self._unparsed += data
        if self._turn is None:
            self._parse()

    def _parse(self) -> None:
        """Parse a piece; read no more while there is a rest, nor for as long as what was answered is not read."""
        self._turn = None
        piece, self._unparsed = self._unparsed[:PIECE], self._unparsed[PIECE:]
        super().data_received(piece)
        if self.transport.is_closing():
            self._unparsed = b""
            return
        if self.close_sent:
            self.frames = []
        elif self.queue.qsize() > MOST_WAITING:
            self._close(wire.CLOSE_TOO_MANY, f"more than {MOST_WAITING} messages at once")
        elif len(self.frames) > MOST_FRAMES:
            self._close(wire.CLOSE_TOO_MANY, f"more than {MOST_FRAMES} frames of one message")
        if self._unparsed:
            self._turn = self.loop.call_soon(self._parse)
        if (self._full or self._unparsed) and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        self._read_on()

    async def receive(self) -> Any:
        """The next message; once all are taken, more is read."""
        message = await self.queue.get()
        self._read_on()
        return message

    def _read_on(self) -> None:
        """Read the socket again, where nothing is against it."""
        if self.read_paused and self.queue.empty() and not (self._full or self._unparsed):
            self.read_paused = False
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and with it the wait."""
        self._stop_waiting()
        if self._turn is not None:
            self._turn.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        """The time is over: say so, in case the peer reads after all, and do not wait for it."""
        if self.close_sent or self.transport.is_closing():
            self._cut()
        else:
            self._close(wire.CLOSE_TOO_SLOW, f"nothing was read for {self.send_limit:g} seconds")

    def _close(self, code: int, reason: str) -> None:
        """End the stream from below: what waits to be taken is dropped, and whoever waits to send is told."""
        while not self.queue.empty():
            self.queue.get_nowait()
        self.frames = []
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self.disconnected = True
        self.writable.set()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)
        self._wait(self._cut)

    def _cut(self) -> None:
        """End the connection by a reset: the kernel, too, lets go of what was not read."""
        opened = self.transport.get_extra_info("socket")
        if opened is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()

    def _wait(self, then: Any) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(self.send_limit, then)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def bounded(seconds: float) -> type[BoundedSocket]:
    """The sockets of a server that waits so long for readers."""

    class Socket(BoundedSocket):
        send_limit = seconds

    return Socket
