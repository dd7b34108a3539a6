"""Looking back: the posterior of the latent some steps ago, given all that was observed since.

    p(z_{t-L} | x_1..t)  ~  sum_k W_t^k delta(z_{t-L}^k),      z_{t-L}^k the ancestor of particle k

Kitagawa (1996): resampling takes the past of a particle along, so that weights of today weigh the latents of then. The
law: a belief keeps the last L latents of every particle, and nothing else; while there are fewer, the first one stands
for those before it, so that what is said is of z_1.
"""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import Gaussian
from avf_core.errors import ConfigurationError

MOST = 1024  # steps that may be looked back


def check_lag(lag: int, *, possible: bool) -> None:
    """Raise ConfigurationError where a number of steps to look back makes no sense, or is not `possible`."""
    if not 0 <= lag <= MOST:
        raise ConfigurationError(f"lag is {lag}, expected a number of steps in [0, {MOST}]")
    if lag and not possible:
        raise ConfigurationError(
            f"lag is {lag}, and one sampled path cannot look back: expected particles, say 64, or no lag"
        )


def kept_of(
    past: State, z: Float[Tensor, "batch particles latent"], step: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch particles steps latent"]:
    """The latents that are kept, the oldest first, and those of this step."""
    first = (step == 0)[:, None, None, None]
    return torch.cat([torch.where(first, z[:, :, None], past["z"]), z[:, :, None]], dim=2)


def remembered(past: State, z: Float[Tensor, "batch particles latent"], step: Int64[Tensor, " batch"]) -> State:
    """What is kept after a step with these latents."""
    return {"z": kept_of(past, z, step)[:, :, 1:]} if past else past


def looked_back(
    past: State,
    z: Float[Tensor, "batch particles latent"],
    step: Int64[Tensor, " batch"],
    log_weights: Float64[Tensor, "batch particles"],
) -> tuple[State, Gaussian | None]:
    """What is kept after a step with these latents, and the moments of the oldest; None where nobody looks back."""
    if not past:
        return past, None
    kept = kept_of(past, z, step)
    return {"z": kept[:, :, 1:]}, weighted_moments(kept[:, :, 0], log_weights)


def weighted_moments(
    z: Float[Tensor, "batch particles latent"], log_weights: Float64[Tensor, "batch particles"]
) -> Gaussian:
    """Mean and variance of weighted samples; the variance without the bias that few samples give it."""
    weights = log_weights.exp()[..., None]
    mean = (weights * z.double()).sum(1)
    spread = (weights * (z.double() - mean[:, None]) ** 2).sum(1)
    unbiased = spread / (1.0 - (weights**2).sum(1)).clamp(min=1e-6)
    return Gaussian(mean.to(z.dtype), unbiased.clamp(min=torch.finfo(torch.float32).tiny).log().to(z.dtype))
