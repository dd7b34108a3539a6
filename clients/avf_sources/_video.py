"""How long a file of video must be by its containers' own sizes: boxes of MP4 and MOV, elements of Matroska.

An MP4 counts among its frames those too that its edit list hides, so their number does not say whether the file is
whole; the sizes of its boxes do. The law: nothing here decodes.
"""

import struct
from typing import BinaryIO

from avf_sources._sound import Extent

_MOST_BOXES = 100_000
_MOST_INDEX = 64 << 20
_SEGMENT = b"\x18\x53\x80\x67"


def extent(file: BinaryIO, size: int) -> Extent | None:
    """What a container says of its file; None where only the frames that are there can tell."""
    start = file.read(12)
    if start[:4] == b"\x1aE\xdf\xa3":
        return _matroska(file, size)
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return _boxes(file, size)
    if start[:4] == b"RIFF" and start[8:] == b"AVI ":
        return Extent(edited=True) if _riff_is_whole(file, size) else None
    return None


def _riff_is_whole(file: BinaryIO, size: int) -> bool:
    """Whether all RIFF chunks of an AVI (OpenDML has several) are there: what is missing of its frames is empty."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8 or header[:4] != b"RIFF":
            return at > 0
        length = int.from_bytes(header[4:], "little")
        if length < 4 or at + 8 + length > size:
            return False
        at += 8 + length + length % 2
    return False


def _boxes(file: BinaryIO, size: int) -> Extent:
    """ISO 14496-12: a length and a name; 1 stands for a length of 64 bits, 0 for "to the end"."""
    at, fragments, edited = 0, False, False
    for _ in range(_MOST_BOXES):
        file.seek(at)
        header = file.read(16)
        if at == size or len(header) < 8:
            return Extent(expected=at, edited=edited)
        length, name = struct.unpack(">I4s", header[:8])
        if at and not all(32 <= byte < 127 for byte in name):
            return Extent(expected=at, edited=edited)  # what follows is no box
        fragments = fragments or name == b"moof"
        if name == b"moov":
            edited = b"elst" in header + file.read(min(length, _MOST_INDEX))
        if length == 1 and len(header) == 16:
            (length,) = struct.unpack(">Q", header[8:])
        if length == 0:
            return Extent(edited=edited)
        if length < 8 or at + length > size:
            return Extent(expected=max(at + length, size + 1), closed=not fragments)
        at += length
    return Extent()


def _matroska(file: BinaryIO, size: int) -> Extent:
    """RFC 8794: the header element, then the segment; a size of ones alone is that of a stream that goes on."""
    file.seek(4)
    length = _element_size(file)
    if length is None:
        return Extent()
    file.seek(length, 1)
    if file.read(4) != _SEGMENT:
        return Extent()
    length = _element_size(file)
    return Extent(closed=False) if length is None else Extent(expected=file.tell() + length)


def _element_size(file: BinaryIO) -> int | None:
    first = file.read(1)
    width = 9 - first[0].bit_length() if first and first[0] else 0
    rest = file.read(max(0, width - 1))
    value = int.from_bytes(first + rest) & (1 << 7 * width) - 1 if width else 0
    return None if not width or value == (1 << 7 * width) - 1 else value
