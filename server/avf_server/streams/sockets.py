"""The sockets under streams: uvicorn's, with bounds on what a peer can make the server hold.

The laws: a peer that does not read is told so and cut, after a stated time; while it does not read, it is not read
either, not even its pings, whose pongs would pile up; messages do not pile up faster than they are taken; and what came
at once is parsed a piece at a time, in turns with everybody else's work.

What streams say mostly, a short binary message in one frame, is read and written here, at a tenth of what it costs by
way of `websockets`; whatever else comes, however it is cut, is for `websockets` to judge.
"""

import socket
import struct
from asyncio import Handle, TimerHandle
from collections.abc import Callable
from typing import Any, ClassVar

import avf_wire as wire
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build of it without its C extension
    from websockets.utils import apply_mask

SOCKET = "avf-socket"
"""The name of a stream's socket in its scope's state."""

RESET = struct.pack("ii", 1, 0)
MOST_WAITING = 4096  # messages read and not yet taken: one read of the socket brings them at once
MOST_FRAMES = 4096  # frames of one message
FEW_WAITING = 8  # messages read and not yet taken, beyond which no more are read
PIECE = 16 << 10  # bytes that are parsed at once

_BINARY, _MASKED, _LENGTH, _LENGTH_OF_2, _MASK_SIZE = 0x82, 0x80, 0x7F, 126, 4  # RFC 6455, section 5.2
_NO_MASK = bytes(_MASK_SIZE)
_HEAD_OF_2 = struct.Struct(">BBH")


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket. `send_limit` is in seconds."""

    send_limit: ClassVar[float] = 30.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience: TimerHandle | None = None
        self._full = False  # the buffer of what is to be sent
        self._unparsed = b""
        self._between: bool | None = None  # whether the next byte begins a message; None where that is to be looked at
        self._turn: Handle | None = None  # when the rest is parsed
        self.straight: Callable[[bytes], bool] | None = None  # who takes messages at once, where it can: `straight`

    async def run_asgi(self) -> None:
        """Let the application know the socket, beside what ASGI says of it."""
        self.scope["state"][SOCKET] = self
        await super().run_asgi()

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
        if self.conn.state is State.OPEN and not (self._unparsed or self._turn or self._full):
            if self._between is None:
                self._between = _is_between_messages(self.conn)
            data = self._taken(data) if self._between else data
        if data:
            self._unparsed += data
            if self._turn is None:
                self._parse()

    def _taken(self, data: bytes) -> bytes:
        """Take the binary messages that data begins with, one short frame each, in its first piece; give the rest."""
        at, end = 0, min(len(data), PIECE)
        while end - at >= _MASK_SIZE + 2 and data[at] == _BINARY and data[at + 1] & _MASKED:
            size, start = data[at + 1] & _LENGTH, at + 2
            if size >= _LENGTH_OF_2:
                if size > _LENGTH_OF_2 or end - at < _MASK_SIZE + 4:
                    break
                size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            stop = start + _MASK_SIZE + size
            if stop > end or size > (self.conn.max_message_size or size):
                break
            mask, payload = data[start : start + _MASK_SIZE], data[start + _MASK_SIZE : stop]
            if mask != _NO_MASK:
                payload = apply_mask(payload, mask)
            if not (self.straight is not None and self.queue.empty() and self.straight(payload)):
                self.queue.put_nowait({"type": "websocket.receive", "bytes": payload})
            at = stop
        if self.queue.qsize() > FEW_WAITING and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        return data[at:] if at else data

    async def send(self, message: Any) -> None:
        """Send a message; a binary one, on a stream that is open and read, as one frame."""
        data = message.get("bytes") if message["type"] == "websocket.send" else None
        if data is None or not self.write(data):
            await super().send(message)

    def write(self, data: bytes) -> bool:
        """Write a binary message as one frame, on a stream that is open and read; False where it is to be sent."""
        opened = self.handshake_complete and not (self.close_sent or self.disconnected or self.initial_response)
        if not opened or self._full or self.conn.extensions or self.conn.state is not State.OPEN:
            return False
        if len(data) < _LENGTH_OF_2:
            head = bytes((_BINARY, len(data)))
        elif len(data) < 1 << 16:
            head = _HEAD_OF_2.pack(_BINARY, _LENGTH_OF_2, len(data))
        else:
            return False
        self.transport.write(head + data)
        return True

    def _parse(self) -> None:
        """Parse a piece; read no more while there is a rest, nor for as long as what was answered is not read."""
        self._turn = None
        piece, self._unparsed = self._unparsed[:PIECE], self._unparsed[PIECE:]
        super().data_received(piece)
        self._between = None
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


def _is_between_messages(conn: ServerProtocol) -> bool:
    """Whether the next byte begins a message, by where `websockets` waits for it; False where that cannot be told."""
    if conn.state is not State.OPEN or conn.current_size is not None or conn.extensions:
        return False
    waits: Any = conn.parser
    while (inner := getattr(waits, "gi_yieldfrom", None)) is not None:
        waits = inner
    return bool(waits.__name__ == "at_eof")


def bounded(seconds: float) -> type[BoundedSocket]:
    """The sockets of a server that waits so long for readers."""

    class Socket(BoundedSocket):
        send_limit = seconds

    return Socket
