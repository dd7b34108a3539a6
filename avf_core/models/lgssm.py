"""LGSSM: the linear Gaussian state-space model, the yardstick of correctness, as all about it is known exactly.

    z_1 ~ N(m_0, P_0)      z_t ~ N(A z_{t-1} + B u_t + b, Q)      x_t ~ N(C z_t + D u_t + d, R)

The first observation is observed under z_1's prior, whatever u_1: nothing went before it. P_0, Q and R are diagonal:
any LGSSM has a basis of z in which P_0 and Q are. The offsets b and d, and the inputs' B and D, are 0 where a model is
configured without.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avf_core import drives
from avf_core.beliefs import State
from avf_core.distributions import FullGaussian, Gaussian, Likelihood
from avf_core.drives import FREE, Drive
from avf_core.models import base


@dataclass(frozen=True, kw_only=True)
class Config(drives.Config):
    """Sizes of an LGSSM; its matrices are parameters, set by `Model.from_matrices` or trained.

    offsets: whether it has b and d, for observations that are not centred. It has B where it takes inputs, and D where
    these are decoded, too.
    """

    observation_size: int = 2
    latent_size: int = 2
    offsets: bool = False


EXAMPLES: Mapping[str, Config] = {
    "wide": Config(observation_size=3, latent_size=2),
    "offsets": Config(observation_size=3, latent_size=2, offsets=True),
    "driven": Config(observation_size=3, latent_size=2, input_size=2, decode_inputs=True),
}


class Model(base.Model):
    """Linear Gaussian state-space model with diagonal noise covariances."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        size, latent = config.observation_size, config.latent_size
        self.observation = base.ObservationSpec(size=size)
        self.latent_size = latent
        self.dynamics = nn.Parameter(0.9 * torch.eye(latent))  # A
        self.emission = nn.Parameter(torch.eye(size, latent))  # C
        self.initial_mean = nn.Parameter(torch.zeros(latent))  # m_0
        self.initial_log_variance = nn.Parameter(torch.zeros(latent))  # log diag P_0
        self.process_log_variance = nn.Parameter(torch.zeros(latent))  # log diag Q
        self.noise_log_variance = nn.Parameter(torch.zeros(size))  # log diag R
        self.drift = nn.Parameter(torch.zeros(latent)) if config.offsets else None  # b
        self.level = nn.Parameter(torch.zeros(size)) if config.offsets else None  # d
        inputs = config.input_size
        self.control = nn.Parameter(torch.zeros(latent, inputs)) if inputs else None  # B
        self.feedthrough = nn.Parameter(torch.zeros(size, inputs)) if config.decode_inputs else None  # D

    @classmethod
    def from_matrices(
        cls,
        *,
        dynamics: Float[Tensor, "latent latent"],
        emission: Float[Tensor, "observation latent"],
        initial_mean: Float[Tensor, " latent"],
        initial_variance: Float[Tensor, " latent"],
        process_variance: Float[Tensor, " latent"],
        noise_variance: Float[Tensor, " observation"],
        drift: Float[Tensor, " latent"] | None = None,
        level: Float[Tensor, " observation"] | None = None,
        control: Float[Tensor, "latent inputs"] | None = None,
        feedthrough: Float[Tensor, "observation inputs"] | None = None,
    ) -> "Model":
        """The model with these matrices, in their precision; variances are the diagonals of P_0, Q and R.

        It has offsets, `drift` (b) and `level` (d), where either is given; the other is then 0. It takes inputs where
        `control` (B) is given, and decodes them where `feedthrough` (D) is.
        """
        size, latent = emission.shape
        offsets = drift is not None or level is not None
        config = Config(
            observation_size=size,
            latent_size=latent,
            offsets=offsets,
            input_size=0 if control is None else control.shape[1],
            decode_inputs=feedthrough is not None,
        )
        model = cls(config)
        model.to(dynamics.dtype)
        with torch.no_grad():
            model.dynamics.copy_(dynamics)
            model.emission.copy_(emission)
            model.initial_mean.copy_(initial_mean)
            model.initial_log_variance.copy_(initial_variance.log())
            model.process_log_variance.copy_(process_variance.log())
            model.noise_log_variance.copy_(noise_variance.log())
            optional = (
                (model.drift, drift),
                (model.level, level),
                (model.control, control),
                (model.feedthrough, feedthrough),
            )
            for parameter, given in optional:
                if parameter is not None and given is not None:
                    parameter.copy_(given)
        return model

    def initial(self, batch_size: int) -> State:
        """The moments of z_1's prior; where there are inputs, also that no step has been made."""
        moments = {
            "mean": self.initial_mean.repeat(batch_size, 1),
            "log_variance": self.initial_log_variance.repeat(batch_size, 1),
        }
        return moments if self.control is None else moments | {"begun": self.initial_mean.new_zeros(batch_size, 1)}

    def predict(self, state: State, drive: Drive = FREE) -> tuple[State, Gaussian]:
        """The prior p(z_t | z_{t-1}, u_t); the context is D u_t, where inputs are decoded."""
        if self.control is None or drive.inputs is None:
            return {}, Gaussian(state["mean"], state["log_variance"])
        inputs = self.reader.standardised(drive.inputs)
        mean = state["mean"] + state["begun"] * (inputs @ self.control.t())
        context = {} if self.feedthrough is None else {"fed": inputs @ self.feedthrough.t()}
        return context, Gaussian(mean, state["log_variance"])

    def decode(self, context: State, z: Float[Tensor, "*samples batch latent"]) -> Likelihood:
        """N(C z + D u + d, R)."""
        mean = self.sensed(z, context)
        return Gaussian(mean, self.noise_log_variance.expand_as(mean))

    def marginal(self, context: State, prior: Gaussian | FullGaussian) -> Likelihood:
        """The marginals of N(C m + d, C P C' + R) of a prior N(m, P); in float64, as noise may be small."""
        scale = prior.scale if isinstance(prior, FullGaussian) else torch.diag_embed(prior.deviation)
        spread = (self.emission.double() @ scale.double()).pow(2).sum(-1)
        variance = spread + self.noise_log_variance.double().exp()
        mean = self.sensed(prior.mean.double(), context)
        return Gaussian(mean.to(prior.mean.dtype), variance.log().to(prior.mean.dtype))

    def decode_samples(self, context: State, z: Float[Tensor, "samples batch latent"]) -> Likelihood:
        """Samples of a row share its context, by broadcasting."""
        return self.decode(context, z)

    def transition(
        self, context: State, x: Float[Tensor, "batch observation"], z: Float[Tensor, "batch latent"]
    ) -> State:
        """The moments of p(z_{t+1} | z_t), but for the inputs of the next step."""
        mean = self.moved(z)
        moments = {"mean": mean, "log_variance": self.process_log_variance.repeat(mean.shape[0], 1)}
        return moments if self.control is None else moments | {"begun": torch.ones_like(mean[:, :1])}

    def moved(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
        """A z + b, in the precision of z."""
        mean = z @ self.dynamics.to(z.dtype).t()
        return mean if self.drift is None else mean + self.drift.to(z.dtype)

    def sensed(
        self, z: Float[Tensor, "*batch latent"], context: State | None = None
    ) -> Float[Tensor, "*batch observation"]:
        """C z + D u + d, in the precision of z; a `context` has D u."""
        mean = z @ self.emission.to(z.dtype).t()
        mean = mean if self.level is None else mean + self.level.to(z.dtype)
        return mean + context["fed"].to(z.dtype) if context and "fed" in context else mean
