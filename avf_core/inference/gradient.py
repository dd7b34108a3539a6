"""Gradient inference: the E-step of plain variational filtering EM, the unamortised reference.

    start at the prior, then repeat      lambda <- lambda - rate * step(grad_lambda F_t),  lambda = (mean, log-variance)

Marino, Cvitkovic & Yue (2018), Algorithm 1, with the optimiser that would run if nothing were learned: there are no
parameters. Adam is that of Kingma & Ba (2015), with moments of its own for every row and dimension, from zero at each
step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import LATENT_LOG_VARIANCE, Gaussian
from avf_core.errors import ConfigurationError
from avf_core.inference import _descent
from avf_core.inference._descent import unwhiten, whiten
from avf_core.models.base import Model
from avf_core.objectives import Gradient, StepObjective

ADAM_FIRST, ADAM_SECOND, ADAM_EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, kw_only=True)
class Config(_descent.Config):
    """The optimiser and how long it runs.

    learning_rate: of the first iteration; that of iteration t, from 0, is learning_rate / (1 + decay * t). It must
    fall for the noise of the gradient to average out.
    whitened: descend in coordinates where the prior is standard normal, so that one learning rate suits models and
    dimensions of every scale.
    """

    iterations: int = 20
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 0.1
    decay: float = 0.0
    whitened: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.learning_rate < float("inf") or not 0.0 <= self.decay < float("inf"):
            raise ConfigurationError(
                f"learning_rate={self.learning_rate}, decay={self.decay}: expected a positive rate, a decay from 0 up"
            )


EXAMPLES: Mapping[str, Config] = {
    "adam": Config(iterations=6, samples=2, antithetic=True, decay=0.1),
    "sgd": Config(iterations=6, optimizer="sgd", whitened=False, learning_rate=0.05),
    "keep_best": Config(iterations=6, keep_best=True),
}


class Inference(_descent.Inference):
    """Adam or stochastic gradient descent on the mean and log-variance of the posterior."""

    def __init__(self, config: Config, model: Model) -> None:
        super().__init__()
        self.config: Config = config

    def begin(self, objective: StepObjective) -> State:
        """Adam's moments of the gradients; nothing for SGD."""
        if self.config.optimizer == "sgd":
            return {}
        zeros = torch.zeros_like(objective.prior.mean).repeat(1, 2)
        return {"first": zeros, "second": zeros}

    def propose(
        self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, memory: State, *, iteration: int
    ) -> tuple[Gaussian, State]:
        """One step of the optimiser, in its coordinates."""
        position, slope = whiten(posterior, gradient, prior) if self.config.whitened else (posterior, gradient)
        direction, memory = self._direction(torch.cat([slope.mean, slope.log_variance], dim=-1), memory, iteration)
        rate = self.config.learning_rate / (1.0 + self.config.decay * iteration)
        by_mean, by_log_variance = (rate * direction).chunk(2, dim=-1)
        moved = Gaussian(position.mean - by_mean, position.log_variance - by_log_variance)
        if self.config.whitened:
            moved = unwhiten(moved, prior)
        return Gaussian(moved.mean, moved.log_variance.clamp(*LATENT_LOG_VARIANCE)), memory

    def _direction(self, slope: Tensor, memory: State, iteration: int) -> tuple[Tensor, State]:
        if self.config.optimizer == "sgd":
            return slope, memory
        first = ADAM_FIRST * memory["first"] + (1.0 - ADAM_FIRST) * slope
        second = ADAM_SECOND * memory["second"] + (1.0 - ADAM_SECOND) * slope**2
        corrected = first / (1.0 - ADAM_FIRST ** (iteration + 1))
        scale = (second / (1.0 - ADAM_SECOND ** (iteration + 1))).sqrt() + ADAM_EPSILON
        return corrected / scale, {"first": first, "second": second}
