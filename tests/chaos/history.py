"""What clients asked and what they were told, in the order in which they saw it: the evidence that `checker` judges.

The law: an event is recorded when its client sees it, with the times between which the server must have acted:
`asked`, when the request left, and `at`, when the answer came (seconds of one clock). Nothing is left out: requests
without an answer are recorded too.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

Value = tuple[float, ...]
"""The numbers of an estimate, as they came: equal answers are equal bit by bit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A session was opened."""

    session: str
    seed: int
    durability: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """An observation left. `stream` names the request, or the connection, that carried it."""

    stream: str
    session: str
    epoch: int
    seq: int
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An observation was acknowledged; `durable` is the last seq that the server called durable, as far as it did."""

    stream: str
    session: str
    epoch: int
    seq: int
    value: Value
    durable: int
    asked: float
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Stood:
    """The server said where a session stands: in an answer of its own, or in a problem."""

    session: str
    epoch: int
    next_seq: int
    asked: float
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """The server said that there is no such session."""

    session: str
    asked: float
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """A reset left; it may have been lost on the way, and then nothing has happened."""

    session: str
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """Another observation than the one that was acknowledged was taken for its seq."""

    session: str
    epoch: int
    seq: int
    at: float


Event = Opened | Sent | Reply | Stood | Unknown | Reset | Accepted


@dataclass
class History:
    """All events of an experiment, as they were seen.

    `answers` counts what requests that were not fulfilled came to: problems, and errors of the network, by name;
    `faults` those that nothing excuses.
    """

    events: list[Event] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    crashes: int = 0

    def record(self, event: Event) -> None:
        """Add what was just seen."""
        self.events.append(event)

    def sessions(self) -> Iterator[Opened]:
        """The sessions that were opened."""
        return (event for event in self.events if isinstance(event, Opened))


def now() -> float:
    """The time in seconds, on the one clock of all events and faults."""
    return time.monotonic()
