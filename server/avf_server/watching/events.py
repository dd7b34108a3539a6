"""What becomes of sessions, as events for those who watch: of one session, estimates; of all of an owner's, scalars.

The laws: latest wins. An event is made when the last one has been written, from how things stand then, so that a slow
page gets fewer of them, holds up no stream, and keeps nothing waiting in memory. What is passed over is told by its
scalars. Watches are bounded in number, and their places shared by owners; they end with the session, the token that
they were asked for with, or the server.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import groupby

import msgspec

from avf_server import problems
from avf_server.metrics.telemetry import Telemetry
from avf_server.problems import StoreUnavailableError, UnknownSessionError
from avf_server.sessions.listing import Listing, check_cursor
from avf_server.sessions.options import form_of
from avf_server.sessions.registry import Sessions
from avf_server.stepping.replies import last_of
from avf_server.stopping import Stopping
from avf_server.stores.base import Position, Record, note_id, position_of
from avf_server.watching.feed import RAISED, Feed, Watch
from avf_server.watching.places import Places

POLL = 0.5  # seconds, after which what other servers did to a session is seen
POLL_ALL = 2.0  # seconds, after which what they did to all of an owner's is
QUIET = 15.0  # seconds without an event, after which a sign of life is sent
LONGEST = 3600.0  # seconds between two events, at most

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event with its JSON; `id` is where to go on from. Without a name it is a sign of life."""

    name: str = ""
    data: bytes = b"{}"
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """How someone wants to watch: seconds between events, at least; with what was observed; until when (loop time)."""

    interval: float = 0.0
    observation: bool = False
    until: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    max_page: int
    max_watchers: int
    retry_after_s: int


