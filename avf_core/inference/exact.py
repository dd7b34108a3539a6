"""Exact inference for the linear Gaussian model: the yardstick of every other procedure.

Three anchors, not to be confused:

* the evidence -log p(x_1..T), by the Kalman filter: a lower limit of every F;
* the greedy filtering optimum q_t = p(z_t | z_{t-1}, x_t), which this procedure returns, and its F in closed form:
  what iterative inference should reach;
* F of any given posterior in closed form, `expected_free_energy`.

The Kalman recursions follow Särkkä, "Bayesian Filtering and Smoothing" (2013), Theorem 4.2.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import LOG_2PI, FullGaussian, Gaussian
from avf_core.errors import ConfigurationError
from avf_core.inference import base
from avf_core.models import lgssm
from avf_core.models.base import Model
from avf_core.objectives import Posterior, StepObjective

Mask = Bool[Tensor, "batch observation"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """`full`: the exact conditional posterior. `diagonal`: the best mean-field one, with variances 1 / precision_ii."""

    covariance: Literal["full", "diagonal"] = "full"


class Inference(base.Inference):
    """The greedy filtering optimum of a linear Gaussian model."""

    def __init__(self, config: Config, model: Model) -> None:
        super().__init__()
        if not isinstance(model, lgssm.Model):
            raise ConfigurationError(
                f"exact inference needs an LGSSM, not {type(model).__module__}: use another procedure"
            )
        self.config = config

    def infer(self, objective: StepObjective, state: State, *, effort: base.Effort = base.CONFIGURED) -> base.Inferred:
        """p(z_t | z_{t-1}, x_t), or its mean-field form; there is nothing to iterate."""
        assert isinstance(objective.model, lgssm.Model)
        posterior = greedy_posterior(
            objective.model,
            objective.prior,
            objective.x,
            objective.observed,
            covariance=self.config.covariance,
        )
        return base.Inferred(
            posterior=posterior,
            state=state,
            free_energies=objective.x.new_zeros(objective.x.shape[0], 0),
            iterations=torch.zeros_like(objective.step),
        )


def greedy_posterior(
    model: lgssm.Model,
    prior: Gaussian,
    x: Float[Tensor, "batch observation"],
    observed: Mask | None,
    *,
    covariance: Literal["full", "diagonal"],
) -> Posterior:
    """The Gaussian with precision Q^-1 + C' R^-1 C that combines prior and observation."""
    weight = _observation_precision(model, x, observed)
    precision = _posterior_precision(model, prior.log_variance, weight)
    information = torch.exp(-prior.log_variance) * prior.mean + (weight * x) @ model.emission
    mean = torch.linalg.solve(precision, information)
    if covariance == "diagonal":
        return Gaussian(mean, -precision.diagonal(dim1=-2, dim2=-1).log())
    return FullGaussian(mean, torch.linalg.cholesky(torch.linalg.inv(precision)))


def expected_free_energy(
    model: lgssm.Model, prior: Gaussian, posterior: Posterior, x: Float[Tensor, "batch observation"]
) -> Float[Tensor, " batch"]:
    """F of a posterior with E_q[-log p(x | z)] in closed form, in nats."""
    precision = torch.exp(-model.noise_log_variance)
    error = x - posterior.mean @ model.emission.t()
    spread = torch.einsum("oi,bij,oj->bo", model.emission, _covariance(posterior), model.emission)
    terms = LOG_2PI + model.noise_log_variance + precision * (error**2 + spread)
    return 0.5 * terms.sum(-1) + posterior.total_kl(prior)


@dataclass(frozen=True, kw_only=True)
class Kalman:
    """The Kalman filter's result: log-evidence of each step in nats, and the filtered moments."""

    log_evidence: Float[Tensor, "time batch"]
    mean: Float[Tensor, "time batch latent"]
    covariance: Float[Tensor, "time batch latent latent"]


def kalman_filter(
    model: lgssm.Model,
    xs: Float[Tensor, "time batch observation"],
    observed: Bool[Tensor, "time batch observation"] | None = None,
) -> Kalman:
    """log p(x_t | x_<t) of the observed dimensions, and p(z_t | x_<=t), for every step."""
    batch, latent = xs.shape[1], model.latent_size
    mean = model.initial_mean.expand(batch, latent)
    covariance = torch.diag(model.initial_log_variance.exp()).expand(batch, latent, latent)
    evidences, means, covariances = [], [], []
    for t, x in enumerate(xs):
        if t:
            mean = mean @ model.dynamics.t()
            covariance = model.dynamics @ covariance @ model.dynamics.t()
            covariance = covariance + torch.diag(model.process_log_variance.exp())
        mask = torch.ones_like(x, dtype=torch.bool) if observed is None else observed[t]
        mean, covariance, evidence = _kalman_update(model, mean, covariance, x, mask)
        evidences.append(evidence)
        means.append(mean)
        covariances.append(covariance)
    return Kalman(log_evidence=torch.stack(evidences), mean=torch.stack(means), covariance=torch.stack(covariances))


