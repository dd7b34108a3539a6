"""What environments need of a filter, wherever it runs: rows of sequences that begin and take observations.

The law: a row's estimates depend on its seed and its observations only, so that the same environment gives the same
in this process, on a server, alone and among others.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
from avf_sources import NotNumbersError, numbers
from numpy.typing import NDArray

from avf_client.errors import refused

Array = NDArray[np.float32]
Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A filter: vectors of `observation_size` numbers within [low, high] come in, latents of `latent_size` come out."""

    model: str
    observation_size: int
    latent_size: int
    low: float
    high: float

    def checked(self, xs: object, *, rows: int) -> Array:
        """Observations of shape (rows, D) as float32. Raises InvalidObservation where they do not fit.

        NaN, and what a mask covers, is a missing value.
        """
        try:
            with np.errstate(over="ignore"):  # what is beyond float32 is an infinity, which is refused below
                values = numbers(xs).astype(np.float32)
        except NotNumbersError as error:
            raise _invalid(f"observations are not of numbers: {error}") from error
        if values.shape != (rows, self.observation_size):
            raise _invalid(
                f"observations have shape {values.shape}, {self.model} takes ({rows}, {self.observation_size}): "
                "one row a sequence"
            )
        if bool(np.isinf(values).any()):
            raise _invalid("an observation holds an infinity; use NaN for a missing value")
        if bool(((values < self.low) | (values > self.high)).any()):
            raise _invalid(
                f"observations lie in [{np.nanmin(values):g}, {np.nanmax(values):g}], "
                f"{self.model} takes [{self.low:g}, {self.high:g}]"
            )
        return values


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """What one observation taught, of `rows` sequences. Energies in nats; free_energy = reconstruction + kl.

    prior_*, posterior_*    (rows, L) mean and log-variance of the latent, before and after the observation
    prediction, likelihood  (rows, D) mean of the observation, as expected before it and as explained after it
    free_energy, reconstruction, kl, iterations  (rows,)
    """

    prior_mean: Array
    prior_log_variance: Array
    posterior_mean: Array
    posterior_log_variance: Array
    prediction: Array
    likelihood: Array
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


class Filters(Protocol):
    """Rows of sequences, each being filtered."""

    spec: Spec

    def begin(self, rows: Rows, seeds: Sequence[int]) -> None:
        """Begin these rows' sequences anew, each with all its randomness fixed by a seed."""

    def step(self, rows: Rows, xs: Array) -> Estimates:
        """Filter one observation, `xs` of shape (len(rows), D), of each of these rows. NaN is a missing value.

        Raises InvalidObservation where the estimate is not finite.
        """

    def close(self) -> None:
        """Let go of what is held; nothing happens where that was done."""


def unobserved(filters: Filters) -> Estimates:
    """The estimate of one row before anything is observed: the first prior, as posterior too, and F = 0.

    It is the same for all seeds, since nothing random has happened. The sequences begin anew after it.
    """
    row = np.zeros(1, dtype=np.intp)
    filters.begin(row, [0])
    return filters.step(row, np.full((1, filters.spec.observation_size), np.nan, dtype=np.float32))


@contextmanager
def closed_on_error(filters: Filters) -> Iterator[Filters]:
    """What was opened is closed where the rest of a constructor fails."""
    try:
        yield filters
    except BaseException:
        filters.close()
        raise


def draw_seed(generator: np.random.Generator) -> int:
    """The seed of a sequence."""
    return int(generator.integers(2**62))


def _arrays(estimates: Estimates) -> dict[str, NDArray[Any]]:
    return {field.name: getattr(estimates, field.name) for field in fields(estimates)}


def _invalid(detail: str) -> Exception:
    return refused("invalid-observation", detail, status=422)
