"""Looking back: the posterior of the latent some steps ago, given all that was observed since.

By the ancestors of particles (Kitagawa 1996): resampling takes the past of a particle along, so that weights of today
weigh the latents of then,

    p(z_{t-L} | x_1..t)  ~  sum_k W_t^k delta(z_{t-L}^k)

and in closed form, where the posterior has one, by the gain of Rauch, Tung & Striebel (1965) on what x_t said of z_t:

    J = Cov(z_s, z_t | x_<t) P^-1,     mean_s + J (m' - m),     Cov_s + J (P' - P) J',     Cov(z_s, z_t | x_<=t) = J P'

The law: a belief keeps what it needs of the last L latents, and nothing else. While there are fewer, the first one
stands for those before it, so that what is said is of z_1.
"""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from avf_core.beliefs import Belief, State
from avf_core.distributions import Gaussian
from avf_core.errors import ConfigurationError
from avf_core.trees import tree_map

MOST = 1024  # steps that may be looked back


def check_lag(lag: int, *, possible: bool, exact: bool = False) -> None:
    """Raise ConfigurationError where a number of steps to look back makes no sense, or is not `possible`.

    `exact`: of a procedure that keeps the past in closed form, which particles are no help to.
    """
    if not 0 <= lag <= MOST:
        raise ConfigurationError(f"lag is {lag}, expected a number of steps in [0, {MOST}]")
    if lag and not possible and exact:
        raise ConfigurationError(
            f"lag is {lag}, and in closed form only one row of the procedure kalman looks back: expected no lag"
        )
    if lag and not possible:
        raise ConfigurationError(
            f"lag is {lag}, and one sampled path cannot look back: expected particles, say 64, or no lag"
        )


def remembered(past: State, now: State, step: Int64[Tensor, " batch"], *, axis: int) -> State:
    """What is kept, the oldest first, with what is known of this step's latent; `axis` is that of steps."""

    def joined(kept: Tensor, new: Tensor) -> Tensor:
        new = new.unsqueeze(axis)
        first = (step == 0).reshape(-1, *[1] * (kept.ndim - 1))
        return torch.cat([torch.where(first, new, kept), new], dim=axis)

    return tree_map(joined, past, now)


def without_oldest(kept: State, *, axis: int) -> State:
    """What the next step needs."""
    return tree_map(lambda tensor: tensor.narrow(axis, 1, tensor.shape[axis] - 1), kept)


def by_ancestors(
    past: State,
    z: Float[Tensor, "batch particles latent"],
    step: Int64[Tensor, " batch"],
    log_weights: Float64[Tensor, "batch particles"],
) -> tuple[State, Gaussian | None]:
    """What is kept after a step of particles with these latents, and moments of the oldest; None of no past."""
    if not past:
        return past, None
    kept = remembered(past, {"z": z}, step, axis=2)
    return without_oldest(kept, axis=2), weighted_moments(kept["z"][:, :, 0], log_weights)


def in_closed_form(
    past: State,
    step: Int64[Tensor, " batch"],
    *,
    dynamics: Float64[Tensor, "*batch latent latent"],
    before: tuple[Float64[Tensor, "batch latent"], Float64[Tensor, "batch latent latent"]],
    after: tuple[Float64[Tensor, "batch latent"], Float64[Tensor, "batch latent latent"]],
) -> tuple[State, Gaussian]:
    """What is kept after a step, and the oldest latent's moments; `before` and `after` it: mean, covariance's factor.

    Kept are mean and variance of the last latents, and their covariance with the present one ("cross"), in float64.
    """
    (prior, scale), (posterior, known) = before, after
    moved = past["cross"] @ dynamics.mT.unsqueeze(-3)
    # J' solves P J' = Cov(z_t, z_s): by the factor of P.
    gain = torch.cholesky_solve(moved.mT, scale.unsqueeze(1)).mT
    learned = (gain @ known.unsqueeze(1)).pow(2).sum(-1) - (gain @ scale.unsqueeze(1)).pow(2).sum(-1)
    covariance = known @ known.mT
    updated = {
        "mean": past["mean"] + (gain @ (posterior - prior)[:, None, :, None])[..., 0],
        "variance": past["variance"] + learned,
        "cross": gain @ covariance.unsqueeze(1),
    }
    now = {"mean": posterior, "variance": covariance.diagonal(dim1=-2, dim2=-1), "cross": covariance}
    kept = remembered(updated, now, step, axis=1)
    oldest = tree_map(lambda tensor: tensor[:, 0], kept)
    return without_oldest(kept, axis=1), _marginals(oldest["mean"], oldest["variance"])


def nothing_known(batch: int, lag: int, latent: int, like: Tensor) -> State:
    """What is kept in closed form before the first observation."""
    zeros = torch.zeros(batch, lag, latent, dtype=torch.float64, device=like.device)
    return {"mean": zeros, "variance": zeros.clone(), "cross": zeros[..., None].repeat(1, 1, 1, latent)}


def last_latents(belief: Belief) -> Gaussian:
    """The moments, of shape (batch, lag, latent), of the last latents of a belief, given all that was observed.

    While there were fewer steps than it looks back, the first of them stands for those before it. Raises
    ConfigurationError for a belief that does not look back.
    """
    if not belief.past:
        raise ConfigurationError("this belief does not look back: expected one of `Filter.initial` with a lag")
    if "z" not in belief.past:
        return _marginals(belief.past["mean"], belief.past["variance"])
    log_weights = belief.particles["log_weights"]
    return weighted_moments(belief.past["z"].transpose(1, 2), log_weights[:, None], axis=2)


def effective_ancestors(
    z: Float[Tensor, "batch particles latent"], log_weights: Float64[Tensor, "batch particles"]
) -> Float64[Tensor, " batch"]:
    """Of how many different samples the moments of these are, by 1 / sum of squared weights.

    Particles with one ancestor count as one, with their weights together.
    """
    found = []
    for samples, weights in zip(z, log_weights.exp(), strict=True):
        different, ancestor = samples.unique(dim=0, return_inverse=True)
        together = weights.new_zeros(len(different)).index_add(0, ancestor, weights)
        found.append(1.0 / together.square().sum())
    return torch.stack(found)


def weighted_moments(z: Float[Tensor, "... latent"], log_weights: Float64[Tensor, "..."], *, axis: int = 1) -> Gaussian:
    """Mean and variance of weighted samples along an axis; the variance without the bias that few samples give it.

    Samples are taken from the heaviest one, so that those with one ancestor have no variance at all, not that of
    rounding.
    """
    weights, samples = log_weights.exp()[..., None], z.double()
    heaviest = samples.take_along_dim(log_weights.argmax(-1)[..., None, None], axis)
    apart = samples - heaviest
    centre = (weights * apart).sum(axis, keepdim=True)
    spread = (weights * (apart - centre) ** 2).sum(axis)
    unbiased = spread / (1.0 - (weights**2).sum(axis)).clamp(min=1e-6)
    return _marginals((heaviest + centre).squeeze(axis), unbiased, dtype=z.dtype)


def _marginals(mean: Tensor, variance: Tensor, *, dtype: torch.dtype | None = None) -> Gaussian:
    """A Gaussian of these moments; one of no variance at all is kept finite."""
    log_variance = variance.clamp(min=torch.finfo(torch.float32).tiny).log()
    return Gaussian(mean.to(dtype or mean.dtype), log_variance.to(dtype or mean.dtype))
