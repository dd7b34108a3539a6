"""The Kalman filter as a procedure: the whole belief of a linear Gaussian model, not one sample of the past.

    p(z_{t-1} | x_<t) = N(m, S S')     ->     p(z_t | x_<t) = N(A m + b, A S S' A' + Q)     ->     p(z_t | x_<=t)

Filtering goes on from the posterior's mean m, and the procedure's state keeps the factor S of its covariance, zero
before the first observation. So the model's own prior, N(A m + b, Q), is short of the spread A S S' A' only, and the
step's objective adds it. F is then -log p(x_t | x_<t), the evidence itself, and a forecast is the Kalman predictive. As
F is differentiable in theta, training by it is maximum likelihood.

The law: nothing is sampled, so that estimates do not depend on seeds. What is computed within a step is in float64
(`_square_root`), and rounded once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import FullGaussian, Gaussian, Likelihood
from avf_core.errors import ConfigurationError
from avf_core.factors import deviations, lower
from avf_core.inference import base
from avf_core.inference._square_root import kalman_update
from avf_core.models import lgssm
from avf_core.models.base import Model
from avf_core.objectives import Posterior, StepObjective
from avf_core.smoothing import in_closed_form, nothing_known
from avf_core.trees import where


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing to choose: the model says all."""


EXAMPLES: Mapping[str, Config] = {"whole": Config()}


class Inference(base.Inference):
    """The exact filtering distribution p(z_t | x_<=t) of a linear Gaussian model."""

    learns = "with theta"
    exact = True

    def __init__(self, config: Config, model: Model) -> None:
        super().__init__()
        if not isinstance(model, lgssm.Model):
            raise ConfigurationError(
                f"the Kalman filter needs an LGSSM, not {type(model).__module__}: use another procedure"
            )
        self.config = config
        self.register_buffer("known", torch.zeros(model.latent_size, model.latent_size), persistent=False)

    def initial(self, batch_size: int) -> State:
        """No spread beyond that of z_1's prior: there is no past."""
        assert isinstance(self.known, Tensor)
        return {"scale": self.known.repeat(batch_size, 1, 1)}

    def past(self, batch_size: int, lag: int) -> State:
        """Moments of the last latents, and their covariances with the present one."""
        assert isinstance(self.known, Tensor)
        return nothing_known(batch_size, lag, len(self.known), like=self.known)

    def objective(self, objective: StepObjective, state: State) -> "Marginal":
        """F of the step given the observations before it alone."""
        if isinstance(objective, Marginal):
            return objective
        values = {field.name: getattr(objective, field.name) for field in fields(objective)}
        return Marginal(**values, spread=state["scale"])

    def infer(self, objective: StepObjective, state: State, *, effort: base.Effort = base.CONFIGURED) -> base.Inferred:
        """p(z_t | x_<=t); there is nothing to iterate."""
        posterior = self.objective(objective, state).optimum
        return base.Inferred(
            posterior=posterior,
            state={"scale": posterior.scale},
            free_energies=posterior.mean.new_zeros(posterior.mean.shape[0], 0),
            iterations=torch.zeros_like(objective.step),
        )


@dataclass(frozen=True, kw_only=True)
class Marginal(StepObjective):
    """F_t with the past latent integrated out: `spread` is the factor of its covariance about what `prior` is given."""

    exact: ClassVar[bool] = True

    spread: Float[Tensor, "batch latent latent"]

    @property
    def expected(self) -> FullGaussian:
        """p(z_t | x_<t)."""
        mean, scale = self._before
        return FullGaussian(mean.to(self.prior.mean.dtype), scale.to(self.prior.mean.dtype))

    @property
    def optimum(self) -> FullGaussian:
        """p(z_t | x_<=t)."""
        mean, scale, _ = self._after
        return FullGaussian(mean.to(self.prior.mean.dtype), scale.to(self.prior.mean.dtype))

    def marginal(self) -> Likelihood:
        """The marginals of p(x_t | x_<t)."""
        return self._observation(*self._before)

    def looked_back(self, past: State, posterior: Posterior) -> tuple[State, Gaussian | None]:
        """The fixed-lag smoother."""
        if not past:
            return past, None
        after = posterior.mean.double(), _scale(posterior)
        kept, oldest = in_closed_form(past, self.step, dynamics=self._dynamics, before=self._before, after=after)
        dtype = self.prior.mean.dtype
        return kept, Gaussian(oldest.mean.to(dtype), oldest.log_variance.to(dtype))

    def sample(self, posterior: Posterior) -> Float[Tensor, "batch latent"]:
        """The posterior's mean: its spread is kept, not sampled."""
        return posterior.mean

    def likelihood(self, posterior: Posterior, z: Float[Tensor, "batch latent"]) -> Likelihood:
        """The marginals of p(x_t) given what the posterior knows."""
        return self._observation(posterior.mean.double(), _scale(posterior))

    def expected_reconstruction(self, posterior: Posterior, likelihood: Likelihood) -> Float[Tensor, " batch"]:
        """E_q[-log p(x | z)] of the optimum: -log p(x_t | x_<t) less its KL, so that precise sensors cost no digits."""
        return (-self._after[2] - self._divergence(posterior)).to(self.prior.mean.dtype)

    def kl(self, posterior: Posterior) -> Float[Tensor, " batch"]:
        """KL(posterior || p(z_t | x_<t)) in nats."""
        return self._divergence(posterior).to(self.prior.mean.dtype)

    def _divergence(self, posterior: Posterior) -> Float64[Tensor, " batch"]:
        expected = FullGaussian(self.expected.mean.double(), self.expected.scale.double())
        return FullGaussian(posterior.mean.double(), _scale(posterior)).total_kl(expected)

    def _observation(self, mean: Tensor, scale: Tensor) -> Gaussian:
        """The marginals of N(C m + D u + d, C S S' C' + R)."""
        noise = self._linear.noise_factor().pow(2).sum(-1)
        variance = (self._linear.sensing() @ scale).pow(2).sum(-1) + noise
        dtype = self.prior.mean.dtype
        return Gaussian(self._linear.sensed(mean, self.context).to(dtype), variance.log().to(dtype))

    @cached_property
    def _before(self) -> tuple[Tensor, Tensor]:
        """Mean and factor of the covariance before the observation, in float64."""
        scale = lower(torch.cat([self._dynamics @ self.spread.double(), _scale(self.prior)], dim=-1))
        return self.prior.mean.double(), scale

    @cached_property
    def _after(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and factor after the observation, and log p(x_t | x_<t); as before, and 0, where nothing is observed."""
        found = kalman_update(self._linear, *self._before, self.x, self.observed, context=self.context)
        if self.observed is None:
            return found
        return where(self.observed.any(-1), found, (*self._before, torch.zeros_like(found[2])))

    @property
    def _dynamics(self) -> Float64[Tensor, "*batch latent latent"]:
        """A, which may depend on the time that went by."""
        return self.context.get("dynamics", self._linear.dynamics.double())

    @property
    def _linear(self) -> lgssm.Model:
        assert isinstance(self.model, lgssm.Model)
        return self.model


def _scale(posterior: Posterior) -> Float64[Tensor, "batch latent latent"]:
    """The factor of the covariance, in float64."""
    if isinstance(posterior, FullGaussian):
        return posterior.scale.double()
    return torch.diag_embed(deviations(posterior.log_variance))
