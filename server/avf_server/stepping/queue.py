"""Observations that wait for a tick: so many at most, whose places and turns are shared by the owners of sessions.

The law: what one owner sends takes no place from another's share, and no turn: see `decisions`. Whoever gives way is
told at once, and nothing of it was applied.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping

from avf_server.problems import OverloadedError
from avf_server.stepping import decisions, rows
from avf_server.stepping.rows import Frame


class Queue:
    """Frames in the order in which they came. `retry_after` is in seconds."""

    def __init__(self, *, limit: int, retry_after: int) -> None:
        self._limit = limit
        self._retry_after = retry_after
        self._frames: list[Frame] = []
        self._ahead: Mapping[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def make_room(self, owner: str) -> None:
        """See to it that there is a place for one more of this owner. Raises OverloadedError where there is none."""
        if len(self._frames) < self._limit:
            return
        self._frames = [frame for frame in self._frames if not frame.answer.done()]  # the done: clients that left
        if len(self._frames) < self._limit:
            return
        held = Counter(frame.meta.owner for frame in self._frames)
        other = decisions.gives_way(held, owner, limit=self._limit)
        if other is None:
            raise self._overloaded(f"{len(self._frames)} observations are waiting, which is the limit")
        at = max(i for i, frame in enumerate(self._frames) if frame.meta.owner == other)
        share = "the observations that wait are at their limit, and this key had more than its share of them"
        rows.refuse(self._frames.pop(at), self._overloaded(share))

    def add(self, frame: Frame) -> None:
        """Let a frame wait, once there is room for it."""
        self._frames.append(frame)

    @property
    def oldest(self) -> Frame | None:
        """The frame that has waited the longest; None where none waits."""
        return self._frames[0] if self._frames else None

    def take(self, *, max_batch: int, under_way: Collection[str]) -> list[Frame]:
        """The frames of this tick: none of sessions that are `under_way`."""
        taken, self._frames, self._ahead = decisions.take(
            [frame for frame in self._frames if not frame.answer.done()],
            session=lambda frame: frame.meta.id,
            owner=lambda frame: frame.meta.owner,
            weight=lambda frame: frame.setup.particles,
            ahead=self._ahead,
            under_way=under_way,
            max_batch=max_batch,
        )
        return taken

    def empty(self) -> list[Frame]:
        """All that wait, who then wait no longer."""
        found, self._frames = self._frames, []
        return found

    def _overloaded(self, detail: str) -> OverloadedError:
        return OverloadedError(detail, retry_after=self._retry_after)
