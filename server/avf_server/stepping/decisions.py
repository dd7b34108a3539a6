"""The decisions of a tick, as pure functions: no I/O, no clock, nothing kept between calls.

The laws: a tick takes at most one frame of a session, the oldest first; its places, and those of the queue before it,
are shared by owners, however many sessions and connections each has; and whether an observation applies follows from
where the session stands, its seq, and the stored reply, and from nothing else.
"""

import hashlib
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from enum import Enum, auto
from heapq import heapify, heappop, heappush
from itertools import accumulate
from typing import TypeVar

import numpy as np
from avf_wire.rows import Observed

from avf_server.stores.base import Position
from avf_server.stores.replies import DIGEST_SIZE

Item = TypeVar("Item")
Owner = TypeVar("Owner", bound=Hashable)


class Verdict(Enum):
    """What is to be done with an observation."""

    APPLY = auto()
    REPLAY = auto()
    CONFLICT = auto()
    GAP = auto()
    TOO_OLD = auto()
    OTHER_EPOCH = auto()


def take(
    queue: Sequence[Item],
    *,
    session: Callable[[Item], Hashable],
    owner: Callable[[Item], Hashable],
    weight: Callable[[Item], int],
    ahead: Mapping[Hashable, int],
    max_batch: int,
    under_way: Collection[Hashable] = (),
) -> tuple[list[Item], list[Item], Mapping[Hashable, int]]:
    """The items of this tick and those left for later, both in the queue's order, and `ahead` of the next tick.

    Of sessions that are `under_way`, in a tick before this one, nothing is taken.

    An item is `weight` rows, one for each particle; a tick has `max_batch` rows, or one item of more, or none where
    that is 0. `ahead` says how many rows an owner has had more than the one who has had the fewest, among those who
    wait; who is not in it has had no more. Each turn goes to the owner who has had the fewest, and of those to the one
    whose item is the oldest. Every item taken is the oldest of its session, and of the oldest ones the oldest of its
    owner.
    """
    sessions = {session(item) for item in queue}
    if len(sessions) == len(queue) and sum(map(weight, queue)) <= max_batch and sessions.isdisjoint(under_way):
        return list(queue), [], {}
    ready: dict[Hashable, deque[int]] = {}
    seen: set[Hashable] = set()
    for index, item in enumerate(queue):
        at = session(item)
        if at not in seen and at not in under_way:
            seen.add(at)
            ready.setdefault(owner(item), deque()).append(index)
    turns = [(ahead.get(each, 0), indices[0], each) for each, indices in ready.items()]  # no two have the same index
    heapify(turns)
    taken: set[int] = set()
    had: dict[Hashable, int] = dict(ahead)
    rows = 0
    while turns and max_batch > 0:
        count, index, each = heappop(turns)
        rows += weight(queue[index])
        if taken and rows > max_batch:
            break  # it is the first of the next tick: what is large is not passed over for what is small
        taken.add(index)
        had[each] = count + weight(queue[index])
        ready[each].popleft()
        if ready[each]:
            heappush(turns, (had[each], ready[each][0], each))
    left = [item for index, item in enumerate(queue) if index not in taken]
    waiting = {each: had.get(each, 0) for each in map(owner, left)}
    fewest = min(waiting.values(), default=0)
    return [queue[index] for index in sorted(taken)], left, {each: count - fewest for each, count in waiting.items()}


def fitting(weights: Sequence[int], *, most: int) -> int:
    """How many of these items, from the first on, fit in `most` rows; one at least, where there is any."""
    rows = list(accumulate(weights))
    return max(min(1, len(rows)), bisect_right(rows, most))


def gives_way(held: Mapping[Owner, int], owner: Owner, *, limit: int) -> Owner | None:
    """Whose newest item leaves a full queue for a new one of `owner`; None where the new one is to be refused.

    `held` counts the items of each owner, `limit` in all. An owner's share is what is left to each where all who hold
    any, and the new one, hold as many; one within its share never gives way.
    """
    share = max(1, limit // len({*held, owner}))
    most = max(held, key=lambda each: held[each])
    return most if held.get(owner, 0) < share < held[most] else None


def judge(position: Position, *, epoch: int | None, seq: int, observed: Observed, stored: bytes | None) -> Verdict:
    """Whether observation `seq` applies. `stored` is the digest of that which the reply kept for `seq` answers."""
    if epoch is not None and epoch != position.epoch:
        return Verdict.OTHER_EPOCH
    if seq == position.seq + 1:
        return Verdict.APPLY
    if seq > position.seq:
        return Verdict.GAP
    if stored is None:
        return Verdict.TOO_OLD
    return Verdict.REPLAY if stored == observation_digest(observed) else Verdict.CONFLICT


def observation_digest(observed: Observed) -> bytes:
    """The digest by which an observation, with all that came with it, is known again; missing numbers are NaN.

    It is of the numbers in 64 bits, as in every release: what was applied before an upgrade is known again after it.
    """
    if observed.inputs is None and observed.time is None:
        canonical = observed.x.astype("<f8")
    else:
        parts = [observed.x, observed.inputs, None if observed.time is None else [observed.time]]
        canonical = np.concatenate([np.asarray(part, dtype="<f8") for part in parts if part is not None])
    canonical += 0.0  # one zero
    if math.isnan(canonical.dot(canonical)):
        canonical[np.isnan(canonical)] = np.nan  # one NaN
    return hashlib.blake2b(canonical.data, digest_size=DIGEST_SIZE).digest()


def padded_size(rows: int, sizes: tuple[int, ...]) -> int:
    """The smallest of the warmed sizes (ascending) that holds `rows` rows."""
    return next((size for size in sizes if size >= rows), rows)


def warmed_sizes(max_batch: int) -> tuple[int, ...]:
    """Powers of two, and `max_batch` itself."""
    return (*(1 << bit for bit in range((max_batch - 1).bit_length())), max_batch)
