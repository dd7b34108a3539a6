"""The two sub-protocols of streams: WebSocket frames become messages here, and messages frames.

The laws: both say the same. What a message holds is counted before anything is made of it. What is no message is a
Fatal, with the code that the stream ends with, and no exception.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import avf_wire as wire
import msgspec
from avf_wire import binary
from avf_wire.rows import Observed, RowForm
from starlette.websockets import WebSocketDisconnect

from avf_server.codecs import bounds
from avf_server.problems import MalformedBodyError
from avf_server.stepping.replies import Reply
from avf_server.turns import in_turns

NOT_THIS_KIND, NOT_A_MESSAGE = 1003, 1007
Event = Mapping[str, Any]
"""An event of ASGI."""


@dataclass(frozen=True, kw_only=True)
class Fatal:
    """In place of a message: what came is none, and the stream ends with this code."""

    detail: str
    code: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Observations `seq`, `seq` + 1, ... with what came with them."""

    seq: int
    observed: Sequence[Observed]


Item = Observations | binary.Samples | wire.Marker | wire.KeepAlive | wire.End | Fatal


NOTHING = b"null"


class _Observe(wire.Request, frozen=True, tag_field="type", tag="observe"):
    """`wire.Observe`, whose observation has not been looked into."""

    seq: int
    x: msgspec.Raw
    inputs: msgspec.Raw = msgspec.Raw(NOTHING)
    time: float | None = None


class _Samples(wire.Request, frozen=True, tag_field="type", tag="samples"):
    """`wire.Samples`, whose numbers have not been looked into."""

    offset: int
    s16: bytes | None = None
    f32: msgspec.Raw = msgspec.Raw(NOTHING)


_ClientMessage = _Observe | _Samples | wire.Marker | wire.KeepAlive | wire.End


class Dialect(Protocol):
    """A sub-protocol."""

    subprotocol: str

    async def decode(self, event: Event, *, form: RowForm) -> Item:
        """What a client said, to a model that takes `form`. Raises WebSocketDisconnect where it has left."""
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
        self._decoder: msgspec.json.Decoder[_ClientMessage] = msgspec.json.Decoder(_ClientMessage)

    async def decode(self, event: Event, *, form: RowForm) -> Item:
        """What a client said. Raises WebSocketDisconnect where it has left."""
        text = _content(event, "text")
        if text is None:
            return Fatal(detail=f"a binary frame, expected text: this is {self.subprotocol}", code=NOT_THIS_KIND)
        try:
            message = self._decoder.decode(text)
            if len(text) > wire.LONGEST_CONTROL:
                if not isinstance(message, _Observe | _Samples):
                    raise MalformedBodyError(f"{len(text)} characters, expected at most {wire.LONGEST_CONTROL}")
                await asyncio.sleep(0)  # reading so much has taken a turn
            return await _item(message, form=form)
        except (msgspec.DecodeError, RecursionError, MalformedBodyError) as error:
            return Fatal(detail=f"no message of {self.subprotocol}: {bounds.reason(error)}", code=NOT_A_MESSAGE)

    def encode(self, message: wire.ServerMessage) -> dict[str, Any]:
        """The event that sends a message."""
        return {"type": "websocket.send", "text": msgspec.json.encode(message).decode()}

    def estimate(self, reply: Reply, *, arrays: bool) -> dict[str, Any]:
        """The event that sends the estimate of a reply, or its summary."""
        return self.encode(reply.message() if arrays else reply.summary())


class Binary:
    """Messages as bytes. Estimates go out as they are stored."""

    subprotocol = wire.SUBPROTOCOL_BINARY

    async def decode(self, event: Event, *, form: RowForm) -> Item:
        """What a client said. Raises WebSocketDisconnect where it has left."""
        data = _content(event, "bytes")
        if data is None:
            return Fatal(detail=f"a text frame, expected a binary one: this is {self.subprotocol}", code=NOT_THIS_KIND)
        try:
            message = binary.decode_client(data)
        except binary.MalformedFrame as error:
            return Fatal(detail=f"no message of {self.subprotocol}: {error}", code=NOT_A_MESSAGE)
        if isinstance(message, binary.Observations):
            return Observations(seq=message.seq, observed=[form.observed(row) for row in message.rows])
        return message

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


async def _item(message: _ClientMessage, *, form: RowForm) -> Item:
    """A message of JSON as it is handled. Chunks of sound become bytes, whatever form they came in."""
    if isinstance(message, _Observe):
        return Observations(seq=message.seq, observed=[_observed(message, form)])
    if isinstance(message, _Samples):
        return await _samples(message)
    if isinstance(message, wire.Marker) and len(message.text.encode()) > wire.LONGEST_MARKER:
        return Fatal(
            detail=f"a marker of {len(message.text.encode())} bytes, expected at most {wire.LONGEST_MARKER}",
            code=NOT_A_MESSAGE,
        )
    return message


def _observed(message: _Observe, form: RowForm) -> Observed:
    inputs = bytes(message.inputs)
    return Observed(
        x=bounds.one_of_json(bytes(message.x), size=form.size),
        inputs=None if inputs == NOTHING else bounds.one_of_json(inputs, size=form.input_size),
        time=message.time,
    )


async def _samples(message: _Samples) -> binary.Samples | Fatal:
    numbers = bytes(message.f32)
    if (message.s16 is None) is (numbers == NOTHING):
        return Fatal(detail="samples has s16, base64 of the samples, or f32, a list, and not both", code=NOT_A_MESSAGE)
    encoding: wire.Encoding = "f32" if message.s16 is None else "s16"
    data = message.s16
    if data is None:  # an infinity is refused with all else that is beyond 1
        data = b"".join(await in_turns(part.astype("<f4").tobytes() for part in bounds.numbers_of_json(numbers)))
    width = binary.WIDTHS[encoding]
    if not data or len(data) % width:
        return Fatal(
            detail=f"{len(data)} bytes of samples, expected whole samples of {width} bytes, and at least one",
            code=NOT_A_MESSAGE,
        )
    if not 0 <= message.offset <= binary.LARGEST_NUMBER:
        return Fatal(detail=f"offset is no number in [0, {binary.LARGEST_NUMBER}]", code=NOT_A_MESSAGE)
    return binary.Samples(offset=message.offset, encoding=encoding, data=data)