def greedy_optimum(
    model: lgssm.Model,
    xs: Float[Tensor, "time batch observation"],
    *,
    covariance: Literal["full", "diagonal"],
) -> Float[Tensor, "time batch"]:
    """E[F_t] of the greedy filtering optimum, in closed form, in nats.

    F_t = -E log N(x_t; C A z_{t-1}, C Q C' + R), plus, for mean-field, half the log-ratio of the product of the
    precision's diagonal to its determinant. The moments of z_{t-1} under q are propagated linearly.
    """
    batch, latent = xs.shape[1], model.latent_size
    mean = model.initial_mean.expand(batch, latent)
    spread = torch.zeros(latent, latent, dtype=xs.dtype, device=xs.device)  # of the prior's mean under q
    log_variance = model.initial_log_variance
    energies = []
    for t, x in enumerate(xs):
        if t:
            mean = mean @ model.dynamics.t()
            spread = model.dynamics @ spread @ model.dynamics.t()
            log_variance = model.process_log_variance
        weight = torch.exp(-model.noise_log_variance)
        precision = _posterior_precision(model, log_variance, weight)
        energies.append(_predictive_energy(model, mean, spread, log_variance, x))
        if covariance == "diagonal":
            diagonal = precision.diagonal().log().sum()
            energies[-1] = energies[-1] + 0.5 * (diagonal - torch.linalg.slogdet(precision).logabsdet)
        inverse = torch.linalg.inv(precision)
        gain = inverse @ torch.diag(torch.exp(-log_variance))
        mean = mean @ gain.t() + (weight * x) @ model.emission @ inverse.t()
        noise = torch.diag(1.0 / precision.diagonal()) if covariance == "diagonal" else inverse
        spread = gain @ spread @ gain.t() + noise
    return torch.stack(energies)


def _predictive_energy(
    model: lgssm.Model, mean: Tensor, spread: Tensor, log_variance: Tensor, x: Tensor
) -> Float[Tensor, " batch"]:
    """-E log N(x; C m, C diag(variance) C' + R) over m ~ N(mean, spread)."""
    emission = model.emission
    scale = emission @ torch.diag(log_variance.exp()) @ emission.t() + torch.diag(model.noise_log_variance.exp())
    predictive = torch.distributions.MultivariateNormal(mean @ emission.t(), scale, validate_args=False)
    blur = torch.trace(torch.linalg.solve(scale, emission @ spread @ emission.t()))
    log_prob: Tensor = predictive.log_prob(x)  # type: ignore[no-untyped-call]
    return -log_prob + 0.5 * blur


def _kalman_update(
    model: lgssm.Model, mean: Tensor, covariance: Tensor, x: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One measurement update; a dimension that is not observed has a zero row in C, and no evidence."""
    kept = mask.to(x.dtype)
    emission = kept[..., None] * model.emission
    error = kept * x - (emission @ mean[..., None])[..., 0]
    noise = torch.diag_embed(torch.where(mask, model.noise_log_variance.exp(), 1.0))
    innovation = emission @ covariance @ emission.mT + noise
    factor = torch.linalg.cholesky(innovation)
    gain = torch.cholesky_solve(emission @ covariance, factor).mT
    whitened = torch.linalg.solve_triangular(factor, error[..., None], upper=False)[..., 0]
    log_determinant = 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    evidence = -0.5 * (kept.sum(-1) * LOG_2PI + log_determinant + (whitened**2).sum(-1))
    identity = torch.eye(mean.shape[-1], dtype=x.dtype, device=x.device)
    left = identity - gain @ emission
    updated = left @ covariance @ left.mT + gain @ noise @ gain.mT  # Joseph's form keeps it positive definite
    return mean + (gain @ error[..., None])[..., 0], updated, evidence


def _observation_precision(model: lgssm.Model, x: Tensor, observed: Tensor | None) -> Tensor:
    precision = torch.exp(-model.noise_log_variance).expand_as(x)
    return precision if observed is None else torch.where(observed, precision, 0.0)


def _posterior_precision(model: lgssm.Model, prior_log_variance: Tensor, weight: Tensor) -> Tensor:
    emission = model.emission
    return torch.diag_embed(torch.exp(-prior_log_variance)) + emission.t() @ (weight[..., None] * emission)


def _covariance(posterior: Posterior) -> Float[Tensor, "batch latent latent"]:
    if isinstance(posterior, FullGaussian):
        return posterior.scale @ posterior.scale.mT
    return torch.diag_embed(posterior.log_variance.exp())
