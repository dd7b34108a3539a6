"""The decisions of a tick, as pure functions: no I/O, no clock, nothing kept between calls.

The laws: a tick takes at most one frame of a session, the oldest first; and whether an observation applies
follows from where the session stands, its seq, and the stored reply, and from nothing else.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable
from enum import Enum, auto
from typing import TypeVar

import numpy as np
from avf_wire.binary import Floats

from avf_server.stores.base import Position
from avf_server.stores.replies import DIGEST_SIZE

Item = TypeVar("Item")


class Verdict(Enum):
    """What is to be done with an observation."""

    APPLY = auto()
    REPLAY = auto()
    CONFLICT = auto()
    GAP = auto()
    TOO_OLD = auto()
    OTHER_EPOCH = auto()


def take(queue: Iterable[Item], *, key: Callable[[Item], Hashable], max_batch: int) -> tuple[list[Item], list[Item]]:
    """The items of this tick and those left for later, both in the queue's order.

    Every item taken is the oldest of its session; no item is taken while an older session's oldest is left.
    """
    taken: list[Item] = []
    left: list[Item] = []
    seen: set[Hashable] = set()
    for item in queue:
        if len(taken) < max_batch and key(item) not in seen:
            taken.append(item)
        else:
            left.append(item)
        seen.add(key(item))
    return taken, left


def judge(position: Position, *, epoch: int | None, seq: int, digest: bytes, stored: bytes | None) -> Verdict:
    """Whether observation `seq` applies. `digest` is its own, `stored` that of the reply kept for `seq`, if any."""
    if epoch is not None and epoch != position.epoch:
        return Verdict.OTHER_EPOCH
    if seq == position.seq + 1:
        return Verdict.APPLY
    if seq > position.seq:
        return Verdict.GAP
    if stored is None:
        return Verdict.TOO_OLD
    return Verdict.REPLAY if stored == digest else Verdict.CONFLICT


def observation_digest(x: Floats) -> bytes:
    """The digest by which an observation is known again; missing numbers are NaN. x has shape (observation,).

    It is of the numbers in 64 bits, as in every release: what was applied before an upgrade is known again after it.
    """
    canonical = np.where(np.isnan(x), np.nan, x.astype(np.float64) + 0.0)  # one NaN, one zero
    return hashlib.blake2b(canonical.astype("<f8", copy=False).tobytes(), digest_size=DIGEST_SIZE).digest()


def padded_size(rows: int, sizes: tuple[int, ...]) -> int:
    """The smallest of the warmed sizes (ascending) that holds `rows` rows."""
    return next((size for size in sizes if size >= rows), rows)


def warmed_sizes(max_batch: int) -> tuple[int, ...]:
    """Powers of two, and `max_batch` itself."""
    return (*(1 << bit for bit in range((max_batch - 1).bit_length())), max_batch)
