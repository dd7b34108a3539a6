"""A watch of a session whose steps go on while it looks: each alarm is told once, whichever steps came meanwhile."""

from types import SimpleNamespace
from typing import Any

import pytest
from avf_server.stores.base import Position, note_id, position_of
from avf_server.watching import events
from avf_server.watching.events import Events, WatchOptions


def note(seq: int, raised: set[int]) -> tuple[str, bytes]:
    """A step's, with its id."""
    return note_id(Position(1, seq)), b'{"seq":%d,"alarm":%s}' % (seq, b"true" if seq in raised else b"false")


async def alarms_told(
    monkeypatch: pytest.MonkeyPatch, raised: set[int], *, seen: Position, at: int, there: int, page: int
) -> list[bytes]:
    """The notes of alarms that a watch tells: its record is of step `at`, and when notes are asked for `there` are."""
    notes = [note(seq, raised) for seq in range(1, there + 1)]

    async def asked(_: str, *, after: str, count: int, newest: bool = False) -> Any:
        later = [note for note in notes if position_of(note[0]) > position_of(after)]
        return later[-count:] if newest else later[:count]

    last = SimpleNamespace(alarm=SimpleNamespace(raised=at in raised))
    monkeypatch.setattr(events, "last_of", lambda *_: last)
    monkeypatch.setattr(events, "_encode", lambda what: str(what).encode())
    watch = Events.__new__(Events)
    monkeypatch.setattr(watch, "_listing", SimpleNamespace(notes=asked), raising=False)
    monkeypatch.setattr(watch, "_limits", SimpleNamespace(max_page=page), raising=False)
    monkeypatch.setattr(events, "_alarm", lambda _, step: step)
    record: Any = SimpleNamespace(meta=SimpleNamespace(id="s"), position=Position(1, at), reply=b"r")
    told: Any = await watch._told(record, seen, WatchOptions(interval=0.0, observation=False))
    return [each for each in told if isinstance(each, bytes)]


@pytest.mark.parametrize("seen", [Position(1, 4), Position(1, 2)])
@pytest.mark.parametrize("raised", [{5}, {5, 6}, {6}])
async def test_an_alarm_is_told_though_later_steps_came_while_the_watch_looked(
    monkeypatch: pytest.MonkeyPatch, seen: Position, raised: set[int]
) -> None:
    """The record is of step 5; when its note is asked for, steps 6 and 7 are there: theirs are for the next look."""
    found = await alarms_told(monkeypatch, raised, seen=seen, at=5, there=7, page=100)
    assert found == ([note(5, raised)[1]] if 5 in raised else [])


@pytest.mark.parametrize("page", [1, 3, 4, 7])
@pytest.mark.parametrize("there", [12, 40])
async def test_no_alarm_is_lost_where_more_steps_came_than_a_page_holds(
    monkeypatch: pytest.MonkeyPatch, page: int, there: int
) -> None:
    """Neither before the step that the record is of, nor after it, of which the next look tells."""
    raised = {1, 2, 3, 6, 9, 11, 12, 13, 30}
    found = await alarms_told(monkeypatch, raised, seen=Position(1, 1), at=12, there=there, page=page)
    assert found == [note(seq, raised)[1] for seq in (2, 3, 6, 9, 11, 12)]
