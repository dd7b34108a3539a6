"""What this server does to sessions, told to those who watch all of an owner's at once.

The law: latest wins. A watch holds one entry a session, however slow its page is and however fast the steps come, so
that watching never holds up a stream; where nobody watches, a step costs one look into a dictionary.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import avf_wire as wire

from avf_server.stores.base import Position
from avf_server.watching.notices import Notices

MOST_ALARMS = 1000
"""Alarms that wait for who watches, at most; then the newest are told."""
RAISED = b'"alarm":true'
"""In the note of a step that raised an alarm, and in no other."""


@dataclass(frozen=True)
class Moved:
    """A session that went on: by how many steps, to where, and the note of the last."""

    session: str
    steps: int
    position: Position
    note: bytes


class Watch:
    """What became of an owner's sessions since it was last asked."""

    def __init__(self) -> None:
        self.known: dict[str, Position] = {}  # what was told of each session, or is about to be
        self._moved: dict[str, Moved] = {}
        self._opened: dict[str, wire.Session] = {}
        self._ended: dict[str, None] = {}
        self._alarms: deque[tuple[str, bytes]] = deque(maxlen=MOST_ALARMS)

    def opened(self, session: wire.Session) -> None:
        """A session was opened, or found."""
        if session.id not in self.known:
            self.known[session.id] = Position(session.epoch, session.next_seq - 1)
            self._opened[session.id] = session

    def stepped(self, session: str, position: Position, note: bytes) -> None:
        """A session has gone on to this position; whoever says so later of an earlier one is not heard."""
        before, held = self.known.get(session, Position(position.epoch, position.seq - 1)), self._moved.get(session)
        if (position.epoch, position.seq) > (before.epoch, before.seq):
            new = position.seq - before.seq if position.epoch == before.epoch else position.seq
            self.known[session] = position
            self._moved[session] = Moved(session, new + (held.steps if held else 0), position, note)
            if RAISED in note:
                self._alarms.append((session, note))

    def ended(self, session: str) -> None:
        """A session has ended."""
        if self.known.pop(session, None) is not None:
            self._moved.pop(session, None)
            if self._opened.pop(session, None) is None:
                self._ended[session] = None

    def take(self) -> tuple[Sequence[wire.Session], Sequence[Moved], Sequence[str]]:
        """The sessions that were opened, that moved and that ended since the last call."""
        taken = list(self._opened.values()), list(self._moved.values()), list(self._ended)
        self._opened, self._moved, self._ended = {}, {}, {}
        return taken

    def alarms(self) -> Sequence[tuple[str, bytes]]:
        """Sessions in which an alarm was raised since the last call, each with the note of its step: the last 1,000."""
        taken = list(self._alarms)
        self._alarms.clear()
        return taken


class Feed:
    """The watches of every owner, and the notices of every session: the audience of `sessions`."""

    def __init__(self, stepped: Callable[[str, bytes], None] | None = None) -> None:
        """`stepped` is told of each step of this server, of whatever session, by its note."""
        self.notices = Notices()
        self._stepped = stepped
        self._watches: dict[str, list[Watch]] = {}

    def watch(self, owner: str) -> Watch:
        """A new watch of an owner's sessions. Whoever asks for it leaves it, too."""
        watch = Watch()
        self._watches.setdefault(owner, []).append(watch)
        return watch

    def leave(self, owner: str, watch: Watch) -> None:
        """End a watch."""
        self._watches[owner].remove(watch)
        if not self._watches[owner]:
            del self._watches[owner]

    def opened(self, owner: str, session: wire.Session) -> None:
        """A session of this owner was opened."""
        for watch in self._watches.get(owner, ()):
            watch.opened(session)

    def stepped(self, owner: str, session: str, position: Position, note: bytes) -> None:
        """A session of this owner went on."""
        if self._stepped is not None:
            self._stepped(session, note)
        for watch in self._watches.get(owner, ()):
            watch.stepped(session, position, note)

    def ended(self, owner: str, session: str) -> None:
        """A session of this owner ended."""
        for watch in self._watches.get(owner, ()):
            watch.ended(session)

    def changed(self, sessions: Sequence[str]) -> None:
        """Something became of sessions."""
        self.notices.tell(sessions)

    def changed_all(self) -> None:
        """Something became of every session."""
        self.notices.tell_all()
