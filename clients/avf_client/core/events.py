"""What becomes of a session, as server-sent events: the client's side without I/O. Each face has its `watching`.

The law: each estimate that is told is told once, in order; where the connection is cut, it is made again from the last
event on, and what was missed is told by its scalars. Only `end` ends it: the session has.
Bytes become events by httpx_sse; half an event is none.
"""

import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

import avf_wire as wire
import msgspec
import numpy as np
from numpy.typing import NDArray

from avf_client.core._httpx import ServerSentEvent
from avf_client.core.retries import Retry, may_reconnect
from avf_client.errors import AvfClientError, ProtocolError
from avf_client.results.estimates import Estimate, from_wire
from avf_client.results.histories import History, of_entries

Kind: TypeAlias = Literal["estimate", "history", "alarm", "reset", "end"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Event:
    """Something that became of a session.

    kind         "estimate": the latest one; "history": scalars of steps whose estimates are not told; "alarm": the
                 session's detector raised one; "reset": a new epoch has begun; "end": the session has ended, nothing
                 follows
    estimate     of "estimate"; `observation` (D,), NaN where missing, is what was observed, if it was asked for
    history      of "history", and of "alarm" that of its one step; `cut` where older steps are left out
    epoch        of "reset"
    """

    kind: Kind
    estimate: Estimate | None = None
    observation: NDArray[np.float64] | None = None
    history: History | None = None
    cut: bool = False
    epoch: int | None = None


class _Reset(msgspec.Struct):
    epoch: int


_estimate = msgspec.json.Decoder(wire.Estimate)
_missed = msgspec.json.Decoder(wire.Missed)
_alarm = msgspec.json.Decoder(wire.AlarmRaised)
_reset = msgspec.json.Decoder(_Reset)


class EventRun:
    """The events of one session, over as many connections as it takes."""

    def __init__(self, retry: Retry, *, size: int) -> None:
        self.done = False
        self._retry = retry
        self._size = size
        self._last_id: str | None = None
        self._failures = 0
        self._told = (0, 0)  # epoch and seq of the last step that was told
        self._alarmed = (0, 0)  # and of the last that raised an alarm

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the next connection."""
        going_on = {} if self._last_id is None else {"Last-Event-ID": self._last_id}
        return {"Accept": "text/event-stream", **going_on}

    def hear(self, said: ServerSentEvent) -> Event | None:
        """Take what the server said; gives the event, where it is news."""
        if said.event == "message":  # which the protocol has not
            return None
        self._failures = 0
        self._last_id = said.id or self._last_id
        return self._event(said.event, said.data)

    def lost(self, error: AvfClientError) -> float:
        """The connection is gone: seconds to wait before the next one. Raises `error` where there shall be none."""
        self._failures += 1
        delay = self._retry.delay(self._failures, chance=random.random()) if may_reconnect(error) else None
        if delay is None:
            raise error
        return delay

    def _event(self, name: str, data: str) -> Event | None:
        """The event, or None for one that this release does not know."""
        try:
            if name == "estimate":
                message = _estimate.decode(data)
                if not self._news(message):
                    return None
                return Event(kind="estimate", estimate=from_wire(message), observation=self._observed(message))
            if name == "history":
                missed = _missed.decode(data)
                entries = [entry for entry in missed.entries if self._news(entry)]
                return Event(kind="history", history=of_entries(entries), cut=missed.cut) if entries else None
            if name == "alarm":
                step = _alarm.decode(data).step
                if (step.epoch, step.seq) <= self._alarmed:  # told again, after the connection was cut
                    return None
                self._alarmed = (step.epoch, step.seq)
                return Event(kind="alarm", history=of_entries([step]))
            if name == "reset":
                return Event(kind="reset", epoch=_reset.decode(data).epoch)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"the event {name} is not as expected: {error}") from error
        self.done = name == "end"
        return Event(kind="end") if self.done else None

    def _news(self, step: wire.Estimate | wire.HistoryEntry) -> bool:
        """Whether a step has not been told yet; a server whose histories have no id tells some again."""
        place = (step.epoch, step.seq)
        news = place > self._told
        self._told = max(self._told, place)
        return news

    def _observed(self, message: wire.Estimate) -> NDArray[np.float64] | None:
        if message.observation is msgspec.UNSET:
            return None
        if message.observation is None:
            return np.full(self._size, np.nan)
        return np.array(message.observation, dtype=np.float64)
