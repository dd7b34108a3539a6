"""What environments need of a filter, wherever it runs: rows of sequences that begin and take observations.

The law: a row's estimates depend on its seed, its observations and its inputs only, so that the same environment gives
the same in this process, on a server, alone and among others; and what goes wrong in a row is that row's affair.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
from avf_sources import NotNumbersError, numbers
from numpy.typing import NDArray

from avf_client.errors import AvfClientError, refused

Array = NDArray[np.float32]
Rows = NDArray[np.intp]
Failures = dict[int, AvfClientError]
"""What went wrong, by the place of a row among those of a call."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A filter: vectors of `observation_size` numbers within [low, high] come in, latents of `latent_size` come out.

    input_size  numbers that come with each observation: what was done before it; 0 for most models
    state_size  numbers of the model's recurrent state; None where that stays on a server
    """

    model: str
    observation_size: int
    latent_size: int
    low: float
    high: float
    input_size: int = 0
    state_size: int | None = None

    def checked(self, xs: object, *, rows: int) -> Array:
        """Observations of shape (rows, D) as float32. Raises InvalidObservation where they do not fit.

        NaN, and what a mask covers, is a missing value.
        """
        values = self.shaped(xs, rows=rows)
        for fault in self.faults(values).values():
            raise fault
        return values

    def split(self, actions: object, *, rows: int) -> tuple[object, Array]:
        """Observations and inputs of actions that hold both, one after the other. Raises InvalidObservation."""
        if not self.input_size:
            return actions, still(self, rows=rows)
        both = replace(self, observation_size=self.observation_size + self.input_size).shaped(actions, rows=rows)
        inputs = both[:, self.observation_size :]
        if not np.isfinite(inputs).all():
            raise _invalid("inputs hold NaN or an infinity, expected finite numbers: what was done is known")
        return both[:, : self.observation_size], inputs

    def shaped(self, xs: object, *, rows: int) -> Array:
        """Observations of shape (rows, D) as float32, whatever their values. Raises InvalidObservation."""
        try:
            with np.errstate(over="ignore"):  # what is beyond float32 is an infinity, which is a fault
                values = numbers(xs).astype(np.float32)
        except NotNumbersError as error:
            raise _invalid(f"observations are not of numbers: {error}") from error
        if values.shape != (rows, self.observation_size):
            raise _invalid(
                f"observations have shape {values.shape}, {self.model} takes ({rows}, {self.observation_size}): "
                "one row a sequence"
            )
        return values

    def faults(self, values: Array) -> Failures:
        """The rows whose values the filter does not take, and why."""
        wrong = np.isinf(values) | (values < self.low) | (values > self.high)
        return {int(row): self._fault(values[row]) for row in np.flatnonzero(wrong.any(axis=1))}

    def _fault(self, x: Array) -> AvfClientError:
        if bool(np.isinf(x).any()):
            return _invalid("an observation holds an infinity; use NaN for a missing value")
        shown, taken = f"[{np.nanmin(x):g}, {np.nanmax(x):g}]", f"[{self.low:g}, {self.high:g}]"
        return _invalid(f"observations lie in {shown}, {self.model} takes {taken}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """What one observation taught, of `rows` sequences. Energies in nats; free_energy = reconstruction + kl.

    prior_*, posterior_*    (rows, L) mean and log-variance of the latent, before and after the observation; with
                            particles, of all of them together
    prediction, likelihood  (rows, D) mean of the observation, as expected before it and as explained after it
    state                   (rows, S) the model's recurrent state after the observation; S is 0 where that stays on a
                            server
    free_energy, reconstruction, kl, iterations  (rows,)
    """

    prior_mean: Array
    prior_log_variance: Array
    posterior_mean: Array
    posterior_log_variance: Array
    prediction: Array
    likelihood: Array
    state: Array
    free_energy: NDArray[np.float64]
    reconstruction: NDArray[np.float64]
    kl: NDArray[np.float64]
    iterations: NDArray[np.int64]

    def repeated(self, rows: int) -> "Estimates":
        """Those of the one row, for so many rows."""
        return replace(self, **{name: np.repeat(array, rows, axis=0) for name, array in _arrays(self).items()})

    def put(self, rows: Rows, others: "Estimates") -> None:
        """Put the rows of `others` in the place of these rows."""
        for name, array in _arrays(self).items():
            array[rows] = getattr(others, name)

    def at(self, rows: Sequence[int] | Rows) -> "Estimates":
        """Those of some rows."""
        return replace(self, **{name: array[np.asarray(rows, dtype=np.intp)] for name, array in _arrays(self).items()})


class Filters(Protocol):
    """Rows of sequences, each being filtered."""

    spec: Spec

    def begin(self, rows: Rows, seeds: Sequence[int]) -> None:
        """Begin these rows' sequences anew, each with all its randomness fixed by a seed."""

    def step(self, rows: Rows, xs: Array, inputs: Array) -> tuple[Estimates, Failures]:
        """Filter one observation, `xs` of shape (len(rows), D), of each of these rows. NaN is a missing value.

        `inputs` (len(rows), `input_size`) is what was done before each. The rows that fail are named, with the reason:
        InvalidObservation where the estimate is not finite. They are as they were, and their estimates mean nothing.
        """

    def close(self) -> None:
        """Let go of what is held; nothing happens where that was done."""


def unobserved(filters: Filters) -> Estimates:
    """The estimate of one row before anything is observed: the first prior, as posterior too, and F = 0.

    It is the same for all seeds, since nothing random has happened. The sequences begin anew after it.
    """
    row = np.zeros(1, dtype=np.intp)
    filters.begin(row, [0])
    nothing = np.full((1, filters.spec.observation_size), np.nan, dtype=np.float32)
    estimates, failures = filters.step(row, nothing, still(filters.spec, rows=1))
    for failure in failures.values():
        raise failure
    return estimates


def still(spec: Spec, *, rows: int) -> Array:
    """Inputs of nothing done, as before a first observation: zeros."""
    return np.zeros((rows, spec.input_size), dtype=np.float32)


@contextmanager
def closed_on_error(filters: Filters) -> Iterator[Filters]:
    """What was opened is closed where the rest of a constructor fails."""
    try:
        yield filters
    except BaseException:
        filters.close()
        raise


def checked_start(start: float | None, *, model: str, dated: bool) -> float:
    """When the first observation of a sequence is; 0 of a model that hears no calendar. Raises InvalidSetting."""
    if start is None and dated:
        raise refused(
            "invalid-setting",
            f"{model} hears the calendar, but no start was said: say start=, when the first observation of a sequence "
            "is, in seconds since 1970 (UTC)",
            status=422,
        )
    if start is not None and not dated:
        raise refused("invalid-setting", f"start is {start:g}, but {model} hears no calendar: leave it out", status=422)
    if start is not None and not math.isfinite(start):
        raise refused("invalid-setting", f"start is {start}, expected seconds since 1970 (UTC)", status=422)
    return 0.0 if start is None else float(start)


def draw_seed(generator: np.random.Generator) -> int:
    """The seed of a sequence."""
    return int(generator.integers(2**62))


def _arrays(estimates: Estimates) -> dict[str, NDArray[Any]]:
    return {field.name: getattr(estimates, field.name) for field in fields(estimates)}


def _invalid(detail: str) -> AvfClientError:
    return refused("invalid-observation", detail, status=422)
