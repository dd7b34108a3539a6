"""MessagePack: the messages of JSON in binary. A missing number is nil or NaN."""

import msgspec
import numpy as np
from avf_wire.rows import RowForm
from numpy.typing import NDArray

from avf_server.codecs import bounds
from avf_server.codecs.base import Body, Place, Steps, check_place, write_steps


class MsgpackCodec:
    """Messages as MessagePack maps."""

    media_type = "application/msgpack"

    def steps(self, body: bytes, *, place: Place, form: RowForm, most: int) -> Steps:
        """The observations of a `wire.Steps`."""
        message = self.decode(body, bounds.Steps)
        check_place(place)
        observations = bounds.observed(message, reader=bounds.MSGPACK, form=form, most=most)
        return Steps(seq=message.seq, epoch=message.epoch, observations=observations)

    def decode(self, body: bytes, kind: type[Body]) -> Body:
        """The message of this kind in a body. Raises MalformedBodyError."""
        try:
            return msgspec.msgpack.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bounds.malformed(kind, error) from error

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
