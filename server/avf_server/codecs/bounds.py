"""How much the observations of a message hold, told from their bytes before anything is made of them. Pure.

The laws: no more than `most` observations, and no list of more than `size` numbers, ever become objects, however many
there are: a body of a million lists costs a look at its bytes. Observations are made one by one, by whoever iterates,
so that a large body can be read in turns with everybody else's work. What is given here is whole: one value of JSON, or
of MessagePack.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import avf_wire as wire
import msgspec
import numpy as np
from avf_wire.binary_arrays import Floats, Numbers
from avf_wire.rows import Observed, RowForm

from avf_server.problems import MalformedBodyError

PIECE = 1 << 16  # bytes of JSON numbers that are read at once
LONGEST_REASON = 200  # characters: what was wrong with a large body may quote all of it
BLANK = b" \t\r\n,"
NO_TIMES = "times is a list of numbers, with null where none was said"

_row_of_json = msgspec.json.Decoder(list[float | None])
_row_of_msgpack = msgspec.msgpack.Decoder(list[float | None])
_parts_of_msgpack = msgspec.msgpack.Decoder(list[msgspec.Raw])
_numbers_of_json = msgspec.json.Decoder(list[float])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Steps(wire.Request, frozen=True):
    """`wire.Steps`, whose lists have not been looked into."""

    seq: int
    observations: msgspec.Raw
    epoch: int | None = None
    inputs: msgspec.Raw = msgspec.Raw()
    times: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How lists are read in a form of bodies: rows of numbers, times, and what stands for nothing."""

    rows: Callable[..., Iterator[Numbers]]
    times: Callable[..., Sequence[float | None]]
    nothing: bytes


def malformed(kind: type, why: object) -> MalformedBodyError:
    """The problem of a body that is no message of this kind."""
    return MalformedBodyError(f"the body is no {kind.__name__}: {reason(why)}")


def reason(error: object) -> str:
    """What an error says, no longer than it helps."""
    text = str(error)
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


def check_count(count: int, *, most: int) -> None:
    """Raise MalformedBodyError unless so many observations may be in one body."""
    if not 1 <= count <= most:
        raise MalformedBodyError(f"{count} observations in one request, expected 1 to {most}")


def floats(values: Iterable[float | None] | None, *, size: int) -> Numbers:
    """The numbers of an observation in a message, as a model of `size` dimensions takes it: NaN where missing.

    They are of 64 bits, as they came; whoever checks them rounds them to what the model computes in.
    """
    if values is None:
        return np.full(size, np.nan)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def observed(message: Steps, *, reader: Reader, form: RowForm, most: int) -> Iterator[Observed]:
    """The observations of a message with what came with them. Raises MalformedBodyError, as `Reader.rows` does."""
    columns: dict[str, Iterable[Any]] = {
        "x": reader.rows(bytes(message.observations), size=form.size, most=most),
    }
    if (given := bytes(message.inputs)) not in (b"", reader.nothing):
        columns["inputs"] = reader.rows(given, size=form.input_size, most=most)
    if (given := bytes(message.times)) not in (b"", reader.nothing):
        columns["time"] = reader.times(given, most=most)
    return _together(columns)


def _together(columns: Mapping[str, Iterable[Any]]) -> Iterator[Observed]:
    try:
        for values in zip(*columns.values(), strict=True):
            yield Observed(**dict(zip(columns, values, strict=True)))
    except ValueError as error:
        raise malformed(Steps, "inputs and times, where they are given, are as many as the observations") from error


def of_json(text: bytes, *, size: int, most: int) -> Iterator[Numbers]:
    """The observations of a JSON list of them. Raises MalformedBodyError, where it can before the first is made."""
    text = text.strip()
    if not text.startswith(b"[") or b'"' in text or b"{" in text:
        raise malformed(Steps, "observations is a list of lists of numbers, with null for what is missing")
    if (lists := text.count(b"[") - 1) > most:
        check_count(lists, most=most)
    rows: list[bytes | None] = []
    *lists_of_text, last = text[1:-1].split(b"]")
    for piece in lists_of_text:
        before, bracket, numbers = piece.partition(b"[")
        if not bracket or b"[" in numbers:
            raise malformed(Steps, "an observation is a list of numbers, and holds no lists")
        rows += [*[None] * _nulls(before, most=most), numbers]
    rows += [None] * _nulls(last, most=most)
    check_count(len(rows), most=most)
    return (_json_row(row, size=size) for row in rows)


