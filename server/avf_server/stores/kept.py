"""Beliefs as stores keep them, with what a session keeps beside: the time of its last observation, and what listens.

    "avf-kept" | f64 time | u32 bytes of what listens | these | the belief as a safetensors file

The law: a belief with nothing beside is the file alone, as in every release. A file cannot begin with these words: its
first eight bytes are the length of its header, which is bounded. A time that is not there is not a number.
"""

import math
import struct
from typing import NamedTuple

MARK = b"avf-kept"
_BESIDE = struct.Struct("<dI")
_HEAD = len(MARK) + _BESIDE.size


class Kept(NamedTuple):
    """A belief as a file (None: the prior), the time of the last observation, and what judges steps; None: none."""

    belief: bytes | None
    time: float | None = None
    beside: bytes | None = None


def pack(kept: Kept) -> bytes | None:
    """What a store keeps."""
    if kept.belief is None or (kept.time is None and kept.beside is None):
        return kept.belief
    state = kept.beside or b""
    beside = _BESIDE.pack(math.nan if kept.time is None else kept.time, len(state))
    return b"".join((MARK, beside, state, kept.belief))


def unpack(data: bytes | None) -> Kept:
    """What a store kept."""
    if data is None or not data.startswith(MARK) or len(data) < _HEAD:
        return Kept(data)
    time, length = _BESIDE.unpack_from(data, len(MARK))
    end = _HEAD + length
    return Kept(data[end:], None if math.isnan(time) else time, data[_HEAD:end] or None)
