"""Switching: a hidden Markov model, whose state is one of several regimes and about which all is known exactly.

    r_1 ~ pi      r_t ~ T[r_{t-1}]      x_t ~ N(m_k + W_k (x_{t-1} - m_k), V_k),  k = r_t

V_k is diagonal; W_k is 0 unless the model is `autoregressive`. Numbers are standardised, and before the first
observation stands their centre. The latent is the regime as a one-hot vector, so that the mean of what is believed of
it is the probability of each regime, and its deviation that of a yes or no. What is decoded from probabilities is the
mixture.

Where a number of x_{t-1} was not observed, W_k hears the draw that stands for it: with W_k the belief after a gap is
one given that draw, without it is exact under any mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import AnyGaussian, OneHot
from avf_core.drives import FREE, Drive
from avf_core.emissions.mixture import GaussianMixture
from avf_core.errors import ConfigurationError
from avf_core.models import base

STICKY = 3.0  # the logit, before training, of staying in a regime
APART = 1.0  # deviations of the data by which regimes are apart before training


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes; center and scale are the units of observations, one number for all or one a dimension."""

    observation_size: int = 2
    regimes: int = 3
    autoregressive: bool = False
    center: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        if self.regimes < 2:
            raise ConfigurationError(f"regimes is {self.regimes}, expected at least 2")
        for name in ("center", "scale"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.observation_size:
                raise ConfigurationError(f"{name} has {len(value)} numbers, expected 1 or {self.observation_size}")
        if not all(scale > 0.0 for scale in (self.scale if isinstance(self.scale, tuple) else (self.scale,))):
            raise ConfigurationError(f"scale is {self.scale}, expected numbers above 0")


EXAMPLES: Mapping[str, Config] = {
    "levels": Config(observation_size=3, regimes=3),
    "autoregressive": Config(observation_size=3, regimes=2, autoregressive=True, center=0.5, scale=2.0),
}


class Model(base.Model):
    """Gaussian, or autoregressive, emissions by regime."""

    closed_form_only = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        size, regimes = config.observation_size, config.regimes
        self.observation = base.ObservationSpec(size=size)
        self.latent_size = regimes
        self.initial_logits = nn.Parameter(torch.zeros(regimes))  # of pi
        self.transition_logits = nn.Parameter(STICKY * torch.eye(regimes))  # of T's rows
        self.levels = nn.Parameter(APART * torch.randn(regimes, size))  # m, standardised
        self.log_variances = nn.Parameter(torch.zeros(regimes, size))  # of V
        self.regression = nn.Parameter(torch.zeros(regimes, size, size)) if config.autoregressive else None  # W
        for name, value in (("center", config.center), ("scale", config.scale)):
            self.register_buffer(name, torch.tensor(value).expand(size).clone(), persistent=False)

    def features(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... features"]:
        """The standardised observation."""
        center, scale = self._units
        return ((x - center) / scale).to(self.dtype)

    def initial(self, batch_size: int) -> State:
        """pi; and where the model is autoregressive, that there was no observation."""
        state = {"probabilities": self.initial_logits.softmax(-1).repeat(batch_size, 1)}
        return state | self._remembered(self.initial_logits.new_zeros(batch_size, self.observation.size))

    def predict(self, state: State, drive: Drive = FREE) -> tuple[State, OneHot]:
        """The probabilities of the regimes before the observation; the context is the one before, where it is heard."""
        before = {name: tensor for name, tensor in state.items() if name != "probabilities"}
        return before, OneHot.of(state["probabilities"])

    def decode(self, context: State, z: Float[Tensor, "*samples batch latent"]) -> GaussianMixture:
        """The mixture of the regimes' Gaussians with the probabilities, or the regime, z."""
        means, log_variances = (part.expand(*z.shape, -1) for part in self._regimes(context))
        log_weights = z.clamp(min=torch.finfo(z.dtype).tiny).log()[..., None].expand_as(means)
        return GaussianMixture(log_weights, means, log_variances)

    def decode_samples(self, context: State, z: Float[Tensor, "samples batch latent"]) -> GaussianMixture:
        """Samples of a row share its context, by broadcasting."""
        return self.decode(context, z)

    def marginal(self, context: State, prior: AnyGaussian) -> GaussianMixture:
        """The mixture by the probabilities."""
        return self.decode(context, prior.mean)

    def transition(
        self, context: State, x: Float[Tensor, "batch observation"], z: Float[Tensor, "batch latent"]
    ) -> State:
        """The probabilities of the next regime, given those of this one or the regime itself."""
        return {"probabilities": z @ self.transition_logits.softmax(-1), **self._remembered(self.features(x))}

    def shares(
        self, context: State, x: Float[Tensor, "batch observation"]
    ) -> Float64[Tensor, "batch latent observation"]:
        """log p(x_d | regime) of every regime and dimension, in nats and in float64."""
        means, log_variances = (part.double() for part in self._regimes(context))
        error = (x.double()[..., None, :] - means) ** 2
        densities: Tensor = -0.5 * (torch.log(2.0 * torch.pi * log_variances.exp()) + error * torch.exp(-log_variances))
        return densities

    def _regimes(self, context: State) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of x in every regime, in natural units, of shape (batch or 1, regimes, observation)."""
        center, scale = self._units
        means = self.levels[None]
        if self.regression is not None:
            apart = context["before"][:, None] - self.levels
            means = means + torch.einsum("bki,koi->bko", apart, self.regression)
        return center + scale * means, (self.log_variances + 2.0 * scale.log())[None]

    def _remembered(self, x: Float[Tensor, "batch observation"]) -> State:
        return {} if self.regression is None else {"before": x}

    @property
    def _units(self) -> tuple[Tensor, Tensor]:
        assert isinstance(self.center, Tensor)
        assert isinstance(self.scale, Tensor)
        return self.center, self.scale
