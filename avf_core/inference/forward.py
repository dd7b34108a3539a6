"""The forward algorithm as a procedure: the whole belief of a hidden Markov model, the probability of every regime.

    p(r_t | x_<t)     ->     p(r_t = k | x_<=t) = p(r_t = k | x_<t) p(x_t | r_t = k) / p(x_t | x_<t)

Filtering goes on from the probabilities themselves, so that F is -log p(x_t | x_<t), the evidence (Rabiner, "A tutorial
on hidden Markov models", 1989, by logarithms). As F is differentiable in theta, training by it is maximum likelihood.

The law: no regime is sampled, so that estimates do not depend on seeds but by what stands in a gap that an
autoregressive model hears.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import Likelihood, OneHot
from avf_core.errors import ConfigurationError
from avf_core.inference import base
from avf_core.models import switching
from avf_core.models.base import Model
from avf_core.objectives import Posterior, StepObjective


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing to choose: the model says all."""


EXAMPLES: Mapping[str, Config] = {"whole": Config()}


class Inference(base.Inference):
    """The exact filtering distribution of the regimes of a switching model."""

    learns = "with theta"
    exact = True

    def __init__(self, config: Config, model: Model) -> None:
        super().__init__()
        if not isinstance(model, switching.Model):
            raise ConfigurationError(
                f"the forward algorithm needs a switching model, not {type(model).__module__}: use another procedure"
            )
        self.config = config

    def objective(self, objective: StepObjective, state: State) -> "Regimes":
        """F of the step with the regime summed out."""
        if isinstance(objective, Regimes):
            return objective
        return Regimes(**{field.name: getattr(objective, field.name) for field in fields(objective)})

    def infer(self, objective: StepObjective, state: State, *, effort: base.Effort = base.CONFIGURED) -> base.Inferred:
        """p(r_t | x_<=t); there is nothing to iterate."""
        posterior = self.objective(objective, state).optimum
        return base.Inferred(
            posterior=posterior,
            state=state,
            free_energies=posterior.mean.new_zeros(posterior.mean.shape[0], 0),
            iterations=torch.zeros_like(objective.step),
        )


@dataclass(frozen=True, kw_only=True)
class Regimes(StepObjective):
    """F_t as a function of the regimes' probabilities."""

    exact: ClassVar[bool] = True

    @property
    def optimum(self) -> OneHot:
        """p(r_t | x_<=t)."""
        joint = self._joint
        return OneHot.of(joint.softmax(-1).to(self.prior.mean.dtype))

    def sample(self, posterior: Posterior) -> Float[Tensor, "batch latent"]:
        """The probabilities: they are kept, not sampled."""
        return posterior.mean

    def expected_reconstruction(self, posterior: Posterior, likelihood: Likelihood) -> Float[Tensor, " batch"]:
        """E_q[-log p(x | r)] of the optimum: -log p(x_t | x_<t) less its KL; 0 where nothing is observed."""
        evidence = self._joint.logsumexp(-1).to(self.prior.mean.dtype)
        found = -evidence - self.kl(posterior)
        return found if self.observed is None else torch.where(self.observed.any(-1), found, 0.0)

    @cached_property
    def _joint(self) -> Float64[Tensor, "batch latent"]:
        """log p(r_t, x_t | x_<t) of every regime, of the dimensions that were observed."""
        assert isinstance(self.model, switching.Model)
        shares = self.model.shares(self.context, self.x)
        if self.observed is not None:
            shares = torch.where(self.observed[:, None], shares, 0.0)
        probabilities = self.prior.mean.double()
        return (probabilities / probabilities.sum(-1, keepdim=True)).clamp(min=1e-300).log() + shares.sum(-1)
