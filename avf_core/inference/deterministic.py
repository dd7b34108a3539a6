"""No inference: the latent is what its prior's mean says, so that the model has no latent variable.

    z_t = mean of p(z_t | x_<t, z_<t)          F_t = -log p(x_t | x_<t)

The same layers then make a deterministic recurrent network, whose F is its likelihood: what a latent of the same model
is worth is the difference to it. Nothing of x_t reaches the decoder, nothing is drawn, and KL is 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import Gaussian, Point
from avf_core.inference import base
from avf_core.models.base import Model, PastDriven
from avf_core.objectives import StepObjective


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing to choose."""


EXAMPLES: Mapping[str, Config] = {"mean": Config()}


class Inference(base.Inference):
    """The prior's mean; theta learns by the likelihood, through it."""

    learns = "with theta"

    def __init__(self, config: Config, model: Model) -> None:
        super().__init__()
        self.config = config
        self.one_pass = isinstance(model, PastDriven)

    def objective(self, objective: StepObjective, state: State) -> StepObjective:
        """F of the step where nothing is unsure of the latent."""
        return replace(objective, prior=_mean_of(objective.factorised))

    def infer(self, objective: StepObjective, state: State, *, effort: base.Effort = base.CONFIGURED) -> base.Inferred:
        """The prior's mean, whatever was observed."""
        return base.Inferred(
            posterior=_mean_of(objective.factorised),
            state=state,
            free_energies=objective.x.new_zeros(objective.x.shape[0], 0),
            iterations=torch.zeros_like(objective.step),
        )

    def in_one_pass(self) -> base.OnePass | None:
        """Where priors hear observations alone."""
        return _of_contexts if self.one_pass else None


def _of_contexts(model: Model, context: State, xs: Float[Tensor, "time batch observation"]) -> Gaussian:
    assert isinstance(model, PastDriven)
    return _mean_of(model.prior_in(context))


def _mean_of(prior: Gaussian) -> Point:
    return Point(prior.mean, prior.log_variance)
