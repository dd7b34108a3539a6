"""LGSSM: the linear Gaussian state-space model, the yardstick of correctness, as all about it is known exactly.

    z_1 ~ N(m_0, P_0)      z_t ~ N(A z_{t-1}, Q)      x_t ~ N(C z_t, R)

The first observation is observed under z_1's prior. P_0, Q and R are diagonal: any LGSSM has a basis of z in which
P_0 and Q are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import Gaussian, Likelihood
from avf_core.models import base


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of an LGSSM; its matrices are parameters, set by `Model.from_matrices` or trained."""

    observation_size: int = 2
    latent_size: int = 2


EXAMPLES: Mapping[str, Config] = {"wide": Config(observation_size=3, latent_size=2)}


class Model(base.Model):
    """Linear Gaussian state-space model with diagonal noise covariances."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size, latent = config.observation_size, config.latent_size
        self.observation = base.ObservationSpec(size=size)
        self.latent_size = latent
        self.dynamics = nn.Parameter(0.9 * torch.eye(latent))  # A
        self.emission = nn.Parameter(torch.eye(size, latent))  # C
        self.initial_mean = nn.Parameter(torch.zeros(latent))  # m_0
        self.initial_log_variance = nn.Parameter(torch.zeros(latent))  # log diag P_0
        self.process_log_variance = nn.Parameter(torch.zeros(latent))  # log diag Q
        self.noise_log_variance = nn.Parameter(torch.zeros(size))  # log diag R

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
    ) -> "Model":
        """The model with these matrices, in their precision; variances are the diagonals of P_0, Q and R."""
        model = cls(Config(observation_size=emission.shape[0], latent_size=emission.shape[1]))
        model.to(dynamics.dtype)
        with torch.no_grad():
            model.dynamics.copy_(dynamics)
            model.emission.copy_(emission)
            model.initial_mean.copy_(initial_mean)
            model.initial_log_variance.copy_(initial_variance.log())
            model.process_log_variance.copy_(process_variance.log())
            model.noise_log_variance.copy_(noise_variance.log())
        return model

    def initial(self, batch_size: int) -> State:
        """The moments of z_1's prior."""
        return {
            "mean": self.initial_mean.repeat(batch_size, 1),
            "log_variance": self.initial_log_variance.repeat(batch_size, 1),
        }

    def predict(self, state: State) -> tuple[State, Gaussian]:
        """The prior p(z_t | z_{t-1}); there is no context."""
        return {}, Gaussian(state["mean"], state["log_variance"])

    def decode(self, context: State, z: Float[Tensor, "*samples batch latent"]) -> Likelihood:
        """N(C z, R)."""
        mean = z @ self.emission.t()
        return Gaussian(mean, self.noise_log_variance.expand_as(mean))

    def decode_samples(self, context: State, z: Float[Tensor, "samples batch latent"]) -> Likelihood:
        """Samples of a row share its context, by broadcasting."""
        return self.decode(context, z)

    def transition(
        self, context: State, x: Float[Tensor, "batch observation"], z: Float[Tensor, "batch latent"]
    ) -> State:
        """The moments of p(z_{t+1} | z_t)."""
        mean = z @ self.dynamics.t()
        return {"mean": mean, "log_variance": self.process_log_variance.repeat(mean.shape[0], 1)}
