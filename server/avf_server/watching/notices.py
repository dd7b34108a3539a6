"""Tells those who wait for a session that something became of it on this server.

The law: it says that there is news and never what; who wakes up looks at the store. Where no one waits, nothing is
kept.
"""

import asyncio
from collections.abc import Sequence
from weakref import WeakValueDictionary


class Notices:
    """The next news of every session that is waited for."""

    def __init__(self) -> None:
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()  # kept by those who wait

    def next(self, session: str) -> asyncio.Event:
        """What is set at the next news of a session."""
        event = self._events.get(session)
        if event is None:
            self._events[session] = event = asyncio.Event()
        return event

    def tell(self, sessions: Sequence[str]) -> None:
        """Something became of these sessions."""
        if not self._events:
            return
        for session in sessions:
            event = self._events.pop(session, None)
            if event is not None:
                event.set()

    def tell_all(self) -> None:
        """Something became of every session."""
        self.tell(list(self._events))
