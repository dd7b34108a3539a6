"""Those who are told what becomes of sessions; `watching` is who they are.

The law: telling never waits and never fails, so that nobody who watches holds up a session.
"""

from collections.abc import Sequence
from typing import Protocol

import avf_wire as wire

from avf_server.stores.base import Position


class Audience(Protocol):
    """What sessions say of themselves."""

    def opened(self, owner: str, session: wire.Session) -> None:
        """A session of this owner was opened."""
        ...

    def stepped(self, owner: str, session: str, position: Position, note: bytes) -> None:
        """A session of this owner went on, by the step of this note."""
        ...

    def ended(self, owner: str, session: str) -> None:
        """A session of this owner ended."""
        ...

    def changed(self, sessions: Sequence[str]) -> None:
        """Something became of sessions, whatever it was."""
        ...

    def changed_all(self) -> None:
        """Something became of every session."""
        ...