class _Pulse:
    """Signs of life, where nothing else is said for long; the first one at once, so that headers are on their way."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._spoke = -math.inf

    def beside(self, events: list[Event]) -> list[Event]:
        """These events, or a sign of life where there are none and one is due."""
        if not events and self._clock() - self._spoke < QUIET:
            return []
        self._spoke = self._clock()
        return events or [Event()]


class Events:
    """Watches of sessions."""

    def __init__(
        self,
        limits: Limits,
        sessions: Sessions,
        listing: Listing,
        feed: Feed,
        stopping: Stopping,
        telemetry: Telemetry,
        *,
        owners: int,
    ) -> None:
        self._limits = limits
        self._sessions = sessions
        self._listing = listing
        self._feed = feed
        self._stopping = stopping
        self._telemetry = telemetry
        self._places = Places(limits.max_watchers, owners=owners)

    @property
    def watching(self) -> int:
        """How many watch."""
        return self._places.taken

    def check(self, options: WatchOptions, *, owner: str) -> None:
        """Raise InvalidSettingError where this is no options to grant, OverloadedError where too many watch already."""
        self._stopping.check()
        if not 0.0 <= options.interval <= LONGEST:
            raise problems.InvalidSettingError(f"interval is {options.interval}, expected seconds in [0, {LONGEST:g}]")
        if not self._places.may_enter(owner):
            raise problems.OverloadedError(
                f"{self.watching} streams of events are open: that is the limit, or the rest is for other keys",
                retry_after=self._limits.retry_after_s,
            )

    async def session(
        self, session: str, *, owner: str, options: WatchOptions, after: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """The events of a session; with `after`, an event's id, what came after it is told first.

        Raises UnknownSessionError, InvalidSettingError, OverloadedError, at once.
        """
        self.check(options, owner=owner)
        seen = None if after is None else check_cursor(after)
        await self._sessions.record(session, owner=owner)
        return self._counted(self._of_session(session, owner, options, seen), owner)

    async def all(self, *, owner: str, options: WatchOptions) -> AsyncGenerator[Event, None]:
        """The events of all of an owner's sessions. Raises as `session` does."""
        self.check(options, owner=owner)
        return self._counted(self._of_all(owner, options), owner)

    async def _counted(self, events: AsyncGenerator[Event, None], owner: str) -> AsyncGenerator[Event, None]:
        """The same events, as one of those that watch."""
        with self._places.one(owner), self._telemetry.watchers.track_inprogress():
            async with aclosing(events):
                async for event in events:
                    yield event

    async def _of_session(
        self, session: str, owner: str, options: WatchOptions, seen: Position | None
    ) -> AsyncGenerator[Event, None]:
        pulse = _Pulse()
        while (last := self._last(options)) is None:
            notice = self._feed.notices.next(session)  # before looking, so that none falls in between
            found: list[Event] = []
            try:
                record = await self._sessions.record(session, owner=owner)
                if record.position != seen:
                    found = await self._told(record, seen, options)
                    seen = record.position
            except UnknownSessionError:
                yield Event(name="end")
                return
            except StoreUnavailableError:
                pass  # the stream of events outlives it; the next look may find more
            for event in pulse.beside(found):
                yield event
            await self._pause(notice, options, after_event=bool(found))
        yield last

    async def _told(self, record: Record, seen: Position | None, options: WatchOptions) -> list[Event]:
        """What is told of a session that stood at `seen` and stands elsewhere now: what was passed over, by epoch."""
        at = record.position
        going_on = seen is None or at == Position(seen.epoch, seen.seq + 1)
        alarms, passed = ([], []) if seen is None or going_on else await self._between(record, seen)
        missed = self._missed(passed)
        events = [_alarm(record.meta.id, note) for note in alarms]
        events += [missed[epoch] for epoch in sorted(missed) if epoch != at.epoch]
        if seen is not None and at.epoch != seen.epoch:
            events.append(Event(name="reset", data=b'{"epoch":%d}' % at.epoch, id=note_id(Position(at.epoch, 0))))
        events += [missed[at.epoch]] if at.epoch in missed else []
        if record.reply is not None and at.seq > 0:
            form = form_of(record.meta, self._sessions.models) if options.observation else None
            last = last_of(record, form)
            if seen is not None and last.alarm is not None and last.alarm.raised:
                before = note_id(Position(at.epoch, at.seq - 1))  # steps may have come since the record was read
                found = await self._listing.notes(record.meta.id, after=before, count=1)
                events += [_alarm(record.meta.id, note) for _, note in found if RAISED in note]
            events.append(Event(name="estimate", data=_encode(last), id=note_id(at)))
        return events

    async def _between(self, record: Record, seen: Position) -> tuple[list[bytes], list[tuple[Position, bytes]]]:
        """Of the steps after `seen` and before where the session stands: all that raised an alarm; and the newest."""
        at, most = record.position, self._limits.max_page
        alarms: list[bytes] = []
        newest: deque[tuple[Position, bytes]] = deque(maxlen=most + 1)
        page, after = most, note_id(seen)
        while page == most:
            notes = await self._listing.notes(record.meta.id, after=after, count=most)
            places = [(position_of(identifier), note) for identifier, note in notes]
            found = [(place, note) for place, note in places if (place.epoch, place.seq) < (at.epoch, at.seq)]
            alarms += [note for _, note in found if RAISED in note]
            newest.extend(found)
            page, after = len(found), notes[-1][0] if notes else after
        return alarms, list(newest)

    def _missed(self, passed: list[tuple[Position, bytes]]) -> dict[int, Event]:
        """What is told of steps that were passed over, by epoch.

        Each event's id is that of its last step: who is cut before the next event goes on from there.
        """
        most, told = self._limits.max_page, dict[int, Event]()
        for epoch, steps in groupby(passed[-most:], key=lambda step: step[0].epoch):
            reached, notes_of = zip(*steps, strict=True)
            data = _encode({"entries": [msgspec.Raw(note) for note in notes_of], "cut": len(passed) > most})
            told[epoch] = Event(name="history", data=data, id=note_id(reached[-1]))
        return told

    async def _of_all(self, owner: str, options: WatchOptions) -> AsyncGenerator[Event, None]:
        clock, pulse, looked = asyncio.get_running_loop().time, _Pulse(), -math.inf
        watch = self._feed.watch(owner)
        try:
            while (last := self._last(options)) is None:
                if clock() - looked >= POLL_ALL:
                    with suppress(StoreUnavailableError):
                        await self._look(owner, watch, first=looked < 0)
                    looked = clock()
                for event in pulse.beside(_told_of_all(watch)):
                    yield event
                await self._rest(max(options.interval, 0.05), options)
            yield last
        finally:
            self._feed.leave(owner, watch)

    async def _look(self, owner: str, watch: Watch, *, first: bool) -> None:
        """Find what other servers did to an owner's sessions; at first, where these stand."""
        before = list(watch.known)
        found, complete = await self._listing.everything(owner, most=self._limits.max_page)
        for each in found:
            if first:
                watch.known.setdefault(each.meta.id, each.position)
            elif each.meta.id not in watch.known and self._sessions.holds(each.meta.model):
                watch.opened(self._sessions.describe(each))
            if each.note is not None and each.position.seq > 0:
                watch.stepped(each.meta.id, each.position, each.note)
        if complete:
            for session in set(before) - {each.meta.id for each in found}:
                watch.ended(session)

    def _last(self, options: WatchOptions) -> Event | None:
        """The last event of a watch that is over."""
        if self._stopping.begun.is_set():
            return Event(name="goaway")
        if asyncio.get_running_loop().time() >= options.until:
            return Event(name="expired")
        return None

    async def _pause(self, notice: asyncio.Event, options: WatchOptions, *, after_event: bool) -> None:
        """Wait for a notice of a session, and for the time that is to pass between events."""
        if after_event and options.interval > 0.0:
            await self._rest(options.interval, options)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(min(POLL, self._left(options))):
                await notice.wait()

    async def _rest(self, seconds: float, options: WatchOptions) -> None:
        """Let so much time pass, or less where the watch ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, self._left(options))):
                await self._stopping.begun.wait()

    def _left(self, options: WatchOptions) -> float:
        return max(0.0, min(options.until - asyncio.get_running_loop().time(), LONGEST))


def _alarm(session: str, note: bytes) -> Event:
    """An alarm that the step of this note raised; it has no id, so that who is cut after it is told again."""
    return Event(name="alarm", data=_encode({"session": session, "step": msgspec.Raw(note)}))


def _told_of_all(watch: Watch) -> list[Event]:
    """What is told of an owner's sessions."""
    opened, moved, ended = watch.take()
    events = [Event(name="opened", data=_encode(session)) for session in opened]
    events += [_alarm(session, note) for session, note in watch.alarms()]
    if moved:
        sessions = [{"session": m.session, "steps": m.steps, "last": msgspec.Raw(m.note)} for m in moved]
        events.append(Event(name="steps", data=_encode({"sessions": sessions})))
    return events + [Event(name="ended", data=_encode({"session": session})) for session in ended]
