"""How many samples of a FLAC are there: by its last whole frame, where STREAMINFO does not say, or more than there are.

A frame has a checksum of its header (CRC-8) and of itself (CRC-16), and says which samples it holds: RFC 9639, section
9. The law: only frames whose checksums are right count.
"""

from typing import BinaryIO, NamedTuple

WINDOW = (
    1 << 20
)  # bytes from the end in which the last whole frame is looked for; no frame of a subset stream is longer
_MOST_CANDIDATES = 200
_STREAMINFO = 8  # where it begins: behind the marker and its own header
_TOTAL_AT = _STREAMINFO + 13


class _Frame(NamedTuple):
    first: int  # sample
    samples: int


def extent(file: BinaryIO, size: int) -> tuple[bool, tuple[int, bytes] | None]:
    """Whether STREAMINFO says how many samples there are, and the patch that makes it say how many whole ones are."""
    file.seek(0)
    start = file.read(_STREAMINFO + 34)
    if len(start) < _STREAMINFO + 34:
        return True, None
    total = int.from_bytes(start[_TOTAL_AT : _TOTAL_AT + 5]) & (1 << 36) - 1
    found = _samples(file, size, block=int.from_bytes(start[_STREAMINFO : _STREAMINFO + 2]))
    if not found and not total:
        raise ValueError("it says no length, and no whole frame of it is there")
    if not found or found == total:
        return total > 0, None
    high = start[_TOTAL_AT] & 0xF0
    return total > 0, (_TOTAL_AT, ((high << 32) | found).to_bytes(5))


def _samples(file: BinaryIO, size: int, *, block: int) -> int:
    """The samples up to the end of the last whole frame; 0 where none is found."""
    window = min(WINDOW, size)
    file.seek(size - window)
    tail = file.read(window)
    ends, at, tried = [len(tail)], len(tail), 0
    while (at := tail.rfind(b"\xff", 0, at)) >= 0 and tried < _MOST_CANDIDATES:
        frame = _frame(tail, at, block)
        if frame is None:
            continue
        tried += 1
        if any(_crc16(tail[at:end]) == 0 for end in ends[-3:]):
            return frame.first + frame.samples
        ends.append(at)
    return 0


def _frame(data: bytes, at: int, block: int) -> _Frame | None:
    """The frame whose header begins here, if one does."""
    head = data[at : at + 16]
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[2] >> 4 == 0 or head[2] & 15 == 15 or head[3] & 1:
        return None
    number, width = _coded(head[4:])
    size_code, rate_code = head[2] >> 4, head[2] & 15
    sized = {6: 1, 7: 2}.get(size_code, 0)
    length = 4 + width + sized + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if not width or len(head) <= length or _crc8(head[:length]) != head[length]:
        return None
    samples = _block_size(size_code, head[4 + width : 4 + width + sized])
    return _Frame(first=number if head[1] & 1 else number * block, samples=samples)


def _coded(data: bytes) -> tuple[int, int]:
    """A number coded as UTF-8 codes one, of up to seven bytes, and how many they are; 0 bytes where it is none."""
    ones = next((i for i in range(8) if not data[0] & (0x80 >> i)), 8)
    if ones == 0:
        return data[0], 1
    if ones in (1, 8) or len(data) < ones or any(byte & 0xC0 != 0x80 for byte in data[1:ones]):
        return 0, 0
    number = data[0] & (0x7F >> ones)
    for byte in data[1:ones]:
        number = number << 6 | byte & 0x3F
    return number, ones


def _block_size(code: int, extra: bytes) -> int:
    if code in (6, 7):
        return int.from_bytes(extra) + 1
    return 192 if code == 1 else 576 << (code - 2) if code < 6 else 256 << (code - 8)


def _table(polynomial: int, bits: int) -> list[int]:
    """What each byte makes of a checksum of so many bits."""
    table, top, mask = [], 1 << (bits - 1), (1 << bits) - 1
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return table


_TABLE_8, _TABLE_16 = _table(0x07, 8), _table(0x8005, 16)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _TABLE_8[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8) & 0xFFFF ^ _TABLE_16[value >> 8 ^ byte]
    return value
