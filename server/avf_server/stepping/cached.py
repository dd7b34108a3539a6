"""Beliefs of active sessions, ready for their next step.

The law: this is a cache and never the truth. It holds what a commit confirmed, and an entry is dropped at any
doubt.
"""

from collections import OrderedDict

import msgspec

from avf_server.stores.base import Position
from avf_server.stores.kept import Kept


class CachedBelief(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session stood when its last commit was confirmed, and its belief then, as saved."""

    position: Position
    kept: Kept


class CachedBeliefs:
    """The least recently used entries make room for new ones."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, CachedBelief] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, session: str) -> CachedBelief | None:
        """The session's entry, now the most recently used."""
        if session in self._entries:
            self._entries.move_to_end(session)
        return self._entries.get(session)

    def put(self, session: str, entry: CachedBelief) -> None:
        """Keep an entry that a commit, or a load, has just confirmed."""
        self._entries[session] = entry
        self._entries.move_to_end(session)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def found(self, session: str, position: Position) -> None:
        """Forget an entry of elsewhere than where the session was found to stand."""
        if session in self._entries and self._entries[session].position != position:
            del self._entries[session]

    def drop(self, session: str) -> None:
        """Forget an entry."""
        self._entries.pop(session, None)
