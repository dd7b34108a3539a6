"""What a codec is: between the bytes of a body and the messages of `wire`.

The law: a codec knows bytes and nothing else; what it cannot read is a MalformedBodyError that says what was
expected. Every codec reads observations. Those that also read and write all other messages are MessageCodecs. Each
file of this folder holds one, as `codec`, and `write_example`, by which the suites test it unasked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import avf_wire as wire
import msgspec
import numpy as np
from avf_wire.binary import Floats

from avf_server import problems

Body = TypeVar("Body")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the address, and not the body, says that observations belong; None where it does not say."""

    seq: int | None
    epoch: int | None


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Observations `seq`, `seq` + 1, ... of `epoch` (None: the current one), with NaN where a number is missing."""

    seq: int
    epoch: int | None
    observations: Sequence[Floats]


class Codec(Protocol):
    """A form of bodies, told by its media type."""

    media_type: str

    def steps(self, body: bytes, *, place: Place, size: int) -> Steps:
        """The observations, of `size` numbers each, of a body. Raises MalformedBodyError."""
        ...


class Plugin(Protocol):
    """What a file of this folder offers."""

    codec: Codec

    def write_example(self, rows: Floats, *, seq: int) -> tuple[bytes, Place]:
        """A body with these rows as observations from `seq` on, and what its address says of them."""
        ...


@runtime_checkable
class MessageCodec(Codec, Protocol):
    """A codec of all messages."""

    def decode(self, body: bytes, kind: type[Body]) -> Body:
        """The message of this kind in a body. Raises MalformedBodyError."""
        ...

    def encode(self, message: object) -> bytes:
        """The body of a message."""
        ...

    def note(self, note: bytes) -> msgspec.Raw:
        """A note of a history as it is stored (JSON), as a part of a message to encode."""
        ...


def write_steps(codec: MessageCodec, rows: Floats, *, seq: int) -> tuple[bytes, Place]:
    """The example of a codec of all messages: observations say themselves where they belong."""
    return codec.encode(wire.Steps(seq=seq, observations=rows.tolist())), Place(seq=None, epoch=None)


def floats(x: wire.Observation, *, size: int) -> Floats:
    """The numbers of an observation in a message, as a model of `size` dimensions takes it: NaN where missing.

    What is beyond 32 bits becomes an infinity, which is refused with all that came as one.
    """
    if x is None:
        return np.full(size, np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        return np.asarray(x, dtype=np.float32)


def steps_of(message: wire.Steps, place: Place, *, size: int) -> Steps:
    """The observations of a message, which itself says where they belong."""
    if place.seq is not None or place.epoch is not None:
        raise problems.MalformedBodyError("seq and epoch stand in the body here; leave them out of the address")
    return Steps(
        seq=message.seq, epoch=message.epoch, observations=[floats(x, size=size) for x in message.observations]
    )


def check_raw(body: bytes, *, place: Place, size: int, of: str, width: int) -> int:
    """The seq of raw rows of `size` numbers, `width` bytes each. `of` names these numbers.

    Raises MalformedBodyError where the last row is cut, or `seq` is missing.
    """
    if place.seq is None:
        raise problems.MalformedBodyError("seq is missing: with this media type it stands in the address, as ?seq=1")
    if len(body) % (width * size):
        raise problems.MalformedBodyError(
            f"the body has {len(body)} bytes, expected a multiple of {width * size}: "
            f"observations of {size} {of} of {width} bytes"
        )
    return place.seq
