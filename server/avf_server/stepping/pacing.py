"""The rows of a tick: as their sessions chose, or with less where somebody would else be late, and allows it."""

from collections.abc import Sequence

from avf_server.stepping import deadlines, rows
from avf_server.stepping.deadlines import Seconds
from avf_server.stepping.rows import Ready, Row


def paced(batch: Sequence[Ready], seconds: Seconds, *, now: float) -> list[Row]:
    """The rows of a tick that is filtered from `now` on, in seconds of the event loop's clock."""
    if all(item.frame.meta.deadline_s is None for item in batch):
        return [rows.to_row(item, iterations=item.frame.meta.iterations) for item in batch]
    given = deadlines.in_time([rows.to_asked(item, now=now) for item in batch], seconds)
    return [rows.to_row(item, iterations=iterations) for item, iterations in zip(batch, given, strict=True)]


def shortened(batch: Sequence[Ready], given: Sequence[Row]) -> int:
    """How many of these were given less than they chose."""
    return sum(item.frame.setup is not row.setup for item, row in zip(batch, given, strict=True))
