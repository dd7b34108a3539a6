"""JSON: what is spoken where nothing else is asked for. A missing number is null."""

import msgspec
import numpy as np
from avf_wire.rows import RowForm
from numpy.typing import NDArray

from avf_server.codecs import bounds
from avf_server.codecs.base import Body, Place, Steps, check_place, write_steps


class JsonCodec:
    """Messages as JSON."""

    media_type = "application/json"

    def steps(self, body: bytes, *, place: Place, form: RowForm, most: int) -> Steps:
        """The observations of a `wire.Steps`."""
        message = self.decode(body, bounds.Steps)
        check_place(place)
        observations = bounds.observed(message, reader=bounds.JSON, form=form, most=most)
        return Steps(seq=message.seq, epoch=message.epoch, observations=observations)

    def decode(self, body: bytes, kind: type[Body]) -> Body:
        """The message of this kind in a body. Raises MalformedBodyError."""
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bounds.malformed(kind, error) from error

    def encode(self, message: object) -> bytes:
        """The body of a message."""
        return msgspec.json.encode(message)

    def note(self, note: bytes) -> msgspec.Raw:
        """The same bytes."""
        return msgspec.Raw(note)


codec = JsonCodec()


def write_example(rows: NDArray[np.float32], *, seq: int) -> tuple[bytes, Place]:
    """A `wire.Steps`."""
    return write_steps(codec, rows, seq=seq)
