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

from avf_core.beliefs import State
from avf_core.distributions import LATENT_LOG_VARIANCE, Gaussian
from avf_core.errors import ConfigurationError
from avf_core.inference import _descent
from avf_core.inference._descent import unwhiten, whiten
from avf_core.models.base import Model
from avf_core.nets import Highway
from avf_core.objectives import Gradient, StepObjective

GRADIENT_SCALE = 10.0  # gradients over 1 / 10 nats per deviation are encoded by their logarithm
INITIAL_HEAD_SCALE = 0.1
INITIAL_STEP_LOGIT = -3.0  # the first gate of `learned_sgd`: a step size of 0.05


@dataclass(frozen=True, kw_only=True)
class Config(_descent.Config):
    """The update model and how often it is applied.

    rule: `gated` (the paper's output gating) or `learned_sgd` (the authors' code for VRNN, JSB and Piano-midi).
    inputs: `layer_norm` (the paper's: four terms, each layer-normalised), or `whitened` (mean, log-variance and
    gradients in units of the prior's deviation, with the magnitude of gradients kept on a scale that is logarithmic
    but near zero; the update is then made in these units too).
    """

    rule: Literal["gated", "learned_sgd"] = "gated"
    normalize_mean: bool = False
    append_observation: bool = False
    inputs: Literal["layer_norm", "whitened"] = "layer_norm"
    units: int = 1024
    layers: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1:
            raise ConfigurationError(f"layers={self.layers}: there must be at least 1")


class Inference(_descent.Inference):
    """AVF's inference: `iterations` applications of the update model f_phi.

    It may be told more iterations than it was configured, and so trained, with. Those beyond are not made where F
    would rise above the prior's: nothing else says that f_phi does not lead away from where it was trained.
    """

    def __init__(self, config: Config, model: Model) -> None:
        super().__init__()
        self.config: Config = config
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

    def trusted(self) -> int:
        """The configured number: what f_phi is trained for."""
        return self.config.iterations

    def begin(self, objective: StepObjective) -> State:
        """What f_phi reads of the observation does not change between iterations."""
        return {"seen": self.seen(objective)}

    def propose(
        self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, memory: State, *, iteration: int
    ) -> tuple[Gaussian, State]:
        """One application of f_phi, which is the same in every iteration."""
        return self.update(posterior, gradient, prior, memory["seen"]), memory

    def seen(self, objective: StepObjective) -> Float[Tensor, "batch seen"]:
        """What the update model reads of the observation itself: its features where appended, else nothing."""
        if self.config.append_observation:
            return objective.model.features(objective.x)
        return objective.prior.mean[:, :0]

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
        updated = unwhiten(Gaussian(mean, log_variance), prior) if whitened else Gaussian(mean, log_variance)
        return Gaussian(updated.mean, updated.log_variance.clamp(*LATENT_LOG_VARIANCE))

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


def compress(gradient: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
    """asinh: linear in small gradients and logarithmic in large ones, sign kept; smooth, so rounding stays small."""
    return torch.asinh(gradient * GRADIENT_SCALE)
