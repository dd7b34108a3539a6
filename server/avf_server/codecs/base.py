"""What a codec is: between the bytes of a body and the messages of `wire`.

The law: a codec knows bytes and nothing else; what it cannot read is a MalformedBodyError that says what was
expected. Every codec reads observations. Those that also read and write all other messages are MessageCodecs. Each
file of this folder holds one, as `codec`, and `write_example`, by which the suites test it unasked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import avf_wire as wire
import msgspec
from avf_wire.binary import Floats
from avf_wire.rows import Observed, RowForm

from avf_server import problems
from avf_server.codecs.bounds import check_count

Body = TypeVar("Body")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the address, and not the body, says that observations belong; None where it does not say."""

    seq: int | None
    epoch: int | None


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Observations `seq`, `seq` + 1, ... of `epoch` (None: the current one), with what came with them.

    They may be made as they are iterated over, once, and may then raise MalformedBodyError.
    """

    seq: int
    epoch: int | None
    observations: Iterable[Observed]


class Codec(Protocol):
    """A form of bodies, told by its media type."""

    media_type: str

    def steps(self, body: bytes, *, place: Place, form: RowForm, most: int) -> Steps:
        """The observations of a body, each of this form. Raises MalformedBodyError.

        Where there are more than `most`, or none, it is raised before anything is made of them.
        """
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


def check_place(place: Place) -> None:
    """Raise MalformedBodyError where the address says what the body says itself."""
    if place.seq is not None or place.epoch is not None:
        raise problems.MalformedBodyError("seq and epoch stand in the body here; leave them out of the address")


def check_raw(body: bytes, *, place: Place, size: int, most: int, of: str, width: int) -> int:
    """The seq of raw rows of `size` numbers, `width` bytes each. `of` says what a row is of.

    Raises MalformedBodyError where the last row is cut, `seq` is missing, or there are more than `most` rows, or none.
    """
    if place.seq is None:
        raise problems.MalformedBodyError("seq is missing: with this media type it stands in the address, as ?seq=1")
    if len(body) % (width * size):
        raise problems.MalformedBodyError(
            f"the body has {len(body)} bytes, expected a multiple of {width * size}: observations of {of}"
        )
    check_count(len(body) // (width * size), most=most)
    return place.seq
