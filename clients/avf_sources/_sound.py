"""How long a file of sound is by its own header, and how to mend one that was written before the length was known.

A recorder that writes to a pipe, or that lost its power, leaves a header without a length: zeros, or the largest
numbers. libsndfile makes nothing, or too much, of many of these. The law: nothing here decodes; a mended header says
what is there, and what a closed header says is never changed unless that is asked for.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from avf_sources import _flac

_MOST_CHUNKS = 10_000
_HUGE = 0x7FFF0000
"""From here on sizes in a header stand for "until I am stopped": 2 GiB less a header, 2 GiB, 4 GiB less one."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What a header says of its file.

    expected  bytes that the file must have; 0 where the header says nothing of it
    closed    False where the header was written before the length was known
    patches   (position, bytes) which make the header say what is there, where it says anything else
    beyond    bytes after the sound that are of no chunk
    edited    whether an edit list may hide some of what is there
    """

    expected: int = 0
    closed: bool = True
    patches: tuple[tuple[int, bytes], ...] = ()
    beyond: int = 0
    edited: bool = False

    def short(self, size: int) -> bool:
        """Whether a file of so many bytes ends before its header says; of FLAC, its whole frames tell."""
        return self.expected > size or (self.expected == 0 and bool(self.patches))


def extent(file: BinaryIO, size: int) -> Extent:
    """What the header of a file of `size` bytes says. Raises ValueError where a header is damaged."""
    start = file.read(12)
    if start.startswith(b"NIST_1A"):
        return _sphere(start + file.read(4096 - len(start)))
    if start[:4] in (b"RIFF", b"RF64", b"BW64") and start[8:] == b"WAVE":
        return _wave(file, size, start[:4])
    if start[:4] == b"FORM" and start[8:] in (b"AIFF", b"AIFC"):
        return _aiff(file, size)
    if start[:4] == b"fLaC":
        closed, patch = _flac.extent(file, size)
        return Extent(closed=closed, patches=(patch,) if patch else ())
    if start[:4] == b"OggS":
        return Extent(closed=_ogg_ends(file, size))
    return Extent()


def _sphere(header: bytes) -> Extent:
    """NIST SPHERE: lines `field -type value` up to `end_head`, in a header whose length is its second line."""
    lines = header.partition(b"end_head")[0].decode("latin-1").splitlines()
    fields = {words[0]: words[-1] for words in (line.split() for line in lines[2:]) if len(words) == 3}
    if fields.get("sample_coding", "pcm") not in ("pcm", "ulaw", "alaw"):
        raise ValueError(f"its samples are coded as {fields['sample_coding']}: convert it with sph2pipe")
    try:
        numbers = [int(fields[key]) for key in ("sample_count", "channel_count", "sample_n_bytes")]
        return Extent(expected=int(lines[1]) + numbers[0] * numbers[1] * numbers[2])
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(f"its SPHERE header is damaged, {error!r}") from error


def _wave(file: BinaryIO, size: int, form: bytes) -> Extent:
    """RIFF WAVE, and RF64 whose chunk `ds64` holds what 32 bits do not: `data` holds the samples."""
    long_at = 0
    for name, at, length in _chunks(file, "<4sI"):
        if name == b"ds64":
            long_at = at
        if name == b"data":
            there = size - at
            if form != b"RIFF" and long_at and length == 0xFFFFFFFF:
                file.seek(long_at + 8)
                length = int.from_bytes(file.read(8), "little")
            patches = _wave_patches(size, there, data_at=at - 4, long_at=long_at)
            if length == 0 and _is_chunk(file, at, size):
                return Extent()
            if length == 0 or (length >= _HUGE and length > there):
                return Extent(closed=False, patches=patches)
            beyond = max(0, there - length - length % 2)
            ends = beyond <= 8 or _is_chunk(file, at + length + length % 2, size)
            return Extent(expected=at + length, patches=patches, beyond=0 if ends else beyond)
    return Extent()


def _wave_patches(size: int, there: int, *, data_at: int, long_at: int) -> tuple[tuple[int, bytes], ...]:
    """The sizes of the whole and of `data`, in 64 bits too where there is a place for these."""
    most = 0xFFFFFFFF
    if long_at:
        sizes = struct.pack("<QQQ", size - 8, there, 0)
        return ((4, struct.pack("<I", most)), (long_at, sizes), (data_at, struct.pack("<I", most)))
    return ((4, struct.pack("<I", min(size - 8, most))), (data_at, struct.pack("<I", min(there, most))))


def _aiff(file: BinaryIO, size: int) -> Extent:
    """AIFF: `COMM` holds the number of frames and their width, `SSND` the samples behind eight bytes."""
    common: tuple[int, int, int] | None = None
    for name, at, length in _chunks(file, ">4sI"):
        if name == b"COMM":
            channels, frames, bits = struct.unpack(">hIh", file.read(8))
            common = at, frames, max(1, channels * ((bits + 7) // 8))
        if name == b"SSND" and common is not None:
            comm_at, frames, width = common
            there = size - at - 8
            patches = (
                (4, struct.pack(">I", min(size - 8, 0xFFFFFFFF))),
                (at - 4, struct.pack(">I", min(there + 8, 0xFFFFFFFF))),
                (comm_at + 2, struct.pack(">I", max(0, min(there // width, 0xFFFFFFFF)))),
            )
            unknown = length <= 8 or (length >= _HUGE and length > there + 8) or frames in (0, 0xFFFFFFFF)
            if unknown and not (frames == 0 and length <= 8 and _is_chunk(file, at + length, size, order=">4sI")):
                return Extent(closed=False, patches=patches if there > 0 else ())
            return Extent(expected=at + length, patches=patches)
    return Extent()


def _ogg_ends(file: BinaryIO, size: int) -> bool:
    """Whether the last page says that the stream ends with it, and is all there."""
    window = min(size, 1 << 17)
    file.seek(size - window)
    tail = file.read(window)
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27 or not tail[at + 5] & 4:
        return False
    table = tail[at + 27 : at + 27 + tail[at + 26]]
    return len(tail) >= at + 27 + tail[at + 26] + sum(table)


def _chunks(file: BinaryIO, form: str) -> Iterator[tuple[bytes, int, int]]:
    """The name, the place of the content and the length of each chunk; they are padded to even lengths."""
    at = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            return
        name, length = struct.unpack(form, header)
        yield name, at + 8, length
        at += 8 + length + length % 2


def _is_chunk(file: BinaryIO, at: int, size: int, *, order: str = "<4sI") -> bool:
    """Whether another chunk begins there, which fits into the file."""
    file.seek(at)
    header = file.read(8)
    if len(header) < 8:
        return False
    name, length = struct.unpack(order, header)
    return all(32 <= byte < 127 for byte in name) and at + 8 + length <= size + 1
