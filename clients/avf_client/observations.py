"""From what users have (lists, arrays, None) to what the wire carries, refusing what can never be right.

The law: NaN means "this dimension is missing" and travels as null, and so does what a mask covers; None means "all of
it is missing"; an infinity (in float32, as models compute) or a wrong dimension is refused before anything is sent, and
so are inputs and times that do not fit the model.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import avf_wire as wire
import numpy as np
from avf_sources import NotNumbersError, numbers
from avf_wire.rows import RowForm
from numpy.typing import NDArray

from avf_client.errors import InvalidArgument, refused

ObservationLike: TypeAlias = Sequence[float | None] | NDArray[np.generic] | None
"""One observation of shape (D,): numbers, NaN or None for a missing dimension, or a masked array; None where all of it
is missing."""

InputsLike: TypeAlias = Sequence[float] | NDArray[np.generic]
"""The inputs of a step, of shape (U,): finite numbers."""


@dataclass(frozen=True, eq=False)
class Step:
    """An observation with what came with it, for models that take inputs, or times.

    x       the observation (D,)
    inputs  (U,) what was done, or known, before it, such as an agent's action
    time    when it was, in the model's unit (seconds where it names none), after the one before it; where that is not
            said, the model's usual time after the one before
    """

    x: ObservationLike
    inputs: InputsLike | None = None
    time: float | None = None


StepLike: TypeAlias = ObservationLike | Step


@dataclass(frozen=True)
class Sent:
    """A step as the wire carries it."""

    x: wire.Observation
    inputs: list[float] | None = None
    time: float | None = None


def steps_of(
    xs: Iterable[StepLike], *, inputs: Iterable[InputsLike] | None = None, times: Iterable[float | None] | None = None
) -> list[StepLike]:
    """Observations with what came with each. Raises InvalidArgument where these are not as many."""
    steps = list(xs)
    if inputs is None and times is None:
        return steps
    if any(isinstance(step, Step) for step in steps):
        raise InvalidArgument("a Step has its inputs and its time itself: leave inputs and times out")
    us = [None] * len(steps) if inputs is None else list(inputs)
    ts = [None] * len(steps) if times is None else list(times)
    if not len(us) == len(ts) == len(steps):
        raise InvalidArgument(f"{len(us)} inputs and {len(ts)} times for {len(steps)} observations: expected as many")
    return [Step(x, u, t) for x, u, t in zip(cast("list[ObservationLike]", steps), us, ts, strict=True)]


def to_sent(step: StepLike, form: RowForm) -> Sent:
    """The step as the wire carries it.

    Raises InvalidObservation, InvalidInputs and InvalidTime where it is not what a model of this form takes.
    """
    given = step if isinstance(step, Step) else Step(step)
    return Sent(x=to_wire(given.x, size=form.size), inputs=_inputs(given.inputs, form), time=_time(given.time, form))


def to_wire(x: ObservationLike, *, size: int) -> wire.Observation:
    """The observation as the wire carries it. Raises InvalidObservation where it does not fit `size` dimensions."""
    if x is None:
        return None
    try:
        values = numbers(x)
    except NotNumbersError as error:
        raise refused("invalid-observation", f"the observation is not of numbers: {error}", status=422) from error
    if values.shape != (size,):
        raise refused(
            "invalid-observation",
            f"the observation has shape {values.shape}, the model takes ({size},)",
            status=422,
        )
    infinite = _infinite(values)
    if infinite.size:
        raise refused(
            "invalid-observation",
            f"dimension {infinite[0]} of the observation is infinite, or beyond float32; use NaN for a missing value",
            status=422,
        )
    sent: list[float | None] = values.astype(np.float64).tolist()
    for dimension in np.flatnonzero(np.isnan(values)):
        sent[dimension] = None
    return sent


def _inputs(inputs: InputsLike | None, form: RowForm) -> list[float] | None:
    if inputs is None:
        if form.input_size:
            raise refused("invalid-inputs", f"the model takes {form.input_size} inputs a step, none came", status=422)
        return None
    try:
        values = numbers(inputs)
    except NotNumbersError as error:
        raise refused("invalid-inputs", f"the inputs are not numbers: {error}", status=422) from error
    if values.shape != (form.input_size,):
        detail = f"the inputs have shape {values.shape}, the model takes ({form.input_size},)"
        raise refused("invalid-inputs", detail, status=422)
    if np.isnan(values).any() or _infinite(values).size:
        raise refused("invalid-inputs", "an input is missing, or not finite in float32: inputs are numbers", status=422)
    found: list[float] = values.astype(np.float64).tolist()
    return found or None


def _time(time: float | None, form: RowForm) -> float | None:
    if time is None:
        return None
    if not form.timed:
        raise refused("invalid-time", "the model's steps are all alike: leave the time out", status=422)
    if not math.isfinite(time):
        raise refused("invalid-time", f"the time is {time}, expected a finite number", status=422)
    return float(time)


def _infinite(values: NDArray[np.generic]) -> NDArray[np.intp]:
    return np.flatnonzero(np.abs(values.astype(np.longdouble)) > np.finfo(np.float32).max)
