"""A client over WebSockets, written by the protocol's page alone: it streams, is cut off, and goes on where the server
stands."""

import asyncio
import contextlib

import avf_wire as wire
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.typing import Subprotocol

from .driver import TIMEOUT, Driver, new_stream
from .history import Sent, now

IN_FLIGHT = 8
LONGEST = 60  # observations on one connection
_decoder: msgspec.json.Decoder[wire.ServerMessage] = msgspec.json.Decoder(wire.ServerMessage)


class StreamDriver(Driver):
    """Streams of random length, ended in order or by leaving."""

    async def _move(self, stop: asyncio.Event) -> None:
        address = f"{self.url.replace('http', 'ws', 1)}/v1/sessions/{self.session}/stream"
        asked = now()
        try:
            async with connect(
                address,
                subprotocols=[Subprotocol(wire.SUBPROTOCOL_JSON)],
                open_timeout=TIMEOUT,
                close_timeout=TIMEOUT,
                compression=None,
            ) as socket:
                await self._stream(socket, stop, asked)
        except (OSError, EOFError, TimeoutError, InvalidHandshake, WebSocketException) as error:
            self.cut(error)
            await self.pause()

    async def _stream(self, socket: ClientConnection, stop: asyncio.Event, asked: float) -> None:
        """One connection, from `begin` on."""
        begin = await _hear(socket)
        if not isinstance(begin, wire.Begin):
            return self._end(begin, asked)
        self.stand(begin.session, asked=asked)
        stream = new_stream("stream")
        first, count = self.next_seq, self.random.randint(1, LONGEST)
        times: dict[int, float] = {}
        ends_in_order = self.random.random() < 0.5
        while self.next_seq < first + count and not stop.is_set():
            while len(times) < min(IN_FLIGHT, begin.credit, first + count - self.next_seq):
                await self._send(socket, stream, self.next_seq + len(times), times)
            message = await _hear(socket)
            if not isinstance(message, wire.Estimate):
                return self._end(message, times[self.next_seq])
            self.acknowledged(stream, message, asked=times.pop(message.seq, asked))
            self.next_seq = message.seq + 1
            await asyncio.sleep(self._think * self.random.random())
        if ends_in_order:
            await self._finish(socket, stream, times)
        else:
            self.history.crashes += 1
            socket.transport.abort()
        return None

    async def _send(self, socket: ClientConnection, stream: str, seq: int, times: dict[int, float]) -> None:
        times[seq] = now()
        self.history.record(Sent(stream=stream, session=self.session, epoch=self.epoch, seq=seq, at=times[seq]))
        x = self.observation(self.epoch, seq)
        await socket.send(msgspec.json.encode(wire.Observe(seq=seq, x=x)).decode())

    async def _finish(self, socket: ClientConnection, stream: str, times: dict[int, float]) -> None:
        """End, and hear the rest."""
        asked = now()
        await socket.send(msgspec.json.encode(wire.End()).decode())
        while isinstance(message := await _hear(socket), wire.Estimate):
            self.acknowledged(stream, message, asked=times.pop(message.seq, asked))
            self.next_seq = message.seq + 1
        if isinstance(message, wire.Ended):
            self.stood(self.epoch, message.next_seq, asked=asked)
        with contextlib.suppress(WebSocketException):
            await socket.close()

    def _end(self, message: wire.ServerMessage, asked: float) -> None:
        """The server ends the stream: it goes away, or refuses."""
        if isinstance(message, wire.Error):
            self.problem(message.problem, asked=asked)


async def _hear(socket: ClientConnection) -> wire.ServerMessage:
    """The next message. Raises TimeoutError, ConnectionClosed."""
    async with asyncio.timeout(TIMEOUT):
        return _decoder.decode(await socket.recv())
