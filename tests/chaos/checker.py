"""The judge: a pure function of a history and of what the library alone computes.

The laws it checks are those of docs/protocol.md:
- lost: where a session stands never falls behind what was acknowledged and durable before it was asked; with `behind`,
  what was acknowledged and not yet durable is no more than its window;
- doubled: a seq has one estimate, bit by bit, whoever answers; and nothing stands that nobody sent;
- wrong: an estimate is that of an uninterrupted run offline, to `TOLERANCE`;
- reordered: the answers of a request, or of a connection, are those to what it carried, in its order;
- epochs: no epoch begins that nobody asked for.
"""

import bisect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .history import Accepted, Event, History, Opened, Reply, Reset, Sent, Stood, Unknown, Value

TOLERANCE = 1e-4
"""Largest difference from the offline run: sums differ in their last digits with the size of a batch. Measured: 2e-6
after thousands of steps; an observation that is left out or applied twice moves an estimate by more than 1e-2."""

BEHIND_SECONDS, BEHIND_STEPS = 0.2, 64
"""The window of `behind`, as the server's settings have it by default."""
ON_THE_WAY = 3.0
"""Seconds by which two answers may come apart on their way: connections that carry nothing for a while are among the
faults."""

Position = tuple[int, int]  # epoch, and the last seq applied in it
Truth = Callable[[str, int, int], Sequence[Value]]
"""(session, epoch, count): what the library alone gives for the first `count` observations of the epoch."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the judge found; every violation is one sentence. `acknowledged` counts (session, epoch, seq)."""

    acknowledged: int = 0
    rolled_back: int = 0  # acknowledged, said to be not yet durable, and gone: no violation
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    epochs: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """All of them."""
        return [*self.lost, *self.doubled, *self.wrong, *self.reordered, *self.epochs]


def check(history: History, truth: Truth) -> dict[str, Findings]:
    """Judge every session; the findings by durability."""
    events: dict[str, list[Event]] = defaultdict(list)
    for event in history.events:
        events[event.session].append(event)
    found: dict[str, list[Findings]] = defaultdict(list)
    for opened in history.sessions():
        found[opened.durability].append(judge(opened, events[opened.session], truth))
    return {durability: merge(parts) for durability, parts in found.items()}


def judge(opened: Opened, events: Sequence[Event], truth: Truth) -> Findings:
    """Judge one session by its events, in the order in which they were seen."""
    replies = [event for event in events if isinstance(event, Reply)]
    lost, rolled_back = _lost(opened, events)
    return Findings(
        acknowledged=len({(reply.epoch, reply.seq) for reply in replies}),
        rolled_back=rolled_back,
        lost=lost,
        doubled=[*_different(opened, replies), *_phantoms(events), *_accepted(events)],
        wrong=_wrong(replies, truth),
        reordered=_reordered(events),
        epochs=_epochs(events),
    )


def merge(parts: Iterable[Findings]) -> Findings:
    """The findings of many sessions as one."""
    parts = list(parts)
    return Findings(
        acknowledged=sum(part.acknowledged for part in parts),
        rolled_back=sum(part.rolled_back for part in parts),
        **{
            name: [line for part in parts for line in getattr(part, name)]
            for name in ("lost", "doubled", "wrong", "reordered", "epochs")
        },
    )


def _lost(opened: Opened, events: Sequence[Event]) -> tuple[list[str], int]:
    """Places at which a session stood behind what had been acknowledged; and what was rolled back, being not durable.

    An answer holds for some moment after it was asked for: it is compared with what had come before that.
    """
    durable = _Frontier()
    for told in sorted((e for e in events if isinstance(e, Reply | Stood)), key=lambda e: e.at):
        if isinstance(told, Reply):
            durable.reach(told.at, (told.epoch, min(told.seq, told.durable)))
        elif opened.durability != "behind":  # there, where a session stands may be what is not saved yet
            durable.reach(told.at, (told.epoch, told.next_seq - 1))
    lost = []
    for event in events:
        if isinstance(event, Unknown) and durable.before(event.asked) > (0, 0):
            lost.append(f"{opened.session}: unknown at {event.at:.3f}, after {durable.before(event.asked)}")
        if isinstance(event, Stood):
            at, floor = (event.epoch, event.next_seq - 1), durable.before(event.asked)
            if at < floor:
                lost.append(f"{opened.session}: stood at {at} at {event.at:.3f}, after {floor} was acknowledged")
    rolled_back, beyond = _rolled_back(events)
    return lost + beyond, rolled_back


