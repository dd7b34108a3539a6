"""The Kalman filter's measurement in square-root form: what exact procedures share.

The Kalman recursions follow Särkkä, "Bayesian Filtering and Smoothing" (2013), Theorem 4.2, in the square-root form of
Kailath, Sayed & Hassibi, "Linear Estimation" (2000), section 12.3: covariances are carried as lower triangular factors,
and a measurement is one orthogonal transformation. No precision is ever formed or inverted, so that a sensor may be as
precise as it likes. The law: all of it is computed in float64.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import LOG_2PI
from avf_core.factors import lower
from avf_core.models import lgssm


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a measurement makes of a covariance: lower triangular factors, and the gain on whitened errors."""

    innovation: Float[Tensor, "*batch observation observation"]
    gain: Float[Tensor, "*batch latent observation"]
    scale: Float[Tensor, "*batch latent latent"]


def measured(
    emission: Float[Tensor, "*batch observation latent"],
    scale: Float[Tensor, "*batch latent latent"],
    noise: Float[Tensor, "*batch observation noises"],
) -> Measured:
    """One orthogonal transformation of [[R^1/2, C P^1/2], [0, P^1/2]] to lower triangular form; `noise` is R^1/2."""
    size = emission.shape[-2]
    above = torch.cat([noise, emission @ scale], dim=-1)
    below = torch.cat([noise.new_zeros(*noise.shape[:-2], scale.shape[-1], noise.shape[-1]), scale], dim=-1)
    factor = lower(torch.cat([above, below], dim=-2))
    return Measured(
        innovation=factor[..., :size, :size], gain=factor[..., size:, :size], scale=factor[..., size:, size:]
    )


def kalman_update(
    model: lgssm.Model,
    mean: Tensor,
    scale: Tensor,
    x: Tensor,
    observed: Tensor | None,
    *,
    context: State | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, factor of the covariance and evidence after a measurement, in float64.

    A dimension that is not observed has a zero row in C, a noise of its own and no evidence; what stands in its place
    in x is not read.
    """
    x, noise = x.double(), model.noise_factor().expand(len(x), -1, -1)
    emission = model.sensing().expand(len(x), -1, -1)
    counted = torch.ones_like(x)
    if observed is not None:
        x, emission = torch.where(observed, x, 0.0), torch.where(observed[..., None], emission, 0.0)
        noise = _of_observed(noise, observed, diagonal=model.noise_unit is None)
        counted = observed.double()
    step = measured(emission, scale, noise)
    error = torch.where(counted > 0.0, x - model.sensed(mean, context), 0.0)
    whitened = torch.linalg.solve_triangular(step.innovation, error[..., None], upper=False)
    evidence = log_density(step.innovation, error, counted)
    return mean + (step.gain @ whitened)[..., 0], step.scale, evidence


def _of_observed(
    noise: Float[Tensor, "batch size size"], observed: Tensor, *, diagonal: bool
) -> Float[Tensor, "batch size noises"]:
    """The factor of the noise of what is observed, and of a unit noise of each number that is not."""
    kept = torch.where(observed[..., None], noise, 0.0)
    own = torch.diag_embed((~observed).double())
    return kept + own if diagonal else torch.cat([kept, own], dim=-1)


def log_density(factor: Tensor, error: Tensor, counted: Tensor) -> Float[Tensor, " batch"]:
    """log N(error; 0, L L') of each row, of the dimensions that are `counted` (1, others 0), in nats."""
    whitened = torch.linalg.solve_triangular(factor, error[..., None], upper=False)[..., 0]
    log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    density: Tensor = -0.5 * (counted * LOG_2PI + whitened**2).sum(-1) - log_determinant
    return density
