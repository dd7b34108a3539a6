"""The step free energy as a function of the posterior.

    F_t(q) = E_q[-log p(x_t | x_<t, z_<=t)] + KL(q(z_t) || p(z_t | x_<t, z_<t))          [nats]

Marino, Cvitkovic & Yue (2018), eq. 8. Given the past, it depends on the posterior of step t only, so that inference
is the minimisation of a `StepObjective`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import State
from avf_core.distributions import AnyGaussian, Gaussian, Likelihood, completed, reconstruction
from avf_core.models.base import Model
from avf_core.native import elements

Posterior = AnyGaussian


@dataclass(frozen=True)
class Gradient:
    """The gradient of each row's own F_t, never divided by the batch size, and F_t itself in nats."""

    mean: Float[Tensor, "batch latent"]
    log_variance: Float[Tensor, "batch latent"]
    free_energy: Float[Tensor, " batch"]


def expected(
    model: Model,
    context: State,
    prior: AnyGaussian,
    x: Float[Tensor, "batch observation"],
    observed: Bool[Tensor, "batch observation"] | None,
) -> tuple[Float[Tensor, "batch observation"], Likelihood | None]:
    """`x` with what was not `observed` by its prediction, and that prediction where it was decoded: x and None."""
    if observed is None:
        return x, None
    prediction = model.decode(context, prior.mean)
    return completed(prediction, x, observed), prediction


@dataclass(frozen=True, kw_only=True)
class StepObjective:
    """F_t of `batch` sequences, given their past and their observations.

    `x` has no NaN: dimensions that are not `observed` hold the prediction and do not enter F_t; `prediction` is the
    likelihood at the prior's mean, where it was decoded for that. `kl_weight` is 1 but while training with KL
    annealing. `drawn` is the noise of some streams, where it was drawn with that of other steps.

    A procedure that keeps what is known of the past in closed form has an objective of its own (`exact`): what is
    `expected` of the latent, and all that is asked of a posterior, then have the past's spread in them.
    """

    exact: ClassVar[bool] = False

    model: Model
    context: State
    prior: Posterior
    x: Float[Tensor, "batch observation"]
    observed: Bool[Tensor, "batch observation"] | None
    seed: Int64[Tensor, " batch"]
    step: Int64[Tensor, " batch"]
    kl_weight: float = 1.0
    prediction: Likelihood | None = None
    drawn: Mapping[int, Float64[Tensor, "batch latent"]] | None = None

    @property
    def factorised(self) -> Gaussian:
        """The prior, for procedures that take latents for Gaussians that factorise: a filter has seen to it."""
        assert isinstance(self.prior, Gaussian)
        return self.prior

    @cached_property
    def prior_precision(self) -> Float[Tensor, "batch latent"]:
        """1 / variance of the prior: the same in every iteration."""
        return torch.exp(-self.prior.log_variance)

    @property
    def expected(self) -> Posterior:
        """The distribution of the latent before the observation: the prior, given a sampled past."""
        return self.prior

    def at_prior_mean(self) -> Likelihood:
        """The likelihood at the prior's mean."""
        return self.model.decode(self.context, self.prior.mean) if self.prediction is None else self.prediction

    def marginal(self) -> Likelihood | None:
        """p(x_t | past), the latent integrated out; None where that has no closed form."""
        return self.model.marginal(self.context, self.expected)

    def looked_back(self, past: State, posterior: "Posterior") -> tuple[State, Gaussian | None]:
        """What is kept to look back after this step, and what is known of the latent so long ago; here, nothing."""
        return past, None

    def noise(self, *, streams: Sequence[int]) -> Float[Tensor, "streams batch latent"]:
        """Standard normal noise of these rows and this step."""
        if self.drawn is not None and all(stream in self.drawn for stream in streams):
            drawn = torch.stack([self.drawn[stream] for stream in streams])
        else:
            drawn = self._drawn(streams)
        return drawn.to(self.prior.mean.dtype)

    def _drawn(self, streams: Sequence[int]) -> Float[Tensor, "streams batch latent"]:
        """Noise in float32 or better, as the latent wants it."""
        size = self.prior.mean.shape[-1]
        if self.prior.mean.dtype is torch.float32:
            drawn = elements.standard_normal(self.seed, self.step, streams=streams, size=size)
            if drawn is not None:
                return drawn
        return noise.standard_normal(self.seed, self.step, streams=streams, size=size)

    def sample(self, posterior: Posterior) -> Float[Tensor, "batch latent"]:
        """The latent that filtering goes on from: a draw from the posterior, on this step's own noise."""
        return posterior.transform(self.noise(streams=range(noise.POSTERIOR, noise.POSTERIOR + 1))[0])

    def likelihood(self, posterior: Posterior, z: Float[Tensor, "batch latent"]) -> Likelihood:
        """The distribution of the observation after inference: that at the latent that filtering goes on from."""
        return self.model.decode(self.context, z)

    def expected_reconstruction(self, posterior: Posterior, likelihood: Likelihood) -> Float[Tensor, " batch"]:
        """E_q[-log p(x | z)] of the observed dimensions, in nats: by the one sample that `likelihood` is of."""
        return self.reconstruction(likelihood)

    def reconstruction(self, likelihood: Likelihood) -> Float[Tensor, " batch"]:
        """-log p(x) of the observed dimensions, in nats."""
        return reconstruction(likelihood, self.x, self.observed)

    def kl(self, posterior: Posterior) -> Float[Tensor, " batch"]:
        """KL(posterior || prior) in nats, not weighted."""
        return posterior.total_kl(self.prior)

    def free_energy(self, posterior: Gaussian, eps: Float[Tensor, "samples batch latent"]) -> Float[Tensor, " batch"]:
        """F_t in nats, averaged over the reparametrised samples `eps`."""
        return self.sampled_reconstruction(posterior.transform(eps)).mean(0) + self.kl_weight * self.kl(posterior)

    def gradient(self, posterior: Gaussian, eps: Float[Tensor, "samples batch latent"]) -> Gradient:
        """dF_t / d(mean, log-variance), averaged over the reparametrised samples `eps`.

        The model gives the likelihood's gradient with respect to z; the rest is in closed form: dz/dmean = 1,
        dz/dlog_variance = eps * deviation / 2, and KL's own derivatives.
        """
        deviation = posterior.deviation
        with torch.no_grad():
            z = torch.addcmul(posterior.mean, deviation, eps)
            energy, by_z = self.model.reconstruction_slope(self.context, z, self.x, self.observed)
        # KL and its derivatives share what they are made of.
        weight, precision = self.kl_weight, self.prior_precision
        error, ratio = posterior.mean - self.prior.mean, deviation**2 * precision
        kl_by_mean = error * precision
        logarithm = posterior.log_variance - self.prior.log_variance
        kl = 0.5 * torch.addcmul(ratio - logarithm - 1.0, error, kl_by_mean).sum(-1)
        return Gradient(
            mean=torch.add(by_z.mean(0), kl_by_mean, alpha=weight),
            log_variance=torch.addcmul(weight * (ratio - 1.0), deviation, (by_z * eps).mean(0)) * 0.5,
            free_energy=energy.mean(0) + weight * kl,
        )

    def sampled_reconstruction(self, z: Float[Tensor, "samples batch latent"]) -> Float[Tensor, "samples batch"]:
        """-log p(x | z) of the observed dimensions, at several latents a row, in nats."""
        likelihood = self.model.decode_samples(self.context, z.to(self.model.dtype))
        return reconstruction(likelihood, self.x, self.observed)
