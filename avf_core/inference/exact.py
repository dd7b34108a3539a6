"""Exact inference for the linear Gaussian model: the yardstick of every other procedure.

Three anchors, not to be confused:

* the evidence -log p(x_1..T), by the Kalman filter: a lower limit of every F;
* the greedy filtering optimum q_t = p(z_t | z_{t-1}, x_t), which this procedure returns, and its F in closed form:
  what iterative inference should reach;
* F of any given posterior in closed form, `expected_free_energy`.

The Kalman recursions are those of `_square_root`. The law: whatever the model's precision, all of it is computed in
float64, and rounded once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import LOG_2PI, FullGaussian, Gaussian
from avf_core.drives import FREE, Drive
from avf_core.errors import ConfigurationError
from avf_core.factors import deviations, lower
from avf_core.inference import base
from avf_core.inference._square_root import kalman_update, log_density, measured
from avf_core.models import lgssm
from avf_core.models.base import Model
from avf_core.objectives import Posterior, StepObjective
from avf_core.trees import take

Mask = Bool[Tensor, "batch observation"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """`full`: the exact conditional posterior. `diagonal`: the best mean-field one, with variances 1 / precision_ii."""

    covariance: Literal["full", "diagonal"] = "full"


EXAMPLES: Mapping[str, Config] = {"full": Config(), "mean-field": Config(covariance="diagonal")}


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
            objective.factorised,
            objective.x,
            objective.observed,
            covariance=self.config.covariance,
            context=objective.context,
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
    context: State | None = None,
) -> Posterior:
    """The Gaussian with precision Q^-1 + C' R^-1 C that combines prior and observation, in the prior's precision."""
    dtype = prior.mean.dtype
    scale = torch.diag_embed(prior.deviation.double())
    mean, scale, _ = kalman_update(model, prior.mean.double(), scale, x, observed, context=context)
    if covariance == "full":
        return FullGaussian(mean.to(dtype), scale.to(dtype))
    weight = torch.exp(-model.noise_log_variances.double()).expand(x.shape)
    weight = weight if observed is None else torch.where(observed, weight, 0.0)
    precision = torch.exp(-prior.log_variance.double()) + weight @ model.sensing() ** 2
    return Gaussian(mean.to(dtype), -precision.log().to(dtype))


def expected_free_energy(
    model: lgssm.Model, prior: Posterior, posterior: Posterior, x: Float[Tensor, "batch observation"]
) -> Float[Tensor, " batch"]:
    """F of a posterior with E_q[-log p(x | z)] in closed form, in nats, where R is diagonal."""
    _check_diagonal(model)
    emission, log_variance = model.sensing().to(x.dtype), model.noise_log_variances
    error = x - model.sensed(posterior.mean)
    spread = torch.einsum("oi,bij,oj->bo", emission, _covariance(posterior), emission)
    terms = LOG_2PI + log_variance + torch.exp(-log_variance) * (error**2 + spread)
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
    drive: Drive = FREE,
) -> Kalman:
    """log p(x_t | x_<t) of the observed dimensions, and p(z_t | x_<=t), for every step under this drive."""
    batch, latent = xs.shape[1], model.latent_size
    mean = model.initial_mean.double().expand(batch, latent)
    scale = model.initial_factor().expand(batch, latent, latent)
    evidences, means, covariances = [], [], []
    for t, x in enumerate(xs):
        now: Drive = take(drive, t)
        if t:
            motion = model.motion(now)
            mean = (motion.dynamics @ mean[..., None])[..., 0] + motion.shift
            process = motion.scale.expand(batch, latent, latent)
            scale = lower(torch.cat([motion.dynamics @ scale, process], dim=-1))
        mask = None if observed is None else observed[t]
        mean, scale, evidence = kalman_update(model, mean, scale, x, mask, context=model.fed(now))
        evidences.append(evidence.to(xs.dtype))
        means.append(mean.to(xs.dtype))
        covariances.append((scale @ scale.mT).to(xs.dtype))
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
    _check_diagonal(model)
    batch, latent = xs.shape[1], model.latent_size
    dynamics, emission, noises = model.dynamics.double(), model.sensing(), model.noise_factor()
    mean = model.initial_mean.double().expand(batch, latent)
    spread = torch.zeros_like(dynamics)  # the covariance of the prior's mean under q
    deviation = deviations(model.initial_log_variance)
    energies = []
    for t, x in enumerate(xs.double()):
        if t:
            mean = model.moved(mean)
            spread = dynamics @ spread @ dynamics.t()
            deviation = deviations(model.process_log_variance)
        step = measured(emission, torch.diag(deviation), noises)
        blur = torch.linalg.solve_triangular(step.innovation, emission, upper=False)
        energy = 0.5 * torch.trace(blur @ spread @ blur.t())
        log_variances = 2.0 * step.scale.diagonal().log()
        if covariance == "diagonal":
            precision = deviation**-2 + torch.exp(-model.noise_log_variances.double()) @ emission**2
            energy = energy + 0.5 * (precision.log() + log_variances).sum()
        error = x - model.sensed(mean)
        energies.append((energy - log_density(step.innovation, error, torch.ones_like(error))).to(xs.dtype))
        whitened = torch.linalg.solve_triangular(step.innovation, error.t(), upper=False)
        mean = mean + (step.gain @ whitened).t()
        left = torch.eye(latent, dtype=mean.dtype, device=mean.device) - step.gain @ blur
        noise = torch.diag(1.0 / precision) if covariance == "diagonal" else step.scale @ step.scale.t()
        spread = left @ spread @ left.t() + noise
    return torch.stack(energies)


def _covariance(posterior: Posterior) -> Float[Tensor, "batch latent latent"]:
    if isinstance(posterior, FullGaussian):
        return posterior.scale @ posterior.scale.mT
    return torch.diag_embed(posterior.log_variance.exp())


def _check_diagonal(model: lgssm.Model) -> None:
    if model.closed_form_only or model.input_size:
        raise ConfigurationError(
            "this closed form is of models with diagonal covariances, without inputs and dt: use the Kalman filter"
        )