def one_of_json(text: bytes, *, size: int) -> Numbers:
    """The observation that a value of JSON is. Raises MalformedBodyError."""
    if text.count(b"[") > 1 or b'"' in text or b"{" in text:
        raise MalformedBodyError("an observation is a list of numbers, or null, and holds nothing else")
    return next(of_json(b"[%b]" % text, size=size, most=1))


def numbers_of_json(text: bytes) -> Iterator[Floats]:
    """The numbers of a JSON list, some at a time. Raises MalformedBodyError for what is none."""
    inner = text.strip()
    if not inner.startswith(b"[") or inner.count(b"[") > 1 or b'"' in inner or b"{" in inner:
        raise MalformedBodyError("this is no list of numbers")
    inner, at = inner[1:-1].strip(), 0
    while at < len(inner):
        end = inner.find(b",", at + PIECE)
        end = len(inner) if end < 0 else end
        try:
            values = _numbers_of_json.decode(b"[%b]" % inner[at:end])
        except _UNREADABLE as error:
            raise MalformedBodyError(reason(error)) from error
        with np.errstate(over="ignore"):
            yield np.array(values, dtype=np.float32)
        at = end + 1


def times_of_json(text: bytes, *, most: int) -> Sequence[float | None]:
    """The times of a JSON list of them. Raises MalformedBodyError."""
    inner = text.strip()
    if not inner.startswith(b"[") or inner.count(b"[") > 1 or b'"' in inner or b"{" in inner:
        raise malformed(Steps, NO_TIMES)
    check_count(inner.count(b",") + 1, most=most)
    return _times(inner, _row_of_json.decode)


def times_of_msgpack(data: bytes, *, most: int) -> Sequence[float | None]:
    """The times of a MessagePack array of them. Raises MalformedBodyError."""
    count = _length(data)
    if count is None:
        raise malformed(Steps, NO_TIMES)
    check_count(count, most=most)
    return _times(data, _row_of_msgpack.decode)


def _times(data: bytes, decode: Callable[[bytes], list[float | None]]) -> Sequence[float | None]:
    try:
        return [None if time is None or time != time else time for time in decode(data)]
    except _UNREADABLE as error:
        raise malformed(Steps, error) from error


def of_msgpack(data: bytes, *, size: int, most: int) -> Iterator[Numbers]:
    """The observations of a MessagePack array of them. Raises MalformedBodyError, as `of_json` does."""
    count = _length(data)
    if count is None:
        raise malformed(Steps, "observations is an array of arrays of numbers, with nil for what is missing")
    check_count(count, most=most)
    return (_msgpack_row(bytes(row), size=size) for row in _parts(data))


def _parts(data: bytes) -> Iterator[msgspec.Raw]:
    """The parts of an array; looked for at the first one, which takes a look at all."""
    yield from _parts_of_msgpack.decode(data)


def _nulls(text: bytes, *, most: int) -> int:
    """How many observations are wholly missing in what stands between two lists."""
    count = text.count(b"null")
    check_count(max(1, count), most=most)
    if text.translate(None, BLANK) != b"null" * count:
        raise malformed(Steps, "an observation is a list of numbers, or null")
    return count


def _json_row(numbers: bytes | None, *, size: int) -> Numbers:
    if numbers is None:
        return floats(None, size=size)
    count = numbers.count(b",") + 1
    if count > size:
        return _of_another_size(count)
    try:
        return floats(_row_of_json.decode(b"[%b]" % numbers), size=size)
    except _UNREADABLE as error:
        raise malformed(Steps, error) from error


def _msgpack_row(data: bytes, *, size: int) -> Numbers:
    if data == b"\xc0":
        return floats(None, size=size)
    count = _length(data)
    if count is None:
        raise malformed(Steps, "an observation is an array of numbers, or nil")
    if count > size:
        return _of_another_size(count)
    try:
        return floats(_row_of_msgpack.decode(data), size=size)
    except _UNREADABLE as error:
        raise malformed(Steps, error) from error


def _of_another_size(count: int) -> Numbers:
    """What stands for an observation of too many numbers, which is refused for that: one number, seen so often."""
    return np.broadcast_to(np.float64(np.nan), (count,))


def _length(data: bytes) -> int | None:
    """How many parts an array of MessagePack has, as its header says; None where it is no array."""
    first = data[0] if data else 0
    if first >> 4 == 0x9:
        return first & 0x0F
    width = {0xDC: 2, 0xDD: 4}.get(first)
    return None if width is None else int.from_bytes(data[1 : 1 + width], "big")


JSON = Reader(rows=of_json, times=times_of_json, nothing=b"null")
MSGPACK = Reader(rows=of_msgpack, times=times_of_msgpack, nothing=b"\xc0")
