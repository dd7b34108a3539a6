"""What a store is: it keeps sessions, and moves one on by compare-and-set only.

The law: a commit names the (epoch, seq) that it continues. It is applied whole where the session still stands
there, and not at all otherwise. A store that cannot be reached raises StoreError, and whether a commit was
applied is then unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import msgspec
from avf_client import wire

from avf_server.batching import DIGEST_SIZE, Position


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes about a session; `owner` is the hash of an API key, empty on an open server."""

    id: str
    owner: str
    model: str
    seed: int
    iterations: int
    durability: wire.Durability
    created_at: float  # seconds since 1970


@dataclass(frozen=True, kw_only=True)
class Record:
    """A session as it is kept. `reply` is the reply stored for the seq that was asked for, if it is still there."""

    meta: Meta
    position: Position
    belief: bytes | None  # None at the prior
    reply: bytes | None
    expires_in: float  # seconds


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The step from `continues` to the next seq, with the belief after it and its reply."""

    session: str
    continues: Position
    belief: bytes
    reply: bytes


class Outcome(Enum):
    """What became of a commit."""

    APPLIED = auto()
    MOVED = auto()
    GONE = auto()


class Store(Protocol):
    """A keeper of sessions. Every method may raise StoreError."""

    async def create(self, meta: Meta, *, belief: bytes | None = None) -> None:
        """Keep a new session, in epoch 1 with nothing observed; `belief` is what it begins with, None the prior."""
        ...

    async def load(self, wanted: Sequence[tuple[str, int | None]]) -> list[Record | None]:
        """The sessions of these ids, each with the reply of that seq (None: of its last); None where there is none."""
        ...

    async def commit(self, commits: Sequence[Commit]) -> list[Outcome]:
        """Move sessions on, all in one call."""
        ...

    async def reset(self, session: str, *, epoch: int) -> Outcome:
        """End `epoch` and begin the next one."""
        ...

    async def delete(self, session: str) -> bool:
        """Forget a session; False where there was none."""
        ...


def pack(digest: bytes, estimate: bytes) -> bytes:
    """A reply as it is stored: the digest of its observation, then the estimate as it went over the wire."""
    return digest + estimate


def unpack(reply: bytes) -> tuple[bytes, bytes]:
    """The digest and the estimate of a stored reply."""
    return reply[:DIGEST_SIZE], reply[DIGEST_SIZE:]
