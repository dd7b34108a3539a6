"""Sequences that know what moved them: an array of observations with the inputs and the dt of every step.

It is an array of the observations, to all that asks for no more. The law: a stretch of steps, `sequence[a:b]`, keeps
theirs; whatever else is made of the array has none.
"""

from typing import Any

import numpy as np

from avf_core.data._numbers import numbers
from avf_core.errors import DataError


class Driven(np.ndarray):
    """Observations (time, observation) with `inputs` (time, inputs) and `dt` (time,), each None where there is none.

    A dt is the time since the observation before; NaN where that is not known, as of the first one. `times` are when
    observations were, in seconds since 1970 where that is known.
    """

    inputs: np.ndarray | None
    dt: np.ndarray | None
    times: np.ndarray | None

    def __new__(
        cls,
        xs: object,
        *,
        inputs: np.ndarray | None = None,
        dt: np.ndarray | None = None,
        times: np.ndarray | None = None,
    ) -> "Driven":
        """Raises DataError unless each has a row, or a number, for every step."""
        found = numbers(xs).view(cls)
        if inputs is not None and (inputs.ndim != 2 or len(inputs) != len(found)):
            raise DataError(f"inputs have shape {inputs.shape}, expected ({len(found)}, inputs): a row for every step")
        if dt is not None and dt.shape != found.shape[:1]:
            raise DataError(f"dt has shape {dt.shape}, expected ({len(found)},): a number for every step")
        if times is not None and times.shape != found.shape[:1]:
            raise DataError(f"times have shape {times.shape}, expected ({len(found)},): a number for every step")
        found.inputs, found.dt, found.times = inputs, dt, times
        return found

    def __array_finalize__(self, made_of: object) -> None:
        """What is made of an array has no drive, but by `__getitem__`."""
        self.inputs = self.dt = self.times = None

    def __getitem__(self, key: Any) -> Any:
        """Steps by a slice keep what moved them; anything else is a plain array or number."""
        found = super().__getitem__(key)
        if not isinstance(found, Driven):
            return found
        if not isinstance(key, slice):
            return found.view(np.ndarray)
        found.inputs = None if self.inputs is None else self.inputs[key]
        found.dt = None if self.dt is None else self.dt[key]
        found.times = None if self.times is None else self.times[key]
        return found


def input_statistics(sequences: list[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and the deviation of every input, 1 where it never changes; none of sequences without inputs."""
    given = [sequence.inputs for sequence in sequences if isinstance(sequence, Driven) and sequence.inputs is not None]
    if not given:
        return (), ()
    rows = np.concatenate(given).astype(np.float64)
    return tuple(rows.mean(0).tolist()), tuple(float(deviation) or 1.0 for deviation in rows.std(0))


def knows_time(sequences: list[np.ndarray]) -> bool:
    """Whether these sequences say how long any step took."""
    given = (sequence.dt for sequence in sequences if isinstance(sequence, Driven) and sequence.dt is not None)
    return any(bool((~np.isnan(dt)).any()) for dt in given)


def usual_dt(sequences: list[np.ndarray]) -> float:
    """The median dt of these sequences. Raises DataError where none is known."""
    given = [sequence.dt for sequence in sequences if isinstance(sequence, Driven) and sequence.dt is not None]
    known = np.concatenate(given) if given else np.zeros(0)
    known = known[~np.isnan(known)]
    if not len(known):
        raise DataError("the model is timed, but the data says nothing of time: name its column, say time=COLUMN")
    return float(np.median(known))
