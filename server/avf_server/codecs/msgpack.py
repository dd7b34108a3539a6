"""MessagePack: the messages of JSON in binary. A missing number is nil or NaN."""

import avf_wire as wire
import msgspec
import numpy as np
from numpy.typing import NDArray

from avf_server.codecs.base import Body, Place, Steps, steps_of, write_steps
from avf_server.problems import MalformedBodyError


class MsgpackCodec:
    """Messages as MessagePack maps."""

    media_type = "application/msgpack"

    def steps(self, body: bytes, *, place: Place, size: int) -> Steps:
        """The observations of a `wire.Steps`."""
        return steps_of(self.decode(body, wire.Steps), place, size=size)

    def decode(self, body: bytes, kind: type[Body]) -> Body:
        """The message of this kind in a body. Raises MalformedBodyError."""
        try:
            return msgspec.msgpack.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedBodyError(f"the body is no {kind.__name__}: {error}") from error

    def encode(self, message: object) -> bytes:
        """The body of a message."""
        return msgspec.msgpack.encode(message)

    def note(self, note: bytes) -> msgspec.Raw:
        """The stored JSON, said in MessagePack."""
        return msgspec.Raw(msgspec.msgpack.encode(msgspec.json.decode(note)))


codec = MsgpackCodec()


def write_example(rows: NDArray[np.float32], *, seq: int) -> tuple[bytes, Place]:
    """A `wire.Steps`."""
    return write_steps(codec, rows, seq=seq)
