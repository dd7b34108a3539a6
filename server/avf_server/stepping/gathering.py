"""Who is about to come: whether a tick waits for sessions that were answered just now, so that they share one batch.

The laws: a tick waits only for sessions that have been seen to come again at once, and never longer than the tick
itself takes; so whoever waits is later by one tick at most, as if it had come while another was under way. No clock:
`now` is passed in, in seconds.
"""

from collections import OrderedDict
from collections.abc import Iterable

SMOOTHING = 0.25
PATIENCE = 3.0  # times its usual pause, for which a session is expected
SLACK = 1e-3  # seconds, and as much again
MOST = 65_536  # sessions whose pauses are remembered


class Gathering:
    """The pauses between a session's answer and its next observation, and which sessions pause just now."""

    def __init__(self) -> None:
        self._pauses: OrderedDict[str, float] = OrderedDict()
        self._answered: OrderedDict[str, float] = OrderedDict()  # when; the longest ago first

    def came(self, session: str, *, now: float) -> None:
        """An observation of this session has come."""
        answered = self._answered.pop(session, None)
        if answered is None:
            return
        pause = self._pauses.get(session, now - answered)
        self._pauses[session] = pause + SMOOTHING * (now - answered - pause)
        self._pauses.move_to_end(session)
        if len(self._pauses) > MOST:
            self._pauses.popitem(last=False)

    def answered(self, session: str, *, now: float) -> None:
        """This session was answered, and may go on."""
        self._answered[session] = now
        self._answered.move_to_end(session)
        if len(self._answered) > MOST:
            self._answered.popitem(last=False)

    def forget(self, session: str) -> None:
        """This session has ended, or lives elsewhere."""
        self._pauses.pop(session, None)
        self._answered.pop(session, None)

    def __len__(self) -> int:
        return len(self._pauses.keys() | self._answered.keys())

    def expected(self, under_way: Iterable[str], *, now: float, until: float) -> dict[str, float]:
        """The sessions that are likely to have come at `until`, and how long each is waited for at most.

        Those `under_way` have yet to be answered; nobody knows when, and they are waited for until `until`.
        """
        found: dict[str, float] = {}
        for session in under_way:
            if now + self._pauses.get(session, until) < until:
                found[session] = until
        for session, answered in reversed(self._answered.items()):
            if now - answered > PATIENCE * (until - now) + SLACK:
                break  # who was answered before has a longer pause than there is time for, or has left
            pause = self._pauses.get(session)
            if pause is None:
                continue
            last = answered + PATIENCE * pause + SLACK
            if now < last and answered + pause < until:
                found[session] = min(last, until)
        return found
