"""Observations on the way in, checked here or refused; and out again, as messages say them.

The law: an observation is of the model's precision from here to the store, float32 or float64, and so are its inputs.
Whatever passes fits the model (dimension, range, finite numbers; inputs and times where it takes them, and nowhere
else), so that no row can spoil a batch. What was passed is kept with its estimate, to be shown to those who watch.
"""

import math

import avf_wire as wire
import numpy as np
from avf_wire.binary_arrays import Numbers
from avf_wire.rows import Observed, RowForm
from numpy.typing import ArrayLike

from avf_core.models.base import ObservationSpec
from avf_server.problems import InvalidInputsError, InvalidObservationError, InvalidTimeError


def checked(
    x: ArrayLike,
    spec: ObservationSpec,
    form: RowForm,
    *,
    inputs: ArrayLike | None = None,
    time: float | None = None,
) -> Observed:
    """The observation as a row of a batch (observation,), in the model's precision, NaN where missing; and what came.

    Raises InvalidObservationError for a wrong dimension, for numbers out of the model's range, and for numbers that
    are not finite in the precision that the model computes in. So the same observation is the same in every codec.
    Raises InvalidInputsError and InvalidTimeError where what came with it is not what the model takes.
    """
    return Observed(x=_row(x, spec, form), inputs=_inputs(inputs, form), time=_time(time, form))


def to_stored(observed: Observed, form: RowForm) -> bytes:
    """An observation as it is kept: its row, little-endian."""
    return form.row(observed).astype("<f4", copy=False).tobytes()


def from_stored(data: bytes, form: RowForm) -> tuple[wire.Observation, list[float] | None]:
    """What `to_stored` gave, as messages say it: the observation, and its inputs.

    The observation is null where missing, null alone where all of it is.
    """
    observed = form.observed(np.frombuffer(data, dtype="<f4"))
    inputs = None if observed.inputs is None else observed.inputs.tolist()
    missing = np.isnan(observed.x)
    if not missing.any():
        return observed.x.tolist(), inputs
    if missing.all():
        return None, inputs
    return [None if gone else value for value, gone in zip(observed.x.tolist(), missing, strict=True)], inputs


def _numbers(x: ArrayLike, form: RowForm) -> Numbers:
    """The numbers in the model's precision; an infinity where they are beyond it."""
    kind = np.float64 if form.wide else np.float32
    if isinstance(x, np.ndarray) and x.dtype == kind:
        return x
    with np.errstate(over="ignore"):
        return np.asarray(x, dtype=kind)


def _row(x: ArrayLike, spec: ObservationSpec, form: RowForm) -> Numbers:
    row = _numbers(x, form)
    if row.shape != (spec.size,):
        raise InvalidObservationError(f"the observation has {row.size} dimensions, expected {spec.size}")
    least, most = row.item(row.argmin()), row.item(row.argmax())  # NaN where one is; a fifth of what min and max cost
    if -math.inf < least >= spec.low and math.inf > most <= spec.high:
        return row  # as most are: nothing is missing, and nothing is wrong
    if np.isinf(row).any():
        raise InvalidObservationError(f"the observation holds a number that is not finite in {_bits(row)} bits")
    low, high = row.dtype.type(spec.low), row.dtype.type(spec.high)
    outside = (row < low) | (row > high)  # never where missing: NaN is in no order
    if outside.any():
        worst = int(outside.argmax())
        raise InvalidObservationError(
            f"dimension {worst} is {row[worst]:g}, expected a number in [{spec.low:g}, {spec.high:g}]"
        )
    return row


def _bits(row: Numbers) -> int:
    return 8 * row.dtype.itemsize


def _inputs(inputs: ArrayLike | None, form: RowForm) -> Numbers | None:
    if inputs is None:
        if form.input_size:
            raise InvalidInputsError(
                f"no inputs came with the observation, but the model takes {form.input_size}: what was done, or known, "
                "before it; 0 where that is nothing"
            )
        return None
    row = _numbers(inputs, form)
    if row.shape != (form.input_size,):
        raise InvalidInputsError(
            f"{row.size} inputs came with the observation, expected {form.input_size}"
            + ("" if form.input_size else ": the model takes none, leave them out")
        )
    if not np.isfinite(row).all():
        raise InvalidInputsError(
            f"input {int((~np.isfinite(row)).argmax())} is missing, or not finite in {_bits(row)} bits: inputs are "
            "always numbers"
        )
    return row if form.input_size else None


def _time(time: float | None, form: RowForm) -> float | None:
    if time is None:
        return None
    if not form.timed:
        raise InvalidTimeError("a time came with the observation, but the model's steps are all alike: leave it out")
    if not math.isfinite(time):
        raise InvalidTimeError("the time of the observation is not finite")
    return float(time)
