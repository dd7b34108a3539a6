"""A step from rows of bytes to rows of bytes, by the native executor: what a server asks for at every tick.

The law: it is `Filter.step` of the beliefs that the rows are, with the predictions of its estimate, bit for bit. What
becomes bytes again is never a tensor; what the model expected is computed within the step, which has the prior.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from avf_core.belief_rows import BeliefRows
from avf_core.beliefs import State
from avf_core.distributions import Likelihood
from avf_core.filtering import Filter
from avf_core.mixtures import Mixture
from avf_core.models.base import Model
from avf_core.native.arrays import Arrays
from avf_core.native.engine import Engine

TAKEN_OVER = ("step", "step_rows", "outlook", "drawn")
"""What a flat step does in place of the filter, and would not hear of where a derived one does it in another way."""

WEIGHTS_KEPT = 64  # of draws, by numbers of rows and draws


@dataclass(frozen=True, kw_only=True)
class FlatStep:
    """What a step gave: the beliefs after it as rows, and all that an `Estimate` of the same says, by its names.

    `model`, `context` and `x` are those of the step, which signs are made of where somebody hears them.
    """

    model: Model
    context: State
    x: Float[np.ndarray, "batch observation"]
    beliefs: UInt8[np.ndarray, "batch width"]
    did: Arrays
    likelihood: Likelihood
    prediction: Mixture
    prediction_at_prior_mean: Likelihood
    score: Float[np.ndarray, " batch"]

    @cached_property
    def signs(self) -> Float[np.ndarray, "batch signs"]:
        """Those of the estimate."""
        mean = torch.from_numpy(self.did.moments[2])
        return self.model.signs(self.context, torch.from_numpy(self.x), mean, self.likelihood).numpy()


def executor(filter: Filter) -> Engine | None:
    """What computes flat steps of a filter as it is now, and for as long as it is; None where torch does."""
    if any(getattr(type(filter), name) is not getattr(Filter, name) for name in TAKEN_OVER):
        return None
    return filter.executor()


def step(
    filter: Filter,
    engine: Engine,
    form: BeliefRows,
    rows: UInt8[np.ndarray, "batch width"],
    x: Float[np.ndarray, "batch observation"],
    *,
    iterations: int | None,
    samples: int | None,
    draws: int,
) -> FlatStep | None:
    """Filter x, checked and with nothing missing, by the `executor` of the filter; None for rows that it has none for.

    The prediction is made of so many `draws`.
    """
    if not form.alone or x.dtype != np.float32:
        return None
    held = form.arrays(rows)
    state = {name: held[f"model.{name}"] for name in engine.model.state}
    memory = {name: held[f"inference.{name}"] for name in engine.inference.memory}
    seed, number = held["seed"], held["step"]
    did = engine.arrays(
        state, memory, x, observed=None, seed=seed, number=number, limits=iterations, samples=samples, draws=draws
    )
    after = {f"model.{name}": one for name, one in did.following.items()}
    after |= {f"inference.{name}": one for name, one in did.memory.items()}
    context = {name: torch.from_numpy(one) for name, one in state.items()}
    said, drawn, at_mean = (
        engine.model.emission.likelihood([torch.from_numpy(one) for one in outputs], context)
        for outputs in (did.outputs, did.drawn, did.at_mean)
    )
    allowance = filter.model.allowance(context, torch.from_numpy(did.z), None, said)
    return FlatStep(
        model=filter.model,
        context=context,
        x=x,
        beliefs=form.joined({**after, "seed": seed, "step": number + 1}, count=len(x)),
        did=did,
        likelihood=said,
        prediction=Mixture(drawn, _even(len(x), draws), filter.recalibration),
        prediction_at_prior_mean=at_mean,
        score=did.free_energy if allowance is None else did.free_energy - allowance.numpy(),
    )


@lru_cache(WEIGHTS_KEPT)
def _even(rows: int, draws: int) -> Float64[Tensor, "rows draws"]:
    """The logarithms of the weights of as many draws of each row."""
    return torch.full((rows, draws), -math.log(draws), dtype=torch.float64)
