"""Covariances as their lower triangular factors, S S', which exact procedures and linear models carry.

The law: all of it is computed in float64, and no covariance is formed where its factor will do: a factor squared is a
covariance whatever was rounded.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def lower(matrix: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch rows rows"]:
    """The lower triangular L with a positive diagonal and L L' = M M', by QR of M'."""
    factor: Tensor = torch.linalg.qr(matrix.mT).R.mT
    return factor * torch.where(factor.diagonal(dim1=-2, dim2=-1) < 0.0, -1.0, 1.0)[..., None, :]


def deviations(log_variance: Tensor) -> Tensor:
    """The standard deviations, in float64."""
    return torch.exp(0.5 * log_variance.double())


def joined(
    log_variance: Float[Tensor, " size"], unit: Float[Tensor, "size size"] | None
) -> Float64[Tensor, "size size"]:
    """The factor (I + U) D of a covariance: U is what is below the diagonal of `unit`, D the deviations."""
    factor = torch.diag(deviations(log_variance))
    return factor if unit is None else factor + unit.double().tril(-1) @ factor


def parted(
    covariance: Float[Tensor, "size size"],
) -> tuple[Float[Tensor, " size"], Float[Tensor, "size size"]]:
    """What `joined` takes for a covariance. Raises RuntimeError where it is not positive definite."""
    factor: Tensor = torch.linalg.cholesky(covariance.double())
    diagonal = factor.diagonal()
    return (2.0 * diagonal.log()).to(covariance.dtype), (factor / diagonal).tril(-1).to(covariance.dtype)
