"""JSON: what is spoken where nothing else is asked for. A missing number is null."""

import avf_wire as wire
import msgspec
import numpy as np
from numpy.typing import NDArray

from avf_server.codecs.base import Body, Place, Steps, steps_of, write_steps
from avf_server.problems import MalformedBodyError


class JsonCodec:
    """Messages as JSON."""

    media_type = "application/json"

    def steps(self, body: bytes, *, place: Place, size: int) -> Steps:
        """The observations of a `wire.Steps`."""
        return steps_of(self.decode(body, wire.Steps), place, size=size)

    def decode(self, body: bytes, kind: type[Body]) -> Body:
        """The message of this kind in a body. Raises MalformedBodyError."""
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedBodyError(f"the body is no {kind.__name__}: {error}") from error

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
