"""Direct amortised inference: the baselines. One network maps the step's features to the posterior.

For SRNN this is the filtering form of Fraccaro et al. (2016): q(z_t | x_t, h_t).
"""

from dataclasses import dataclass

import torch

from avf_core.beliefs import State
from avf_core.distributions import LATENT_LOG_VARIANCE
from avf_core.errors import ConfigurationError
from avf_core.inference import base
from avf_core.models.base import Model
from avf_core.nets import MLP, GaussianNet, clipped_leaky_relu
from avf_core.objectives import StepObjective


@dataclass(frozen=True, kw_only=True)
class Config:
    """Widths of the recognition network and the names of the context's tensors that it sees beside x_t."""

    widths: tuple[int, ...] = (500,)
    context: tuple[str, ...] = ("hidden",)
    dropout: float = 0.0


class Inference(base.Inference):
    """q(z_t | x_t, context) by one network."""

    def __init__(self, config: Config, model: Model) -> None:
        super().__init__()
        self.config = config
        sizes = model.context_sizes()
        unknown = set(config.context) - set(sizes)
        if unknown:
            raise ConfigurationError(f"the context has no {', '.join(sorted(unknown))}; it has {', '.join(sizes)}")
        input_size = model.feature_size + sum(sizes[name] for name in config.context)
        trunk = MLP(input_size, config.widths, clipped_leaky_relu, dropout=config.dropout)
        self.net = GaussianNet(trunk, model.latent_size, log_variance_range=LATENT_LOG_VARIANCE)

    def infer(self, objective: StepObjective, state: State, *, iterations: int | None = None) -> base.Inferred:
        """One pass of the network; there is nothing to iterate."""
        read = objective.model.features(objective.x)
        features = torch.cat([read, *(objective.context[name] for name in self.config.context)], dim=-1)
        batch = features.shape[0]
        return base.Inferred(
            posterior=self.net(features),
            state=state,
            free_energies=features.new_zeros(batch, 0),
            iterations=torch.zeros_like(objective.step),
        )
