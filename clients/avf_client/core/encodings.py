"""The two sub-protocols of a stream, as the client speaks them: messages to frames and back. No I/O.

The law: the state machine knows messages only; the sub-protocol that the server chose makes no difference to what is
said, only to how.
"""

from typing import Any, Protocol

import avf_wire as wire
import msgspec
import numpy as np
from avf_wire import binary
from avf_wire.rows import Observed, RowForm

from avf_client.core.protocol import Incoming, Outgoing
from avf_client.errors import ProtocolError

_decoder: msgspec.json.Decoder[wire.ServerMessage] = msgspec.json.Decoder(wire.ServerMessage)


class Encoding(Protocol):
    """How messages are written."""

    def encode(self, message: Outgoing) -> str | bytes:
        """The frame of a message."""
        ...

    def decode(self, data: str | bytes) -> Incoming:
        """The message of a frame. Raises ProtocolError."""
        ...


def chosen(subprotocol: str | None, form: RowForm) -> Encoding:
    """The encoding that a server chose, for steps of this form; servers that choose none speak JSON."""
    return Binary(form) if subprotocol == wire.SUBPROTOCOL_BINARY else Json()


class Json:
    """`avf.v1.json`."""

    def encode(self, message: Outgoing) -> str:
        """One JSON message a text frame."""
        if isinstance(message, binary.Samples):
            return msgspec.json.encode(_samples(message)).decode()
        return msgspec.json.encode(message).decode()

    def decode(self, data: str | bytes) -> Incoming:
        """The message of a text frame."""
        try:
            return _decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"not a message of {wire.SUBPROTOCOL_JSON}: {error}") from error


class Binary:
    """`avf.v1.bin`, for steps of this form."""

    def __init__(self, form: RowForm) -> None:
        self._form = form

    def encode(self, message: Outgoing) -> bytes:
        """One message a binary frame; what is missing is NaN."""
        if isinstance(message, wire.Observe):
            x = [None] * self._form.size if message.x is None else message.x
            kind: type[np.floating[Any]] = np.float64 if self._form.wide else np.float32
            inputs = None if message.inputs is None else np.array(message.inputs, dtype=kind)
            observed = Observed(x=np.array(x, dtype=kind), inputs=inputs, time=message.time)
            return binary.encode(binary.Observations(seq=message.seq, rows=self._form.row(observed)[None]))
        return binary.encode(message)

    def decode(self, data: str | bytes) -> Incoming:
        """The message of a binary frame."""
        if isinstance(data, str):
            raise ProtocolError(f"a text frame came, expected a binary one: this is {wire.SUBPROTOCOL_BINARY}")
        return binary.decode_server(data)


def _samples(message: binary.Samples) -> wire.Samples:
    if message.encoding == "s16":
        return wire.Samples(offset=message.offset, s16=bytes(message.data))
    return wire.Samples(offset=message.offset, f32=message.numbers().tolist())
