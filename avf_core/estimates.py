"""What one observation taught.

The law: an estimate is a value; every tensor of it has a leading batch axis, after `scan` behind one of time. What
costs more than a look, as predictions and signs do, is made when it is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import Likelihood
from avf_core.inference.base import Inferred
from avf_core.mixtures import Mixture
from avf_core.objectives import Posterior
from avf_core.particles import averaged, rows_of, unfolded
from avf_core.predictions import Outlook
from avf_core.trees import stack_time, take


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one observation taught, for `batch` sequences; after `scan`, with a leading time axis.

    `prediction` is the distribution of the observation given those before it, `likelihood` that of it after inference,
    at the posterior sample `z`. `free_energy` = `reconstruction` + `kl`, in nats. `iterations` says how many updates
    each row was given; `free_energies` holds F of every iterate from the prior, in column 0, to the final posterior, in
    column `iterations`, each on noise of its own. A row that had fewer updates than another keeps its final F to the
    end, so that the last column is always `free_energy`.

    With particles, `prior` is the mixture of theirs by the weights before the observation, `posterior` and `likelihood`
    by those after it, and energies are means by the weights before it; `z` is the sample of one particle, drawn by the
    weights after it. `evidence_bound` is this step's part of a bound on -log p(x_1..T), in nats: F itself without
    particles, -log sum_k W_{t-1}^k w_t^k with them. `effective_sample_size` is 1 / sum of squared weights.
    `particles` has all samples. `smoothed` is the posterior of the latent `lag` steps ago (of the first one's, while
    there are no more), None where nothing is kept to look back.

    `allowance` is the part of F that the scale which z says accounts for, None where a model cannot tell it.


    `exact`: the procedure keeps the past in closed form, not by a sample. Then prior, posterior, prediction and
    likelihood have its spread in them, `z` is the posterior's mean and F is -log p(x_t | x_<t) itself.
    """

    prior: Posterior | Mixture
    posterior: Posterior | Mixture
    likelihood: Likelihood | Mixture
    z: Float[Tensor, "*time batch latent"]
    free_energy: Float[Tensor, "*time batch"]
    reconstruction: Float[Tensor, "*time batch"]
    kl: Float[Tensor, "*time batch"]
    free_energies: Float[Tensor, "*time batch iterates"]
    iterations: Int64[Tensor, "*time batch"]
    evidence_bound: Float64[Tensor, "*time batch"]
    effective_sample_size: Float64[Tensor, "*time batch"]
    outlook: Outlook
    heard: "Heard"
    particles: "Weighted | None" = None
    smoothed: Posterior | None = None
    exact: bool = False
    allowance: Float[Tensor, "*time batch"] | None = None

    @property
    def score(self) -> Float[Tensor, "*time batch"]:
        """What surprise is judged by, in nats: F, less what the scale of the observation accounts for."""
        return self.free_energy if self.allowance is None else self.free_energy - self.allowance

    @cached_property
    def prediction(self) -> Mixture:
        """The distribution of the observation given those before it, with the spread of the prior and of particles."""
        return self.outlook.prediction()

    @cached_property
    def prediction_at_prior_mean(self) -> Likelihood | Mixture:
        """The likelihood at the prior's mean: what prior and particles are unsure of is not in it."""
        return self.outlook.at_prior_mean()

    @cached_property
    def signs(self) -> Float[Tensor, "*time batch signs"]:
        """Numbers that tell what the step was like, beside what it cost; `Model.listened` says of what."""
        belief, heard, likelihood = self.outlook.belief, self.heard, self.likelihood
        if belief.seed.ndim > 1:
            return stack_time([take(self, t).signs for t in range(len(belief.seed))])
        if not (belief.particles and isinstance(likelihood, Mixture)):
            return heard.signs(belief.model, heard.x, heard.mean, likelihood)
        x, mean, components = unfolded((heard.x, heard.mean, likelihood.components))
        rows = heard.signs(rows_of(belief).model, x, mean, components)
        return averaged(rows, belief.particles["log_weights"])


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What signs are made of beside belief and likelihood, of each particle where there are some: heard of x, and of z.

    `signs` is the model's. `x` is the observation, imputed where it was not observed, and `mean` the posterior's.
    """

    signs: Callable[[State, Tensor, Tensor, Likelihood], Tensor]
    x: Float[Tensor, "*rows observation"]
    mean: Float[Tensor, "*rows latent"]


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """The particles of a step: samples that with these weights represent p(z_t | x_<=t).

    `log_weights` are normalised, and those before resampling. `resampled` says where too few of them were effective.
    """

    z: Float[Tensor, "*time batch particles latent"]
    log_weights: Float64[Tensor, "*time batch particles"]
    resampled: Bool[Tensor, "*time batch"]


def gaussian(distribution: Posterior | Mixture) -> Posterior:
    """The distribution of a latent of one row. Raises TypeError for that of particles."""
    if isinstance(distribution, Mixture):
        raise TypeError("expected the latent of one row, and this is a mixture of those of particles")
    return distribution


def carried_forward(inferred: Inferred, free_energy: Tensor) -> Float[Tensor, "batch iterates"]:
    """F of every iterate, with the final F from each row's last update on."""
    met, final = inferred.free_energies, free_energy[:, None]
    reached = torch.arange(met.shape[-1], device=met.device) < inferred.iterations[:, None]
    return torch.cat([torch.where(reached, met, final), final], dim=-1)


def aligned(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Successive estimates with as many iterates each: those of a step with fewer updates keep the final F."""
    width = max(estimate.free_energies.shape[-1] for estimate in estimates)

    def widened(estimate: Estimate) -> Estimate:
        missing = width - estimate.free_energies.shape[-1]
        rest = estimate.free_energy[:, None].expand(-1, missing)
        return replace(estimate, free_energies=torch.cat([estimate.free_energies, rest], dim=-1))

    return [widened(estimate) for estimate in estimates]
