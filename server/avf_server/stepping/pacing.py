"""The rows of a tick: as their sessions chose, or with less where somebody would else be late, and allows it."""

from collections.abc import Callable, Sequence

from avf_server.stepping import deadlines, rows
from avf_server.stepping.deadlines import SecondsOf
from avf_server.stepping.rows import Ready, Row


def paced(
    batch: Sequence[Ready], seconds: SecondsOf, samples: Callable[[str], tuple[int, int]], *, now: float
) -> list[Row]:
    """The rows of a tick that is filtered from `now` on, in seconds of the event loop's clock.

    `samples` gives the most gradient samples of an iteration of a model, and the fewest.
    """
    if all(item.frame.meta.deadline_s is None for item in batch):
        return [rows.to_row(item, iterations=item.frame.meta.iterations) for item in batch]
    asked = [rows.to_asked(item, now=now, samples=samples(item.frame.meta.model)) for item in batch]
    given = deadlines.in_time(asked, lambda model, count, iterations: seconds(model, count, iterations, None))
    most = deadlines.few_samples(asked, given, seconds)
    return [
        rows.to_row(item, iterations=iterations, samples=one.fewer(most) if iterations else None)
        for item, one, iterations in zip(batch, asked, given, strict=True)
    ]


def shortened(batch: Sequence[Ready], given: Sequence[Row]) -> int:
    """How many of these were given less than they chose."""
    return sum(item.frame.setup is not row.setup for item, row in zip(batch, given, strict=True))
