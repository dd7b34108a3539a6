"""What a filter expects of the next observation: the predictive distribution, made when it is asked for.

    p(x_t | x_<t) = sum_k W_{t-1}^k  integral of p(x_t | z_t, past_k) p(z_t | past_k) dz_t

A sum over particles k, or over the one sampled past of a row without them; the integral has a closed form for some
models and procedures, and is a mean over draws from the prior for all others. The law: the draws are on noise of their
own, by a particle's seed and step, so that a prediction is the same alone, in a batch and elsewhere.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from avf_core import noise
from avf_core.beliefs import Belief
from avf_core.distributions import Likelihood
from avf_core.drives import Drive
from avf_core.mixtures import Mixture
from avf_core.objectives import StepObjective
from avf_core.particles import each_particle, rows_of
from avf_core.recalibration import Recalibration
from avf_core.trees import stack_time, take, tree_map

SAMPLES = 16  # draws from the prior where there is no closed form, unless a filter is told another number


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """All that predictions of a step's observation are made from: the belief before it, its drive, how to read them.

    `objective` gives the F of rows that are no particles, and `draws` their likelihoods at so many draws from the prior
    (at its mean, where that is 0), or None where they are to be had by the objective. After `scan`, the belief has a
    leading time axis.
    """

    objective: Callable[[Belief, Drive], StepObjective]
    draws: Callable[[Belief, int], Likelihood | None]
    belief: Belief
    drive: Drive
    samples: int
    recalibration: Recalibration | None = None

    def prediction(self, samples: int | None = None) -> Mixture:
        """The predictive distribution; with `samples` draws from the prior where there is no closed form."""
        if self.belief.seed.ndim > 1:
            return stack_time([found.prediction(samples) for found in self._steps()])
        count = -(-(samples or self.samples) // self.belief.particle_count)
        drawn = self.draws(rows_of(self.belief), count)
        if drawn is not None:
            return self._mixed(drawn, count)
        objective = self._objective
        likelihood = objective.marginal()
        if likelihood is None:
            return self._mixed(_sampled(objective, count), count)
        return self._mixed(tree_map(lambda tensor: tensor.unsqueeze(1), likelihood), 1)

    def at_prior_mean(self) -> Likelihood | Mixture:
        """The likelihood at the prior's mean; with particles, the mixture of those at theirs."""
        if self.belief.seed.ndim > 1:
            return stack_time([found.at_prior_mean() for found in self._steps()])
        found = self.draws(rows_of(self.belief), 0)
        likelihood = self._objective.at_prior_mean() if found is None else found
        if not self.belief.particles:
            return likelihood
        return replace(self._mixed(tree_map(lambda tensor: tensor.unsqueeze(1), likelihood), 1), recalibration=None)

    @cached_property
    def _objective(self) -> StepObjective:
        """The step's, of every particle: made once, for all that is asked of the outlook."""
        return self.objective(rows_of(self.belief), each_particle(self.drive, self.belief.particle_count))

    def _steps(self) -> list["Outlook"]:
        """One of every step of a stretch."""
        return [take(self, t) for t in range(len(self.belief.seed))]

    def _mixed(self, likelihood: Likelihood, drawn: int) -> Mixture:
        """The likelihoods of (rows, drawn) as a mixture for every sequence, by the weights of particles."""
        count = self.belief.particle_count
        components = tree_map(lambda tensor: tensor.unflatten(0, (-1, count)).flatten(1, 2), likelihood)
        even = torch.zeros(len(self.belief.seed), count, dtype=torch.float64, device=self.belief.seed.device)
        weights = self.belief.particles.get("log_weights", even)
        return Mixture(components, (weights - math.log(drawn)).repeat_interleave(drawn, -1), self.recalibration)


def _sampled(objective: StepObjective, count: int) -> Likelihood:
    """The likelihoods at draws from what is expected of the latent, of shape (rows, draws, observation).

    Draws come in pairs of opposite noise, so that what is linear in them averages out.
    """
    pairs = (count + 1) // 2
    drawn = objective.noise(streams=range(noise.PREDICTION, noise.PREDICTION + pairs))
    eps = torch.stack([drawn, -drawn], 1).flatten(0, 1)[:count]
    z = torch.stack([objective.expected.transform(one) for one in eps])
    found: Likelihood = objective.model.decode_samples(objective.context, z.to(objective.model.dtype))
    return tree_map(lambda tensor: tensor.transpose(0, 1), found)
