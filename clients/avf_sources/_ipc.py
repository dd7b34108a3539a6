"""Arrow's own format, in files and as streams: what its messages claim is counted before any of them is unpacked.

The law: a file is its stream, which the footer must agree with. A compressed buffer says, in its first 8 bytes, how
large it becomes; their sum is held against the limits. Layouts: https://arrow.apache.org/docs/format/Columnar.html
"""

import struct
from collections.abc import Iterator
from typing import Any

from avf_sources import Options

MAGIC = b"ARROW1"
_STREAM_AT = 8
"""Where the stream begins in a file: after the magic, padded."""
_BUFFER = struct.Struct("<qq")  # offset, length
_HEADER, _DICTIONARY_DATA, _LENGTH, _BUFFERS, _COMPRESSION = 2, 1, 0, 2, 3
"""Places of fields in Arrow's tables Message, DictionaryBatch and RecordBatch."""


def schema(ipc: Any, name: str, file: Any, options: Options) -> Any:
    """The schema of a file, or of a stream, whose claims are within the limits."""
    start = file.read(len(MAGIC))
    file.seek(0)
    count = ipc.open_file(file).num_record_batches if start == MAGIC else None
    _to_stream(file)
    seen, frames, total = 0, 0, 0
    for message in ipc.MessageReader.open_stream(file):
        if message.type in ("record batch", "dictionary"):
            rows, size = _claims(message)
            seen += message.type == "record batch"
            frames += rows if message.type == "record batch" else 0
            total += size
            options.check_frames(name, frames)
            options.check_bytes(name, total)
    if count not in (None, seen):
        raise ValueError(f"its footer says {count} batches, {seen} are there")
    _to_stream(file)
    return ipc.open_stream(file).schema


def batches(ipc: Any, file: Any, wanted: list[int]) -> Iterator[Any]:
    """The batches of the columns at these places."""
    _to_stream(file)
    yield from ipc.open_stream(file, options=ipc.IpcReadOptions(included_fields=wanted, use_threads=False))


def _to_stream(file: Any) -> None:
    file.seek(0)
    at = _STREAM_AT if file.read(len(MAGIC)) == MAGIC else 0
    file.seek(at)


def _claims(message: Any) -> tuple[int, int]:
    """How many rows a message says it has, and how many bytes it becomes."""
    data, body = memoryview(message.metadata), memoryview(message.body)
    batch = _table(data, _field(data, _u32(data, 0), _HEADER))
    if message.type == "dictionary":
        batch = _table(data, _field(data, batch, _DICTIONARY_DATA))
    length = _field(data, batch, _LENGTH)
    rows = 0 if length is None else _i64(data, length)
    if _field(data, batch, _COMPRESSION) is None:
        return rows, len(body)
    start = _table(data, _field(data, batch, _BUFFERS))
    size = 0
    for i in range(_u32(data, start)):
        offset, packed = _BUFFER.unpack_from(data, start + 4 + i * _BUFFER.size)
        if packed:
            claimed = _i64(body, offset)  # -1: it is not compressed after all
            size += max(claimed, packed)
    return rows, size


def _table(data: memoryview, at: int | None) -> int:
    """Where that lies which the offset at this place leads to."""
    if at is None:
        raise ValueError("a message lacks a part")
    return at + _u32(data, at)


def _field(data: memoryview, table: int, index: int) -> int | None:
    """Where a field of a table lies; None where it has none."""
    (back,) = struct.unpack_from("<i", data, table)
    entries = table - back
    (size,) = struct.unpack_from("<H", data, entries)
    at = 4 + 2 * index
    if at + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", data, entries + at)
    return table + offset if offset else None


def _u32(data: memoryview, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _i64(data: memoryview, at: int) -> int:
    return int(struct.unpack_from("<q", data, at)[0])
