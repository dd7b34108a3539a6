"""Iterative amortised inference: the update model of AVF (Marino, Yue & Mandt 2018; Marino et al. 2018, Appendix B).

    start at the prior, then repeat      lambda <- f_phi(lambda, grad_lambda F_t),      lambda = (mean, log-variance)

The law: everything that enters f_phi is detached; iterations are not back-propagated through. The gradient is that
of each row's own F_t.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from avf_core import noise
from avf_core.beliefs import State
from avf_core.distributions import LATENT_LOG_VARIANCE, Gaussian
from avf_core.errors import ConfigurationError
from avf_core.inference import base
from avf_core.models.base import Model
from avf_core.nets import Highway
from avf_core.objectives import Gradient, StepObjective

GRADIENT_SCALE = 10.0  # gradients over 1 / 10 nats per deviation are encoded by their logarithm
INITIAL_HEAD_SCALE = 0.1
INITIAL_STEP_LOGIT = -3.0  # the first gate of `learned_sgd`: a step size of 0.05


@dataclass(frozen=True, kw_only=True)
class Config:
    """The update model and how often it is applied.

    rule: `gated` (the paper's output gating) or `learned_sgd` (the authors' code for VRNN, JSB and Piano-midi).
    inputs: `layer_norm` (the paper's: four terms, each layer-normalised), or `whitened` (mean, log-variance and
    gradients in units of the prior's deviation, with the magnitude of gradients kept on a scale that is logarithmic
    but near zero; the update is then made in these units too).
    samples: gradient samples an iteration, in antithetic pairs where `antithetic`.
    """

    iterations: int = 1
    rule: Literal["gated", "learned_sgd"] = "gated"
    normalize_mean: bool = False
    append_observation: bool = False
    inputs: Literal["layer_norm", "whitened"] = "layer_norm"
    samples: int = 1
    antithetic: bool = False
    units: int = 1024
    layers: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.samples < 1 or self.layers < 1:
            raise ConfigurationError(
                f"iterations={self.iterations}, samples={self.samples}, layers={self.layers}: each must be at least 1"
            )
        if self.antithetic and self.samples % 2:
            raise ConfigurationError(f"antithetic pairs need an even number of samples, not {self.samples}")


class Inference(base.Inference):
    """AVF's inference: `iterations` applications of the update model f_phi."""

    def __init__(self, config: Config, model: Model) -> None:
        super().__init__()
        self.config = config
        latent_size = model.latent_size
        input_size = 4 * latent_size + (model.feature_size if config.append_observation else 0)
        sizes = [input_size, *[config.units] * config.layers]
        self.trunk = nn.Sequential(*(Highway(a, b) for a, b in pairwise(sizes)))
        self.heads = nn.Linear(config.units, 4 * latent_size)
        self._start_small(latent_size)

    @torch.no_grad()
    def _start_small(self, latent_size: int) -> None:
        """Begin `learned_sgd` as plain descent with short steps; with long ones its first iterates run away."""
        if self.config.rule == "learned_sgd":
            self.heads.weight.mul_(INITIAL_HEAD_SCALE)
            gates = self.heads.bias.view(4, latent_size)[1::2]
            gates.fill_(INITIAL_STEP_LOGIT)

    def infer(self, objective: StepObjective, state: State, *, iterations: int | None = None) -> base.Inferred:
        """Start at the prior and apply the update model `iterations` times."""
        count = self.config.iterations if iterations is None else iterations
        posterior = Gaussian(objective.prior.mean.detach(), objective.prior.log_variance.detach())
        seen = self.seen(objective)
        visited = []
        for iteration in range(count):
            gradient = objective.gradient(posterior, self.draw(objective, iteration))
            visited.append(gradient.free_energy)
            posterior = self.update(posterior, gradient, objective.prior, seen)
        batch = posterior.mean.shape[0]
        return base.Inferred(
            posterior=posterior,
            state=state,
            free_energies=torch.stack(visited, dim=-1) if visited else posterior.mean.new_zeros(batch, 0),
            iterations=torch.full_like(objective.step, count),
        )

    def seen(self, objective: StepObjective) -> Float[Tensor, "batch seen"]:
        """What the update model reads of the observation itself: its features where appended, else nothing."""
        if self.config.append_observation:
            return objective.model.features(objective.x)
        return objective.x[:, :0]

    def draw(self, objective: StepObjective, iteration: int) -> Float[Tensor, "samples batch latent"]:
        """The noise of the gradient samples of one iteration."""
        count = self.config.samples // 2 if self.config.antithetic else self.config.samples
        first = noise.ITERATION + iteration * self.config.samples
        drawn = objective.noise(streams=range(first, first + count))
        return torch.cat([drawn, -drawn]) if self.config.antithetic else drawn

    def update(
        self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, seen: Float[Tensor, "batch seen"]
    ) -> Gaussian:
        """One application of f_phi; differentiable with respect to phi only."""
        whitened = self.config.inputs == "whitened"
        position, slope = whiten(posterior, gradient, prior) if whitened else (posterior, gradient)
        hidden = self.trunk(self._features(position, slope, seen))
        hidden = F.dropout(hidden, self.config.dropout, self.training)
        mean_proposal, mean_gate, variance_proposal, variance_gate = self.heads(hidden).chunk(4, dim=-1)
        mean = self._combine(position.mean, slope.mean, mean_proposal, mean_gate)
        log_variance = self._combine(position.log_variance, slope.log_variance, variance_proposal, variance_gate)
        if self.config.normalize_mean:
            mean = F.layer_norm(mean, mean.shape[-1:])
        if whitened:
            mean = prior.mean.detach() + prior.deviation.detach() * mean
            log_variance = prior.log_variance.detach() + log_variance
        return Gaussian(mean, log_variance.clamp(*LATENT_LOG_VARIANCE))

    def _features(
        self, position: Gaussian, slope: Gradient, seen: Float[Tensor, "batch seen"]
    ) -> Float[Tensor, "batch features"]:
        if self.config.inputs == "whitened":
            terms = [position.mean, position.log_variance]
            terms += [compress(slope.mean), compress(slope.log_variance)]
        else:
            raw = (position.mean, position.log_variance, slope.mean, slope.log_variance)
            terms = [F.layer_norm(term, term.shape[-1:]) for term in raw]
        return torch.cat([*terms, seen], dim=-1).detach()

    def _combine(self, value: Tensor, slope: Tensor, proposal: Tensor, gate_logit: Tensor) -> Tensor:
        gate = torch.sigmoid(gate_logit)
        if self.config.rule == "gated":
            return gate * value.detach() + (1.0 - gate) * proposal
        return value.detach() - gate * slope.detach() + proposal


def whiten(posterior: Gaussian, gradient: Gradient, prior: Gaussian) -> tuple[Gaussian, Gradient]:
    """The posterior and the gradient in coordinates where the prior is standard normal."""
    deviation = prior.deviation
    position = Gaussian((posterior.mean - prior.mean) / deviation, posterior.log_variance - prior.log_variance)
    return position, Gradient(gradient.mean * deviation, gradient.log_variance, gradient.free_energy)


def compress(gradient: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
    """asinh: linear in small gradients and logarithmic in large ones, sign kept; smooth, so rounding stays small."""
    return torch.asinh(gradient * GRADIENT_SCALE)
