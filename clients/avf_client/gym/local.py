"""Rows of sequences filtered in this process: one batched step of the library for all of them.

The law: this is the one module of the client that imports the library, and only `opening.open_filters` imports it,
where such a filter is asked for.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avf_client.errors import AvfClientError, refused
from avf_client.gym.filters import Array, Estimates, Failures, Rows, Spec, checked_start
from avf_core import calendar, checkpoints
from avf_core.beliefs import Belief
from avf_core.errors import CheckpointError, ConfigurationError, PluginError
from avf_core.estimates import Estimate
from avf_core.trees import take, tree_map


class LocalFilters:
    """Rows of sequences of a checkpoint. Raises UnknownModel where there is none, or where it cannot be read.

    Without `predictions` those of estimates are NaN: to make them costs more than a step. Inputs of the calendar are
    made here, of each row's clock: it is at `start` with the first observation, and goes on by the model's usual dt.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        rows: int,
        iterations: int | None,
        particles: int = 1,
        predictions: bool = True,
        start: float | None = None,
    ) -> None:
        if iterations is not None and iterations < 0:
            raise refused("invalid-setting", f"iterations is {iterations}, expected 0 or more", status=422)
        try:
            checkpoint = checkpoints.load(model)
        except (CheckpointError, PluginError) as error:
            raise refused("unknown-model", str(error), status=404) from error
        self._filter, self._iterations, self._rows = checkpoint.filter, iterations, rows
        self._particles, self._predictions = particles, predictions
        observation, size = self._filter.model.observation, self._filter.model.input_size
        self._made = calendar.among(checkpoint.names("inputs", count=size) or ())
        self._start = checked_start(start, model=checkpoint.name, dated=bool(self._made))
        self._times = np.full(rows, self._start)
        self._belief = self._initial([0] * rows)
        self.spec = Spec(
            model=checkpoint.name,
            observation_size=observation.size,
            latent_size=self._filter.model.latent_size,
            low=observation.low,
            high=observation.high,
            input_size=size - len(self._made),
            state_size=_state(self._belief).shape[1],
        )

    def begin(self, rows: Rows, seeds: Sequence[int]) -> None:
        """The belief before the first observation, in these rows."""
        self._put(rows, self._initial(seeds))
        self._times[rows] = self._start

    @torch.no_grad()
    def step(self, rows: Rows, xs: Array, inputs: Array) -> tuple[Estimates, Failures]:
        """One batched step; the rows whose estimates are not finite are named, and are as they were."""
        x = torch.from_numpy(xs)
        observed = ~x.isnan()
        mask = None if bool(observed.all()) else observed
        belief = take(self._belief, torch.from_numpy(rows))
        drive = self._heard(rows, inputs)
        following, estimate = self._filter.step(belief, x, observed=mask, inputs=drive, iterations=self._iterations)
        estimates = _as_arrays(estimate, following, predictions=self._predictions)
        sound = np.isfinite(estimates.free_energy) & np.isfinite(estimates.posterior_mean).all(axis=1)
        self._times[rows[sound]] += self._filter.model.reader.usual_dt
        if sound.all():
            self._put(rows, following)
        elif sound.any():
            self._put(rows[sound], take(following, torch.from_numpy(np.flatnonzero(sound))))
        return estimates, {int(place): _too_far() for place in np.flatnonzero(~sound)}

    def close(self) -> None:
        """Nothing is held that the interpreter does not free."""

    def _heard(self, rows: Rows, inputs: Array) -> Tensor | None:
        """What was done before each observation, and what the calendar says of its time."""
        made = calendar.inputs_at(self._times[rows], self._made).astype(np.float32)
        heard = np.concatenate([inputs, made], axis=1)
        return torch.from_numpy(heard) if heard.shape[1] else None

    @torch.no_grad()
    def _initial(self, seeds: Sequence[int]) -> Belief:
        """Raises InvalidSetting for a number of particles that is none."""
        try:
            return self._filter.initial(torch.tensor(seeds, dtype=torch.int64), particles=self._particles)
        except ConfigurationError as error:
            raise refused("invalid-setting", str(error), status=422) from error

    def _put(self, rows: Rows, belief: Belief) -> None:
        index = torch.from_numpy(rows)
        if len(rows) == self._rows:
            self._belief = take(belief, torch.argsort(index))
        else:
            self._belief = tree_map(lambda kept, new: kept.index_copy(0, index, new), self._belief, belief)


def _too_far() -> AvfClientError:
    detail = "the estimate is not finite: the observation lies too far outside of what the model can hold"
    return refused("invalid-observation", detail, status=422)


def _state(belief: Belief) -> Array:
    """The model's state of every row, (rows, numbers): its parts in the order of their names; the particles' mean."""
    parts = [belief.model[name] for name in sorted(belief.model)]
    if not belief.particles:
        return np.concatenate([_float32(part.flatten(1)) for part in parts], axis=1)
    weights = belief.particles["log_weights"].exp()[..., None]
    return np.concatenate([_float32((weights * part.flatten(2)).sum(1)) for part in parts], axis=1)


def _as_arrays(estimate: Estimate, following: Belief, *, predictions: bool) -> Estimates:
    likelihood = _float32(estimate.likelihood.mean)
    return Estimates(
        prior_mean=_float32(estimate.prior.mean),
        prior_log_variance=_float32(estimate.prior.log_variance),
        posterior_mean=_float32(estimate.posterior.mean),
        posterior_log_variance=_float32(estimate.posterior.log_variance),
        prediction=_float32(estimate.prediction.mean) if predictions else np.full_like(likelihood, np.nan),
        likelihood=likelihood,
        state=_state(following),
        free_energy=_float64(estimate.free_energy),
        reconstruction=_float64(estimate.reconstruction),
        kl=_float64(estimate.kl),
        iterations=np.array(estimate.iterations.numpy(), dtype=np.int64),
    )


def _float32(tensor: Tensor) -> Array:
    return np.array(tensor.numpy(), dtype=np.float32)


def _float64(tensor: Tensor) -> NDArray[np.float64]:
    return np.array(tensor.numpy(), dtype=np.float64)
