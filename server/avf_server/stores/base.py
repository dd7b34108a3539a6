"""What a store is: it keeps sessions, and moves one on by compare-and-set only.

The law: a commit names the (epoch, seq) that it continues. It is applied whole where the session still stands
there, and not at all otherwise. A store that cannot be reached raises StoreError, and whether a commit was
applied is then unknown.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

import avf_wire as wire
import msgspec

from avf_server.tasks import Supervisor

MAX_SEQ = 2**53  # Lua, in which Redis counts, has doubles
REST_WIDTH = 4  # bytes of a sample of a remainder

META_VERSION = 1
"""The form of what is kept of a session; one of another form is refused by name, never misread."""


class Position(msgspec.Struct, frozen=True, order=True):
    """Where a session stands: `seq` is the last observation applied in `epoch`, 0 where there is none.

    Positions are ordered as they come.
    """

    epoch: int
    seq: int


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes about a session; `owner` is the hash of an API key, empty on an open server.

    `prediction_samples` and `quantiles` are null in sessions of releases that had none: they are the model's own.
    """

    id: str
    owner: str
    model: str
    seed: int
    iterations: int
    durability: wire.Durability
    created_at: float  # seconds since 1970
    audio: wire.Audio | None = None
    deadline_s: float | None = None
    particles: int = 1
    lag: int = 0
    prediction_samples: int | None = None
    quantiles: tuple[float, ...] | None = None
    alarm_every: float | None = None
    alarm_by: wire.AlarmBy = "change"
    version: int = META_VERSION


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Where a session stands. `note` is the newest record of its history, None where nothing was ever observed."""

    meta: Meta
    position: Position
    expires_in: float  # seconds
    note: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Record(Summary):
    """A session as it is kept. `reply` is the reply stored for the seq that was asked for, if it is still there.

    `rest` is what was left over of what came after the last step (samples that fill no frame yet); empty where nothing
    was. Records come without notes. `durable_seq` is what the server makes of it, when it hands the record out.
    """

    belief: bytes | None  # None at the prior
    reply: bytes | None
    rest: bytes = b""
    durable_seq: int = 0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one step: its reply, for as long as it may be asked for again, and its note in the history."""

    reply: bytes
    note: bytes


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """The steps, at least one, from `continues` on, in order, and the belief after the last of them."""

    session: str
    continues: Position
    belief: bytes
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a store may take, and how much it keeps.

    `timeout` and `ttl` are in seconds: of a call, and of a session that is not used. `window` counts stored replies of
    a session, `history` its notes: at least so many are kept. `supervisor` runs the store's long-lived tasks.
    """

    timeout: float
    window: int
    ttl: float
    history: int
    supervisor: Supervisor | None = None


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

    async def keep_rest(self, session: str, *, continues: Position, rest: bytes) -> Outcome:
        """Keep what is left over after `continues`, which is where the session must stand; it ends with the next step.

        It is given back by `load` as long as the session stands there, and counts as use of the session.
        """
        ...

    async def history(
        self, session: str, *, after: str | None = None, count: int, newest: bool = False
    ) -> list[tuple[str, bytes]]:
        """At most `count` notes of a session's steps, each with its id, "epoch-seq", oldest first.

        They are those that come after the id `after`, from the oldest on where it is None; with `newest`, the last
        ones of these. Empty where there is no such session. Raises ValueError where `after` is no id.
        """
        ...

    async def owned(self, owner: str, *, cursor: str | None = None, count: int) -> tuple[list[Summary], str | None]:
        """The sessions of an owner, newest first, with their notes: at most `count` after `cursor`, and the next one.

        The next cursor is None at the end; a page may be shorter than `count`, and more follow. A cursor is whatever
        this method gave, and any text is taken for one.
        """
        ...

    async def reset(self, session: str, *, epoch: int) -> Outcome:
        """End `epoch` and begin the next one. The history stays: its ids say the epoch."""
        ...

    async def delete(self, session: str) -> bool:
        """Forget a session, and its history; False where there was none."""
        ...

    async def close(self) -> None:
        """Let go of connections; what is kept stays."""
        ...


class Index(Protocol):
    """How many sessions owners have, of all servers."""

    @property
    def owners(self) -> list[str]:
        """The owners that this server has opened sessions for."""
        ...

    async def count(self, owner: str) -> int:
        """How many sessions an owner has; some that have gone may count."""
        ...

    async def sweep(self, owner: str) -> float:
        """Drop some of what has gone and still counts; the share of what was looked at that had gone."""
        ...


class DurableStore(Store, Protocol):
    """A store whose sessions outlive the server, and that other servers may share."""

    @property
    def index(self) -> Index:
        """How many sessions owners have."""
        ...

    async def ping(self) -> None:
        """Return once the store is there."""
        ...

    async def check(self) -> None:
        """Return once the store takes what it is given."""
        ...

    async def replicas(self, sessions: Sequence[str], *, replicas: int) -> list[int]:
        """For each of these sessions, how many copies elsewhere have all of it; waits for at most `replicas`."""
        ...


class Plugin(Protocol):
    """What a file of this folder offers.

    `SCHEMES` are those of its addresses. Sessions that are to outlive the server are kept in the store that has the
    scheme of the address, so that only what opens a DurableStore may have one. The suites test every file unasked, in
    the store at the address of its example.
    """

    SCHEMES: tuple[str, ...]

    def open_store(self, url: str, limits: Limits) -> Store:
        """The store at this address, of which nothing is asked yet; `close` it. Raises for no such address."""
        ...

    def example(self, folder: Path) -> AbstractContextManager[str]:
        """The address of a store that is there inside, and keeps what it keeps in this folder."""
        ...


def meta_of(data: bytes, session: str) -> Meta:
    """What is kept of a session. Where that cannot be read it says version 0, and nothing else of it counts."""
    try:
        return msgspec.json.decode(data, type=Meta)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Meta(id=session, owner="", model="", seed=0, iterations=0, durability="group", created_at=0.0, version=0)


def note_id(position: Position) -> str:
    """The id, in a session's history, of the step that led to this position."""
    return f"{position.epoch}-{position.seq}"


def position_of(text: str) -> Position:
    """The position that a note's id stands for. Raises ValueError where this is no such id."""
    epoch, dash, seq = text.partition("-")
    if not (dash and epoch.isdecimal() and seq.isdecimal() and len(text) <= 32):
        raise ValueError(f"{text!r} is no id of a history: expected epoch-seq")
    return Position(int(epoch), int(seq))


def place(meta: Meta) -> str:
    """Where a session stands among its owner's: text in the order of the times at which they were opened."""
    return f"{round(meta.created_at * 1e6):016x}.{meta.id}"
