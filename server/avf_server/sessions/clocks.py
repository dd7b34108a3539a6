"""The clock of a session: when each of its observations was, and how long after the one before. Pure.

The law: times of an epoch go on; what is not said is the usual time.
"""

import math
from dataclasses import dataclass

from avf_server.problems import InvalidTimeError


@dataclass(frozen=True)
class Moment:
    """When an observation was, on its session's clock, and how long after the one before."""

    time: float
    dt: float


def moment(time: float | None, *, last: float | None, usual_dt: float, dated: bool = False) -> Moment:
    """When an observation is that came with this `time`, after one that was at `last` (None: it is the first).

    Without a time it is the usual dt after the one before, the first one at 0. What is before the first is not known:
    its dt is the usual one. Raises InvalidTimeError where time does not go on, and where the first one is not said, but
    is a date to the model (`dated`).
    """
    if last is None and time is None and dated:
        raise InvalidTimeError(
            "no time came with the first observation, but the model hears the calendar: say when it was, in seconds "
            "since 1970 (UTC)"
        )
    if last is None:
        return Moment(0.0 if time is None else time, usual_dt)
    if time is None:
        return Moment(last + usual_dt, usual_dt)
    dt = time - last
    if not 0.0 < dt < math.inf:
        raise InvalidTimeError(
            f"the time is {time!r}, but the observation before was at {last!r}: times of a session go on, each after "
            "the one before"
        )
    return Moment(time, dt)
