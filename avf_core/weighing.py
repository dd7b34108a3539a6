"""One step of particles: what an observation does to their weights, and what they teach together.

    W_t^k proportional to W_{t-1}^k w_t^k          -log p(x_t | x_<t) ~ -log sum_k W_{t-1}^k w_t^k

The law: a sequence's weights depend on its own particles only. Where nothing was observed they stay as they are, bit
for bit.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from avf_core import noise, particles
from avf_core.beliefs import Belief
from avf_core.distributions import FullGaussian, Gaussian
from avf_core.estimates import Estimate, Weighted, gaussian
from avf_core.mixtures import Mixture
from avf_core.particles import folded, log_weight
from avf_core.smoothing import by_ancestors

KERNELS = 16.0  # effective particles up to which their posteriors, not their samples, say what is known


def weigh(
    before: Belief, following: Belief, rows: Estimate, *, seen: Bool[Tensor, " batch"] | None, threshold: float
) -> tuple[Belief, Estimate]:
    """The belief after a step of every particle as a row, and what the observation taught each sequence.

    The estimate's outlook is that of `rows`. `seen` says of which sequences anything was observed: of all, where it is
    None. A sequence is resampled once its effective sample size falls below `threshold` times its number of particles.
    """
    count, log_before = before.particle_count, before.particles["log_weights"]
    log_evidence, log_weights = _reweighted(log_before, folded(log_importance(rows), count), seen)
    effective = particles.effective(log_weights)
    few = effective < threshold * count
    weighted = Weighted(z=folded(rows.z, count), log_weights=log_weights, resampled=few)
    past, smoothed = by_ancestors(before.past, weighted.z, before.step, log_weights)
    belief = replace(particles.rejoined(following, before), particles={"log_weights": log_weights}, past=past)
    estimate = replace(
        _together(before, rows, weighted, kernels=_kernels(rows, effective, seen)),
        evidence_bound=-log_evidence,
        effective_sample_size=effective,
        smoothed=smoothed,
    )
    return particles.resampled(belief, before.step, few) if bool(few.any()) else belief, estimate


def log_importance(rows: Estimate) -> Float64[Tensor, " rows"]:
    """log w_t = log p(x_t, z_t | past) - log q(z_t): the sample's own value of -F_t, in nats.

    Where the past is kept in closed form there is no sample, and -F_t is the evidence.
    """
    if rows.exact:
        return -rows.free_energy.double()
    return log_weight(rows.reconstruction, gaussian(rows.prior), gaussian(rows.posterior), rows.z)


def _reweighted(
    log_before: Float64[Tensor, "batch particles"],
    log_w: Float64[Tensor, "batch particles"],
    seen: Bool[Tensor, " batch"] | None,
) -> tuple[Float64[Tensor, " batch"], Float64[Tensor, "batch particles"]]:
    """log p(x_t | x_<t) and the normalised weights after the observation."""
    raised = log_before + log_w
    log_evidence = raised.logsumexp(-1)
    log_weights = (raised - log_evidence[:, None]).clamp(min=particles.LOWEST)
    if seen is None:
        return log_evidence, log_weights
    return torch.where(seen, log_evidence, 0.0), torch.where(seen[:, None], log_weights, log_before)


def _kernels(
    rows: Estimate, effective: Float64[Tensor, " batch"], seen: Bool[Tensor, " batch"] | None
) -> Float[Tensor, " batch"]:
    """The part of a particle's posterior variance that its sample stands for: 0, its posterior, up to 1, its sample.

    Posteriors are smoother than samples, and as wrong as inference is; samples, weighted, are right however inference
    errs, and noisy where they are few. So they take over as their number grows.
    """
    part = (1.0 - KERNELS / effective).clamp(min=0.0)
    if rows.exact:
        return torch.zeros_like(part)
    return part if seen is None else torch.where(seen, part, 0.0)


def _together(before: Belief, rows: Estimate, weighted: Weighted, *, kernels: Float[Tensor, " batch"]) -> Estimate:
    """What the particles of each sequence say, by their weights."""
    count, log_before = before.particle_count, before.particles["log_weights"]

    def mean(values: Tensor) -> Tensor:
        """By the weights before the observation."""
        return particles.averaged(values, log_before)

    return Estimate(
        prior=Mixture(folded(rows.prior, count), log_before),
        posterior=Mixture(
            _sharpened(folded(gaussian(rows.posterior), count), weighted.z, kernels), weighted.log_weights
        ),
        likelihood=Mixture(folded(rows.likelihood, count), weighted.log_weights),
        z=_one(before, weighted),
        free_energy=mean(rows.free_energy),
        reconstruction=mean(rows.reconstruction),
        kl=mean(rows.kl),
        free_energies=mean(rows.free_energies),
        iterations=folded(rows.iterations, count).amax(-1),
        evidence_bound=mean(rows.evidence_bound),
        effective_sample_size=mean(rows.effective_sample_size),
        outlook=rows.outlook,
        heard=folded(rows.heard, count),
        particles=weighted,
        exact=rows.exact,
        allowance=None if rows.allowance is None else mean(rows.allowance),
    )


def _sharpened(
    posterior: Gaussian | FullGaussian, z: Float[Tensor, "batch particles latent"], part: Float[Tensor, " batch"]
) -> Gaussian | FullGaussian:
    """Posteriors N(m, V) of which the part r^2 of the variance is known by the sample: N(m + r (z - m), (1 - r^2) V).

    Of a sample from the posterior itself, mean and variance are on average the posterior's, whatever the part.
    """
    known = part.to(z.dtype)[:, None, None]
    mean = posterior.mean + known.sqrt() * (z - posterior.mean)
    if isinstance(posterior, FullGaussian):
        return FullGaussian(mean, posterior.scale * (1.0 - known).sqrt()[..., None])
    return Gaussian(mean, posterior.log_variance + (1.0 - known).log())


def _one(before: Belief, weighted: Weighted) -> Float[Tensor, "batch latent"]:
    """The sample of one particle, drawn by the weights after the observation."""
    start = noise.uniform(before.seed, before.step, streams=[noise.PARTICLE], size=1)[0]
    chosen = particles.systematic(weighted.log_weights, start)
    return torch.take_along_dim(weighted.z, chosen[..., None], 1)[:, 0]
