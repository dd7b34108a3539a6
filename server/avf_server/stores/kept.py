"""Beliefs as stores keep them: with the time of the last observation before them, where the session has a clock.

    "avf-time" | f64 time, little-endian | the belief as a safetensors file

The law: a belief without a time is the file alone, as in every release. A file cannot begin with these words: its first
eight bytes are the length of its header, which is bounded.
"""

import struct
from typing import NamedTuple

CLOCK = b"avf-time"
_TIME = struct.Struct("<d")
_HEAD = len(CLOCK) + _TIME.size


class Kept(NamedTuple):
    """A belief as a file (None: the prior), and the time of the last observation; None where there is none."""

    belief: bytes | None
    time: float | None = None


def pack(kept: Kept) -> bytes | None:
    """What a store keeps."""
    if kept.belief is None or kept.time is None:
        return kept.belief
    return CLOCK + _TIME.pack(kept.time) + kept.belief


def unpack(data: bytes | None) -> Kept:
    """What a store kept."""
    if data is None or not data.startswith(CLOCK) or len(data) < _HEAD:
        return Kept(data)
    return Kept(data[_HEAD:], *_TIME.unpack_from(data, len(CLOCK)))
