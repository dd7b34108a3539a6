"""What is told to those who watch, as server-sent events."""

from avf_wire.base import Message
from avf_wire.estimates import HistoryEntry


class AlarmRaised(Message, frozen=True):
    """Event `alarm`, and what webhooks are posted with `type`: a session's detector raised an alarm at this step."""

    session: str
    step: HistoryEntry


class Missed(Message, frozen=True):
    """Event `history`: scalars of steps whose estimates were not sent; `cut` where older ones are left out."""

    entries: list[HistoryEntry]
    cut: bool


class Moved(Message, frozen=True):
    """In event `steps`: a session went on by so many steps, of which this is the last."""

    session: str
    steps: int
    last: HistoryEntry


class Moves(Message, frozen=True):
    """Event `steps`: all sessions of the caller that went on since the last one."""

    sessions: list[Moved]
