"""A watch of a session whose steps go on while it looks: each alarm is told once, whichever steps came meanwhile."""

from types import SimpleNamespace
from typing import Any

import pytest
from avf_server.stores.base import Position, note_id, position_of
from avf_server.watching import events
from avf_server.watching.events import Events, WatchOptions


@pytest.mark.parametrize("seen", [Position(1, 4), Position(1, 2)])
@pytest.mark.parametrize("raised", [{5}, {5, 6}, {6}])
async def test_an_alarm_is_told_though_later_steps_came_while_the_watch_looked(
    monkeypatch: pytest.MonkeyPatch, seen: Position, raised: set[int]
) -> None:
    """The record is of step 5; when its note is asked for, steps 6 and 7 are there: theirs are for the next look."""
    notes = [(note_id(Position(1, seq)), b'{"seq":%d,"alarm":%s}' % (seq, b"true" if seq in raised else b"false"))
             for seq in range(1, 8)]  # fmt: skip

    async def asked(_: str, *, after: str, count: int, newest: bool = False) -> Any:
        later = [note for note in notes if position_of(note[0]) > position_of(after)]
        return later[-count:] if newest else later[:count]

    last = SimpleNamespace(alarm=SimpleNamespace(raised=5 in raised))
    monkeypatch.setattr(events, "last_of", lambda *_: last)
    monkeypatch.setattr(events, "_encode", lambda what: str(what).encode())
    watch = Events.__new__(Events)
    monkeypatch.setattr(watch, "_listing", SimpleNamespace(notes=asked), raising=False)
    monkeypatch.setattr(watch, "_limits", SimpleNamespace(max_page=100), raising=False)
    monkeypatch.setattr(events, "_alarm", lambda _, note: note)
    record: Any = SimpleNamespace(meta=SimpleNamespace(id="s"), position=Position(1, 5), reply=b"r")
    told: Any = await watch._told(record, seen, WatchOptions(interval=0.0, observation=False))
    assert [each for each in told if isinstance(each, bytes)] == ([notes[4][1]] if 5 in raised else [])
