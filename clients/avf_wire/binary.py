"""Sub-protocol `avf.v1.bin`: the stream's messages as bytes, one a WebSocket frame. The server imports this file too.

    header, 16 bytes, little-endian            u8 magic 0xAF | u8 kind | u16 count | u32 length | u64 number
    payload, `length` bytes                    as docs/protocol.md states it for every kind

The law: it says the same as `avf.v1.json`, in fewer bytes, and with numbers as they are in memory. What is no message
is a MalformedFrame that says what was expected; whatever the bytes are, nothing else is raised. No I/O.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import msgspec
import numpy as np

import avf_wire as wire
from avf_wire import binary_estimates
from avf_wire.binary_arrays import Floats, MalformedFrame
from avf_wire.binary_estimates import Estimate, Moments, estimate_of, message_of

__all__ = ["Estimate", "Floats", "MalformedFrame", "Moments", "estimate_of", "message_of"]  # handed on, with all here

HEADER = struct.Struct("<BBHIQ")
MAGIC = 0xAF
LARGEST_NUMBER = 2**53  # of a seq, an epoch or an offset, as everywhere in the protocol
WIDTHS: Mapping[wire.Encoding, int] = {"s16": 2, "f32": 4}  # bytes of a sample
LEVELS = 1 << 15
"""A sample of 16 bits is k / LEVELS."""


class Kind(IntEnum):
    """What a message is; those from 0x80 on come from servers, MARKER and KEEPALIVE from both."""

    OBSERVE = 0x01
    SAMPLES_F32 = 0x02
    SAMPLES_S16 = 0x03
    MARKER = 0x04
    END = 0x05
    KEEPALIVE = 0x06
    BEGIN = 0x81
    ESTIMATE = 0x82
    ACK = 0x83
    ERROR = 0x84
    ENDED = 0x85
    GOAWAY = 0x86


_OBSERVE = int(Kind.OBSERVE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """OBSERVE: `rows` (T, D) are the observations `seq`, `seq` + 1, ...; NaN where a number is missing."""

    seq: int
    rows: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """SAMPLES_F32 and SAMPLES_S16: `data` are whole samples in `encoding`; the first one is sample `offset`."""

    offset: int
    encoding: wire.Encoding
    data: bytes | memoryview

    def __len__(self) -> int:
        return len(self.data) // WIDTHS[self.encoding]

    def numbers(self) -> Floats:
        """The samples (T,) as 32-bit numbers: 16-bit ones within [-1, 1)."""
        return to_numbers(self.data, encoding=self.encoding)


ClientMessage: TypeAlias = Observations | Samples | wire.Marker | wire.KeepAlive | wire.End
ServerMessage: TypeAlias = (
    wire.Begin | Estimate | wire.Ack | wire.Marker | wire.KeepAlive | wire.Error | wire.Ended | wire.GoAway
)


def to_numbers(data: bytes | memoryview, *, encoding: wire.Encoding) -> Floats:
    """Samples (T,) as 32-bit numbers: 16-bit ones are k / 32768."""
    if encoding == "f32":
        return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(LEVELS)


def encode(message: ClientMessage | ServerMessage) -> bytes:
    """The bytes of a message. Raises ValueError for numbers that have no place in it."""
    try:
        kind, count, number, payload = _parts(message)
        return HEADER.pack(MAGIC, kind, count, len(payload), number) + payload
    except struct.error as error:
        raise ValueError(f"the message cannot be written: {error}") from error


def decode_client(data: bytes) -> ClientMessage:
    """What a client said. Raises MalformedFrame."""
    kind, count, number, payload = _frame(data, _CLIENT_KINDS)
    if kind is Kind.OBSERVE:
        return _observations(count, number, payload)
    _no_count(kind, count)
    if kind is Kind.SAMPLES_F32 or kind is Kind.SAMPLES_S16:
        return _samples(kind, number, payload)
    return _said_by_both(kind, number, payload) or wire.End()


def one_observation(data: bytes, *, words: int) -> tuple[int, Floats] | None:
    """The seq and the row of a message that holds one observation of so many words; None where it is anything else.

    It reads in no time what servers are mostly told; what this does not know is for `decode_client` to judge.
    """
    if len(data) != HEADER.size + 4 * words:
        return None
    magic, code, count, length, seq = HEADER.unpack_from(data)
    if magic != MAGIC or code != _OBSERVE or count != 1 or length != 4 * words or seq > LARGEST_NUMBER:
        return None
    return seq, np.frombuffer(data, dtype="<f4", offset=HEADER.size)


def decode_server(data: bytes) -> ServerMessage:
    """What a server said. Raises MalformedFrame."""
    kind, count, number, payload = _frame(data, _SERVER_KINDS)
    if kind is Kind.ESTIMATE:
        return binary_estimates.decode(count, seq=number, payload=payload)
    _no_count(kind, count)
    if kind is Kind.ACK:
        return _ack(number, payload)
    if kind in _DECODERS:
        _no_number(kind, number)
        try:
            return _DECODERS[kind].decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedFrame(f"the payload of {kind.name} is not the message in JSON: {error}") from error
    return _said_by_both(kind, number, payload) or wire.GoAway()


_CLIENT_KINDS = frozenset(kind for kind in Kind if kind < 0x80)
_SERVER_KINDS = frozenset(kind for kind in Kind if kind >= 0x80) | {Kind.MARKER, Kind.KEEPALIVE}
_DECODERS: Mapping[Kind, msgspec.json.Decoder[wire.Begin | wire.Error | wire.Ended]] = {
    Kind.BEGIN: msgspec.json.Decoder(wire.Begin),
    Kind.ERROR: msgspec.json.Decoder(wire.Error),
    Kind.ENDED: msgspec.json.Decoder(wire.Ended),
}
_JSON: Mapping[type, Kind] = {wire.Begin: Kind.BEGIN, wire.Error: Kind.ERROR, wire.Ended: Kind.ENDED}
_EMPTY: Mapping[type, Kind] = {wire.End: Kind.END, wire.KeepAlive: Kind.KEEPALIVE, wire.GoAway: Kind.GOAWAY}
_SAMPLES: Mapping[wire.Encoding, Kind] = {"f32": Kind.SAMPLES_F32, "s16": Kind.SAMPLES_S16}

_ACK = struct.Struct("<QQ")  # epoch, durable_seq


def _parts(message: ClientMessage | ServerMessage) -> tuple[Kind, int, int, bytes]:
    """Kind, count, number and payload."""
    if isinstance(message, Estimate):
        return Kind.ESTIMATE, *binary_estimates.encode(message)
    if isinstance(message, Observations):
        rows = np.ascontiguousarray(message.rows, dtype="<f4")
        return Kind.OBSERVE, len(rows), message.seq, rows.tobytes()
    if isinstance(message, Samples):
        return _SAMPLES[message.encoding], 0, message.offset, bytes(message.data)
    if isinstance(message, wire.Ack):
        return Kind.ACK, 0, message.seq, _ACK.pack(message.epoch, binary_estimates.or_unknown(message.durable_seq))
    if isinstance(message, wire.Marker):
        return Kind.MARKER, 0, 0, message.text.encode()
    if isinstance(message, wire.Begin | wire.Error | wire.Ended):
        return _JSON[type(message)], 0, 0, msgspec.json.encode(message)
    return _EMPTY[type(message)], 0, 0, b""


def _frame(data: bytes, kinds: frozenset[Kind]) -> tuple[Kind, int, int, memoryview]:
    """The header, checked against what came with it."""
    if len(data) < HEADER.size:
        raise MalformedFrame(f"{len(data)} bytes, expected a header of {HEADER.size}")
    magic, code, count, length, number = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise MalformedFrame(
            f"the first byte is {magic:#04x}, expected {MAGIC:#04x}: this is {wire.SUBPROTOCOL_BINARY}"
        )
    if code not in kinds:
        names = ", ".join(f"{kind.name} {kind:#04x}" for kind in sorted(kinds))
        raise MalformedFrame(f"kind {code:#04x} is not said in this direction; there are {names}")
    if length != len(data) - HEADER.size:
        raise MalformedFrame(f"the header says {length} bytes, {len(data) - HEADER.size} came after it")
    if number > LARGEST_NUMBER:
        raise MalformedFrame(f"the number is {number}, expected at most 2^53")
    return Kind(code), count, number, memoryview(data)[HEADER.size :]


def _no_count(kind: Kind, count: int) -> None:
    if count:
        raise MalformedFrame(f"the count of {kind.name} is {count}, expected 0")


def _no_number(kind: Kind, number: int) -> None:
    if number:
        raise MalformedFrame(f"the number of {kind.name} is {number}, expected 0")


def _observations(count: int, seq: int, payload: memoryview) -> Observations:
    if count < 1 or not payload or len(payload) % (4 * count):
        raise MalformedFrame(
            f"{len(payload)} bytes for {count} observations: expected at least one, of as many numbers of 4 bytes each"
        )
    return Observations(seq=seq, rows=np.frombuffer(payload, dtype="<f4").reshape(count, -1))


def _samples(kind: Kind, offset: int, payload: memoryview) -> Samples:
    encoding: wire.Encoding = "f32" if kind is Kind.SAMPLES_F32 else "s16"
    if not payload or len(payload) % WIDTHS[encoding]:
        raise MalformedFrame(f"{len(payload)} bytes of samples, expected whole samples of {WIDTHS[encoding]} bytes")
    return Samples(offset=offset, encoding=encoding, data=payload)


def _said_by_both(kind: Kind, number: int, payload: memoryview) -> wire.Marker | wire.KeepAlive | None:
    """A message of either direction; None for one that says nothing but its kind."""
    _no_number(kind, number)
    if kind is not Kind.MARKER:
        if payload:
            raise MalformedFrame(f"{len(payload)} bytes after {kind.name}, expected none")
        return wire.KeepAlive() if kind is Kind.KEEPALIVE else None
    if len(payload) > wire.LONGEST_MARKER:
        raise MalformedFrame(f"a marker of {len(payload)} bytes, expected at most {wire.LONGEST_MARKER}")
    try:
        return wire.Marker(text=str(payload, "utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedFrame(f"the marker is not UTF-8: {error.reason} at byte {error.start}") from error


def _ack(seq: int, payload: memoryview) -> wire.Ack:
    if len(payload) != _ACK.size:
        raise MalformedFrame(f"{len(payload)} bytes after ACK, expected {_ACK.size}")
    epoch, durable_seq = _ACK.unpack(payload)
    return wire.Ack(epoch=epoch, seq=seq, durable_seq=binary_estimates.known(durable_seq))
