"""The calendar as inputs: where in the day, the week and the year a step is, as sine and cosine.

    inputs_at(times, ["calendar.hour.sin", "calendar.hour.cos"])

The law: they are made of times alone, in seconds since 1970 (UTC), and never kept: whoever trains, evaluates or serves
makes them anew, and what they are called says how. A week begins on Monday, a year on the first of January.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from avf_core.errors import ConfigurationError

Times = Float64[ndarray, " steps"]

PREFIX = "calendar."
DAY, WEEK, YEAR = 86_400.0, 604_800.0, 31_556_952.0  # seconds
MONDAY = 3.0 * DAY  # 1970 began on a Thursday
LEAST_DATE = 365.0 * DAY  # times below it are taken to count from a start of their own, and not from 1970


def _of_year(times: Times) -> Times:
    moments = times.astype("datetime64[s]")
    start = moments.astype("datetime64[Y]")
    began, ends = (year.astype("datetime64[s]").astype(np.float64) for year in (start, start + np.timedelta64(1, "Y")))
    found: Times = (times - began) / (ends - began)
    return found


CYCLES: Mapping[str, Callable[[Times], Times]] = {
    "hour": lambda times: times / DAY % 1.0,
    "halfday": lambda times: times / (0.5 * DAY) % 1.0,
    "weekday": lambda times: (times + MONDAY) / WEEK % 1.0,
    "yearday": _of_year,
}
"""Cycles by name: the hour of the day, and of half a day, which bends a day's curve as a second harmonic does; the day
of the week, the day of the year. Each is the part that has gone by."""

LENGTHS = {"hour": DAY, "halfday": 0.5 * DAY, "weekday": WEEK, "yearday": YEAR}
"""Of each, in seconds."""


def are_dates(times: Times) -> bool:
    """Whether these count from 1970, as far as can be told, and not from a start of their own."""
    return not len(times) or not (times[0] >= 0.0 and times[-1] < LEAST_DATE)


def names(cycles: Sequence[str]) -> list[str]:
    """What the inputs of these cycles are called. Raises ConfigurationError for a cycle that is none."""
    strange = [cycle for cycle in cycles if cycle not in CYCLES]
    if strange:
        raise ConfigurationError(f"calendar is {', '.join(strange)}, expected some of {', '.join(CYCLES)}")
    return [f"{PREFIX}{cycle}.{wave}" for cycle in dict.fromkeys(cycles) for wave in ("sin", "cos")]


def among(inputs: Sequence[str]) -> list[str]:
    """Those of these names of inputs that the calendar gives."""
    return [name for name in inputs if name.startswith(PREFIX)]


def inputs_at(times: Times, wanted: Sequence[str]) -> Float64[ndarray, "steps inputs"]:
    """The inputs of these names at these times. Raises ConfigurationError for a name that is none."""
    known = names(list(CYCLES))
    if strange := [name for name in wanted if name not in known]:
        raise ConfigurationError(f"{', '.join(strange)} is no input of the calendar, expected {', '.join(known)}")
    columns = []
    for name in wanted:
        cycle, wave = name.removeprefix(PREFIX).split(".")
        turns = 2.0 * np.pi * CYCLES[cycle](np.asarray(times, dtype=np.float64))
        columns.append(np.sin(turns) if wave == "sin" else np.cos(turns))
    return np.stack(columns, axis=-1) if columns else np.zeros((len(times), 0))
