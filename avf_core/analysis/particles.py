"""Many weighted latents a sequence: sequential Monte Carlo with the filter's posterior as its proposal.

    log w_t = log p(x_t | x_<t, z_<=t) + log p(z_t | x_<t, z_<t) - log q(z_t | x_<=t, z_<t)

Maddison et al., "Filtering variational objectives" (2017). With resampling this is a particle filter; without it the
weights accumulate, and the evidence is that of the importance-weighted bound (Burda, Grosse & Salakhutdinov 2016).
A filter's row carries one *sample* of the past; the particles together represent p(z_t | x_<=t), so that forecasts
and evidences from them converge to the model's own as their number grows.

The law is the filter's: `step` is pure, and all randomness of a sequence comes from its seed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import Belief, State
from avf_core.distributions import FullGaussian, Gaussian, log_density
from avf_core.errors import ConfigurationError
from avf_core.filtering import Estimate, Filter
from avf_core.trees import take

Resampler = Callable[[Float[Tensor, "batch particles"], Float64[Tensor, "batch points"]], Int64[Tensor, "batch points"]]


@dataclass(frozen=True, kw_only=True)
class Particles:
    """The weighted particles of `batch` sequences.

    `belief` has a row for every particle, those of a sequence beside each other; `log_weights` are normalised;
    `seed` is that of the sequence, from which those of its particles come.
    """

    belief: Belief
    log_weights: Float64[Tensor, "batch particles"]
    seed: Int64[Tensor, " batch"]

    @property
    def count(self) -> int:
        """The number of particles of a sequence."""
        return int(self.log_weights.shape[1])

    @property
    def step(self) -> Int64[Tensor, " batch"]:
        """The number of observations filtered so far."""
        return self.belief.step[:: self.count]

    def first(self, sequences: int) -> "Particles":
        """The particles of the first so many sequences."""
        return Particles(
            belief=take(self.belief, slice(0, sequences * self.count)),
            log_weights=self.log_weights[:sequences],
            seed=self.seed[:sequences],
        )


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """What one observation did to the particles.

    `log_evidence` estimates log p(x_t | x_<t) in nats (the product over time is unbiased for p(x_1..T)). `log_weights`
    are normalised and those before resampling: with them the rows of `estimate` represent p(z_t | x_<=t).
    `effective` is the effective sample size 1 / sum of squared weights, `resampled` says where it was too small.
    """

    estimate: Estimate
    log_weights: Float64[Tensor, "batch particles"]
    log_evidence: Float64[Tensor, " batch"]
    effective: Float64[Tensor, " batch"]
    resampled: Bool[Tensor, " batch"]


def initial(filter: Filter, seeds: Int64[Tensor, " batch"], *, count: int) -> Particles:
    """`count` equally weighted particles for each sequence, before the first observation.

    The first particle has the sequence's own seed: one particle alone is the row of the filter.
    """
    if count < 1:
        raise ConfigurationError(f"{count} particles, expected at least 1")
    own = path_seeds(seeds, torch.zeros_like(seeds), count)
    own[:, 0] = seeds
    weights = torch.full((seeds.shape[0], count), -math.log(count), dtype=torch.float64, device=seeds.device)
    return Particles(belief=filter.initial(own.reshape(-1)), log_weights=weights, seed=seeds)


def path_seeds(
    seed: Int64[Tensor, " batch"], step: Int64[Tensor, " batch"], count: int
) -> Int64[Tensor, "batch count"]:
    """Seeds of a row's paths, hashed from the row's own and its step; the first few of many are those of few."""
    return noise.words(seed, step, streams=[noise.PATHS], count=count)[0]


def step(
    filter: Filter,
    particles: Particles,
    x: Float[Tensor, "batch observation"],
    *,
    observed: Bool[Tensor, "batch observation"] | None = None,
    inputs: Float[Tensor, "batch inputs"] | None = None,
    dt: Float[Tensor, " batch"] | None = None,
    iterations: int | None = None,
    threshold: float = 0.5,
    resampler: Resampler | None = None,
) -> tuple[Particles, Weighing]:
    """Filter one observation of every sequence with all its particles.

    A sequence is resampled (systematically, where `resampler` names no other) once its effective sample size falls
    below `threshold` times its number of particles: 0 for never, as importance-weighted bounds want it. `observed`,
    `inputs` and `dt` are those of `Filter.step`. Raises ObservationError where x or they do not fit.
    """
    count = particles.count
    xs = x.repeat_interleave(count, 0)
    mask, driven, since = (None if t is None else t.repeat_interleave(count, 0) for t in (observed, inputs, dt))
    belief, estimate = filter.step(particles.belief, xs, observed=mask, inputs=driven, dt=since, iterations=iterations)
    weights = particles.log_weights + log_importance(estimate).reshape(-1, count)
    log_evidence = weights.logsumexp(-1)
    normalised = weights - log_evidence[:, None]
    effective = torch.exp(-(2.0 * normalised).logsumexp(-1))
    few = effective < threshold * count
    weighing = Weighing(
        estimate=estimate,
        log_weights=normalised,
        log_evidence=log_evidence,
        effective=effective,
        resampled=few,
    )
    following = Particles(belief=belief, log_weights=normalised, seed=particles.seed)
    if not bool(few.any()):
        return following, weighing
    return _resampled(following, particles.step, few, resampler or systematic), weighing


def log_importance(estimate: Estimate) -> Float64[Tensor, " rows"]:
    """log w_t = log p(x_t, z_t | past) - log q(z_t): the sample's own value of -F_t, in nats.

    Where the past is kept in closed form there is no sample, and -F_t is the evidence.
    """
    if estimate.exact:
        return -estimate.free_energy.double()
    return log_weight(estimate.reconstruction, estimate.prior, estimate.posterior, estimate.z)


def log_weight(
    reconstruction: Float[Tensor, "*rows"],
    prior: Gaussian | FullGaussian,
    posterior: Gaussian | FullGaussian,
    z: Float[Tensor, "*rows latent"],
    *,
    kl_weight: float = 1.0,
) -> Float64[Tensor, "*rows"]:
    """log p(x | z) + log p(z) - log q(z) in nats, given -log p(x | z); the last two weighted as KL is."""
    return kl_weight * (log_density(prior, z) - log_density(posterior, z)) - reconstruction.double()


def systematic(
    log_weights: Float[Tensor, "batch particles"], uniform: Float64[Tensor, "batch points"]
) -> Int64[Tensor, "batch points"]:
    """The particles at evenly spaced points with one random start, the first number of `uniform`.

    Kitagawa (1996): unbiased, with less variance than independent draws.
    """
    points = uniform.shape[1]
    spaced = (torch.arange(points, device=uniform.device) + uniform[:, :1]) / points
    return _at(log_weights, spaced)


def multinomial(
    log_weights: Float[Tensor, "batch particles"], uniform: Float64[Tensor, "batch points"]
) -> Int64[Tensor, "batch points"]:
    """Independent draws (Gordon, Salmond & Smith 1993)."""
    return _at(log_weights, uniform)


def _at(log_weights: Tensor, points: Tensor) -> Tensor:
    """The particles at which the cumulative weights pass these points in (0, 1)."""
    cumulative = log_weights.double().exp().cumsum(-1)
    found = torch.searchsorted(cumulative / cumulative[:, -1:], points.contiguous(), right=True)
    return found.clamp(max=log_weights.shape[1] - 1)


def _resampled(particles: Particles, step: Tensor, few: Tensor, resampler: Resampler) -> Particles:
    """Replace the particles of the sequences `few`; places keep their seeds, so that copies part ways."""
    batch, count = particles.log_weights.shape
    drawn = noise.uniform(particles.seed, step, streams=[noise.RESAMPLING], size=count)[0]
    places = torch.arange(count, device=few.device).expand(batch, count)
    chosen = torch.where(few[:, None], resampler(particles.log_weights, drawn), places)
    rows = (chosen + count * torch.arange(batch, device=few.device)[:, None]).reshape(-1)
    belief = particles.belief
    model: State = take(belief.model, rows)
    inference: State = take(belief.inference, rows)
    return Particles(
        belief=Belief(model=model, inference=inference, seed=belief.seed, step=belief.step),
        log_weights=torch.where(few[:, None], -math.log(count), particles.log_weights),
        seed=particles.seed,
    )
