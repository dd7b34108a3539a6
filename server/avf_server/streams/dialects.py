"""The two sub-protocols of streams: WebSocket frames become messages here, and messages frames.

The law: both say the same. What is no message is a Fatal, with the code that the stream ends with, and no exception.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import avf_wire as wire
import msgspec
import numpy as np
from avf_wire import binary
from starlette.websockets import WebSocketDisconnect

from avf_server.codecs.base import floats
from avf_server.stepping.replies import Reply

NOT_THIS_KIND, NOT_A_MESSAGE = 1003, 1007
Event = Mapping[str, Any]
"""An event of ASGI."""


@dataclass(frozen=True, kw_only=True)
class Fatal:
    """In place of a message: what came is none, and the stream ends with this code."""

    detail: str
    code: int


Item = binary.Observations | binary.Samples | wire.Marker | wire.KeepAlive | wire.End | Fatal


class Dialect(Protocol):
    """A sub-protocol."""

    subprotocol: str

    def decode(self, event: Event, *, size: int) -> Item:
        """What a client said, to a model of `size` dimensions. Raises WebSocketDisconnect where it has left."""
        ...

    def encode(self, message: wire.ServerMessage) -> dict[str, Any]:
        """The event that sends a message."""
        ...

    def estimate(self, reply: Reply, *, arrays: bool) -> dict[str, Any]:
        """The event that sends the estimate of a reply, or its summary."""
        ...


class Json:
    """Messages as text."""

    subprotocol = wire.SUBPROTOCOL_JSON

    def __init__(self) -> None:
        self._decoder: msgspec.json.Decoder[wire.ClientMessage] = msgspec.json.Decoder(wire.ClientMessage)

    def decode(self, event: Event, *, size: int) -> Item:
        """What a client said. Raises WebSocketDisconnect where it has left."""
        text = _content(event, "text")
        if text is None:
            return Fatal(detail=f"a binary frame, expected text: this is {self.subprotocol}", code=NOT_THIS_KIND)
        try:
            return _item(self._decoder.decode(text), size=size)
        except (msgspec.DecodeError, RecursionError) as error:
            return Fatal(detail=f"no message of {self.subprotocol}: {error}", code=NOT_A_MESSAGE)

    def encode(self, message: wire.ServerMessage) -> dict[str, Any]:
        """The event that sends a message."""
        return {"type": "websocket.send", "text": msgspec.json.encode(message).decode()}

    def estimate(self, reply: Reply, *, arrays: bool) -> dict[str, Any]:
        """The event that sends the estimate of a reply, or its summary."""
        return self.encode(reply.message() if arrays else reply.summary())


class Binary:
    """Messages as bytes. Estimates go out as they are stored."""

    subprotocol = wire.SUBPROTOCOL_BINARY

    def decode(self, event: Event, *, size: int) -> Item:
        """What a client said. Raises WebSocketDisconnect where it has left."""
        data = _content(event, "bytes")
        if data is None:
            return Fatal(detail=f"a text frame, expected a binary one: this is {self.subprotocol}", code=NOT_THIS_KIND)
        try:
            return binary.decode_client(data)
        except binary.MalformedFrame as error:
            return Fatal(detail=f"no message of {self.subprotocol}: {error}", code=NOT_A_MESSAGE)

    def encode(self, message: wire.ServerMessage) -> dict[str, Any]:
        """The event that sends a message."""
        assert not isinstance(message, wire.Estimate | wire.Summary)
        return {"type": "websocket.send", "bytes": binary.encode(message)}

    def estimate(self, reply: Reply, *, arrays: bool) -> dict[str, Any]:
        """The event that sends the estimate of a reply."""
        return {"type": "websocket.send", "bytes": reply.binary(arrays=arrays)}


DIALECTS: Mapping[str, Dialect] = {dialect.subprotocol: dialect for dialect in (Json(), Binary())}


def chosen(offered: Sequence[str]) -> Dialect | None:
    """The first sub-protocol of those offered that there is; JSON where none is offered, None where none is known."""
    if not offered:
        return DIALECTS[wire.SUBPROTOCOL_JSON]
    return next((DIALECTS[name] for name in offered if name in DIALECTS), None)


def _content(event: Event, kind: str) -> Any:
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code", 1000))
    return event.get(kind)


def _item(message: wire.ClientMessage, *, size: int) -> Item:
    """A message of JSON as it is handled. Chunks of sound become bytes, whatever form they came in."""
    if isinstance(message, wire.Observe):
        return binary.Observations(seq=message.seq, rows=floats(message.x, size=size)[None])
    if isinstance(message, wire.Samples):
        return _samples(message)
    if isinstance(message, wire.Marker) and len(message.text.encode()) > wire.LONGEST_MARKER:
        return Fatal(
            detail=f"a marker of {len(message.text.encode())} bytes, expected at most {wire.LONGEST_MARKER}",
            code=NOT_A_MESSAGE,
        )
    return message


def _samples(message: wire.Samples) -> binary.Samples | Fatal:
    if (message.s16 is None) is (message.f32 is None):
        return Fatal(detail="samples has s16, base64 of the samples, or f32, a list, and not both", code=NOT_A_MESSAGE)
    encoding: wire.Encoding = "f32" if message.s16 is None else "s16"
    with np.errstate(over="ignore"):  # an infinity is refused with all else that is beyond 1
        data = np.asarray(message.f32, dtype=np.float64).astype("<f4").tobytes() if message.s16 is None else message.s16
    width = binary.WIDTHS[encoding]
    if not data or len(data) % width:
        return Fatal(
            detail=f"{len(data)} bytes of samples, expected whole samples of {width} bytes, and at least one",
            code=NOT_A_MESSAGE,
        )
    if not 0 <= message.offset <= binary.LARGEST_NUMBER:
        return Fatal(detail=f"offset is no number in [0, {binary.LARGEST_NUMBER}]", code=NOT_A_MESSAGE)
    return binary.Samples(offset=message.offset, encoding=encoding, data=data)
