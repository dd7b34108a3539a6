"""Iterative amortised inference: the update model of AVF, its inputs, and the rule by which it moves the posterior.

Marino, Yue & Mandt (2018); Marino et al. (2018), Appendix B.

    start at the prior, then repeat      lambda <- f_phi(lambda, grad_lambda F_t),      lambda = (mean, log-variance)

The laws: everything that enters f_phi is detached; iterations are not back-propagated through. The gradient is that
of each row's own F_t, and it is both what the next iteration reads and what trains the iteration before. So phi's
gradient needs no second evaluation of F: the chain rule joins dF/dlambda_i, already had, with dlambda_i/dphi, one
batched pass of f_phi over all iterates of a clip.
"""

from collections.abc import Mapping
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
from avf_core.inference._study import Studied, Study
from avf_core.models.base import Model
from avf_core.native.plan import Descent, InferencePlan, ModelPlan, Program, Registers
from avf_core.nets import Highway, RecordedHighways, described
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


EXAMPLES: Mapping[str, Config] = {
    "gated": Config(units=16),
    "learned_sgd": Config(units=16, rule="learned_sgd", iterations=5, normalize_mean=True),
    "appended": Config(units=16, append_observation=True, iterations=2, samples=3),
    "whitened": Config(units=16, rule="learned_sgd", inputs="whitened", iterations=3, samples=4, antithetic=True),
    "keep_best": Config(units=16, rule="learned_sgd", iterations=4, samples=2, keep_best=True),
}


class Inference(Studied):
    """AVF's inference: `iterations` applications of the update model f_phi.

    It may be told more iterations than it was configured, and so trained, with. Those beyond are not made where F
    would rise above the prior's: nothing else says that f_phi does not lead away from where it was trained.
    """

    learns = "in the E-step"

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
            return objective.model.features_in(objective.context, objective.x)
        return objective.prior.mean[:, :0]

    def update(
        self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, seen: Float[Tensor, "batch seen"]
    ) -> Gaussian:
        """One application of f_phi; differentiable with respect to phi only."""
        terms = self.terms(posterior, gradient, prior)
        hidden = self.trunk(self.features(terms, seen))
        hidden = F.dropout(hidden, self.config.dropout, self.training)
        return self.settle(terms, self.heads(hidden), prior)

    def terms(self, posterior: Gaussian, gradient: Gradient, prior: Gaussian) -> Float[Tensor, "batch terms=4 latent"]:
        """Mean, log-variance and F's gradients with respect to both, in the coordinates that f_phi works in."""
        if self.config.inputs == "whitened":
            posterior, gradient = whiten(posterior, gradient, prior)
        terms = [posterior.mean, posterior.log_variance, gradient.mean, gradient.log_variance]
        return torch.stack(terms, dim=-2).detach()

    def features(
        self, terms: Float[Tensor, "batch terms=4 latent"], seen: Float[Tensor, "batch seen"]
    ) -> Float[Tensor, "batch features"]:
        """What the trunk reads: the terms on the scale of one, and what is seen of the observation."""
        if self.config.inputs == "whitened":
            scaled = torch.cat([terms[..., :2, :], compress(terms[..., 2:, :])], dim=-2)
        else:
            scaled = F.layer_norm(terms, terms.shape[-1:])
        return torch.cat([scaled.flatten(-2), seen], dim=-1).detach() if seen.shape[-1] else scaled.flatten(-2)

    def settle(
        self, terms: Float[Tensor, "batch terms=4 latent"], said: Float[Tensor, "batch outputs"], prior: Gaussian
    ) -> Gaussian:
        """The posterior that the heads' proposals and gates lead to, for mean and log-variance alike."""
        position, slope = terms[..., :2, :], terms[..., 2:, :]
        proposal, gate = said.to(terms.dtype).reshape(*said.shape[:-1], 2, 2, -1).unbind(-2)
        gate = torch.sigmoid(gate)
        if self.config.rule == "gated":
            moved = torch.lerp(proposal, position, gate)
        else:
            moved = torch.addcmul(position + proposal, gate, slope, value=-1.0)
        mean, log_variance = moved.unbind(-2)
        if self.config.normalize_mean:
            mean = F.layer_norm(mean, mean.shape[-1:])
        updated = Gaussian(mean, log_variance)
        if self.config.inputs == "whitened":
            updated = unwhiten(updated, prior)
        return Gaussian(updated.mean, updated.log_variance.clamp(*LATENT_LOG_VARIANCE))

    def plan(self, registers: Registers, model: ModelPlan) -> InferencePlan:
        """Trunk and heads as a program; what leads to it and from it is a `Descent`."""
        config, infer = self.config, Program(registers)
        seen = model.seen.size if config.append_observation else 0
        asked = registers.new(4 * model.z.size + seen)
        (read,) = described(infer, self.trunk, asked)
        return InferencePlan(
            infer=infer,
            asked=asked,
            said=(infer.linear(read, self.heads, parts=4),),
            latent_log_variance=LATENT_LOG_VARIANCE,
            descent=Descent(
                rule=config.rule,
                whitened=config.inputs == "whitened",
                normalize_mean=config.normalize_mean,
                reads_observation=config.append_observation,
                iterations=config.iterations,
                samples=(config.samples,) if isinstance(config.samples, int) else config.samples,
                antithetic=config.antithetic,
                keep_best=config.keep_best,
                common_samples=config.common_samples,
                guard_samples=_descent.GUARD_SAMPLES,
                reach=_descent.REACH,
                gradient_scale=GRADIENT_SCALE,
                dropout=config.dropout,
            ),
        )

    def study(self, dtype: torch.dtype) -> Study:
        """f_phi at work on a clip, in this precision, with a record of its applications."""
        return Study(self, dtype)

    def recorded(self, dtype: torch.dtype) -> RecordedHighways:
        """Trunk and heads for training: applied in this precision, with one backward pass for many applications."""
        trunk = [layer for layer in self.trunk if isinstance(layer, Highway)]
        dropout = self.config.dropout if self.training else 0.0
        return RecordedHighways(trunk, self.heads, dropout=dropout, dtype=dtype)


def compress(gradient: Float[Tensor, "... latent"]) -> Float[Tensor, "... latent"]:
    """asinh: linear in small gradients and logarithmic in large ones, sign kept; smooth, so rounding stays small."""
    return torch.asinh(gradient * GRADIENT_SCALE)