def _rolled_back(events: Sequence[Event]) -> tuple[int, list[str]]:
    """How many acknowledged steps a session was found behind, and where these were more than the window of `behind`."""
    count, beyond = 0, []
    told: dict[Position, Reply] = {}
    top: dict[int, int] = defaultdict(int)
    for event in events:
        if isinstance(event, Reply):
            told.setdefault((event.epoch, event.seq), event)
            top[event.epoch] = max(top[event.epoch], event.seq)
        elif isinstance(event, Stood):
            after = ((event.epoch, seq) for seq in range(event.next_seq, top[event.epoch] + 1))
            gone = [told.pop(at) for at in after if at in told and told[at].at <= event.asked]
            count += len(gone)
            span = max((reply.at for reply in gone), default=0.0) - min((reply.at for reply in gone), default=0.0)
            if len(gone) > BEHIND_STEPS or span > BEHIND_SECONDS + ON_THE_WAY:
                beyond.append(f"{event.session}: {len(gone)} steps of {span:.1f} s are gone at {event.at:.3f}")
    return count, beyond


class _Frontier:
    """How far a session was known to have come, by time."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._positions: list[Position] = []

    def reach(self, at: float, position: Position) -> None:
        """It was there at this time, which is not before the last one given."""
        if position > self._last:
            self._times.append(at)
            self._positions.append(position)

    def before(self, at: float) -> Position:
        """The furthest position known at this time; (0, 0) where none was."""
        index = bisect.bisect_right(self._times, at)
        return self._positions[index - 1] if index else (0, 0)

    @property
    def _last(self) -> Position:
        return self._positions[-1] if self._positions else (0, 0)


def _different(opened: Opened, replies: Sequence[Reply]) -> list[str]:
    """Seqs whose answers differ: they were applied more than once. What may be rolled back may be applied again."""
    if opened.durability == "behind":
        return []
    first: dict[Position, Value] = {}
    return [
        f"{reply.session}: two estimates of {(reply.epoch, reply.seq)}"
        for reply in replies
        if first.setdefault((reply.epoch, reply.seq), reply.value) != reply.value
    ]


def _phantoms(events: Sequence[Event]) -> list[str]:
    """Places at which a session stood beyond all that had been sent to it."""
    found: list[str] = []
    by_epoch: dict[int, _Frontier] = defaultdict(_Frontier)
    for offered in sorted((e for e in events if isinstance(e, Sent)), key=lambda e: e.at):
        by_epoch[offered.epoch].reach(offered.at, (offered.epoch, offered.seq))
    for event in events:
        if isinstance(event, Stood) and event.next_seq > 1:
            sent = by_epoch[event.epoch]
            if (event.epoch, event.next_seq - 1) > sent.before(event.at):
                found.append(f"{event.session}: stood at {event.epoch, event.next_seq - 1}, which nobody had sent")
    return found


def _accepted(events: Sequence[Event]) -> list[str]:
    return [
        f"{event.session}: another observation was taken for {event.epoch, event.seq}"
        for event in events
        if isinstance(event, Accepted)
    ]


def _wrong(replies: Sequence[Reply], truth: Truth) -> list[str]:
    """Estimates that are not those of the offline run."""
    found = []
    longest: dict[int, int] = defaultdict(int)
    for reply in replies:
        longest[reply.epoch] = max(longest[reply.epoch], reply.seq)
    expected = {epoch: truth(replies[0].session, epoch, count) for epoch, count in longest.items()}
    for reply in replies:
        error = difference(reply.value, expected[reply.epoch][reply.seq - 1])
        if not error <= TOLERANCE:
            found.append(f"{reply.session}: the estimate of {(reply.epoch, reply.seq)} is off by {error:.2g}")
    return found


def difference(one: Value, other: Value) -> float:
    """The largest difference between two estimates, relative to numbers greater than one."""
    errors = [abs(a - b) / max(1.0, abs(b)) for a, b in zip(one, other, strict=True)]
    return math.inf if any(map(math.isnan, errors)) else max(errors)


def _reordered(events: Sequence[Event]) -> list[str]:
    """Streams whose answers are not, in order, those to what they carried."""
    sent: dict[str, list[Position]] = defaultdict(list)
    answered: dict[str, list[Position]] = defaultdict(list)
    session = {}
    for event in events:
        if isinstance(event, Sent | Reply):
            (sent if isinstance(event, Sent) else answered)[event.stream].append((event.epoch, event.seq))
            session[event.stream] = event.session
    return [
        f"{session[stream]}: {stream} was sent {sent[stream][: len(got)]} and answered {got}"
        for stream, got in answered.items()
        if got != sent[stream][: len(got)]
    ]


def _epochs(events: Sequence[Event]) -> list[str]:
    """Epochs that were seen before anyone had asked for them."""
    found, asked = [], sorted(event.at for event in events if isinstance(event, Reset))
    for event in events:
        if isinstance(event, Reply | Stood) and event.epoch > 1 + bisect.bisect_right(asked, event.at):
            found.append(f"{event.session}: in epoch {event.epoch} at {event.at:.3f}, for which nobody had asked")
    return found
