"""Many weighted rows a sequence: sequential Monte Carlo with the filter's posterior as its proposal.

    log w_t = log p(x_t | x_<t, z_<=t) + log p(z_t | x_<t, z_<t) - log q(z_t | x_<=t, z_<t)

Maddison et al., "Filtering variational objectives" (2017). With resampling this is a particle filter; without it the
weights accumulate, and the evidence is that of the importance-weighted bound (Burda, Grosse & Salakhutdinov 2016).
A row carries one *sample* of the past; the particles together represent p(z_t | x_<=t), so that predictions and
evidences from them converge to the model's own as their number grows.

The law: particles are rows. A belief of them has an axis of particles after that of sequences; it is filtered as one of
so many more rows, each with a seed of its own that comes from the sequence's.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import Belief
from avf_core.distributions import FullGaussian, Gaussian, log_density
from avf_core.trees import Tree, tree_map, where

MOST = 1024  # particles of a sequence in a session
LOWEST = -1e6  # a particle of no weight: e to this power is zero, and it is stored as a finite number


def of_rows(rows: Belief, seed: Int64[Tensor, " batch"], count: int) -> Belief:
    """The belief whose particles are these equally weighted rows, those of a sequence beside each other."""
    weights = torch.full((len(seed), count), -math.log(count), dtype=torch.float64, device=seed.device)
    return Belief(
        model=folded(rows.model, count),
        inference=folded(rows.inference, count),
        seed=seed,
        step=torch.zeros_like(seed),
        particles={"log_weights": weights},
    )


def seeds_of(seed: Int64[Tensor, " batch"], count: int) -> Int64[Tensor, "batch count"]:
    """The seeds of a sequence's particles. The first has the sequence's own: it alone is the row of the filter."""
    own = path_seeds(seed, torch.zeros_like(seed), count)
    own[:, 0] = seed
    return own


def path_seeds(
    seed: Int64[Tensor, " batch"], step: Int64[Tensor, " batch"], count: int
) -> Int64[Tensor, "batch count"]:
    """Seeds of a row's paths, hashed from the row's own and its step; the first few of many are those of few."""
    return noise.words(seed, step, streams=[noise.PATHS], count=count)[0]


def rows_of(belief: Belief) -> Belief:
    """Every particle as a row of its own: what the filter steps. A belief without particles as it is."""
    if not belief.particles:
        return belief
    count = belief.particle_count
    return Belief(
        model=unfolded(belief.model),
        inference=unfolded(belief.inference),
        seed=seeds_of(belief.seed, count).reshape(-1),
        step=belief.step.repeat_interleave(count),
    )


def rejoined(rows: Belief, before: Belief) -> Belief:
    """The belief of these rows after a step, as particles of the sequences that they were before; same weights."""
    if not before.particles:
        return rows
    count = before.particle_count
    return replace(
        before, model=folded(rows.model, count), inference=folded(rows.inference, count), step=before.step + 1
    )


def folded(tree: Tree, count: int) -> Tree:
    """With an axis of particles after that of sequences, instead of a row each."""
    return tree_map(lambda tensor: tensor.unflatten(0, (-1, count)), tree)


def unfolded(tree: Tree) -> Tree:
    """With a row for each particle."""
    return tree_map(lambda tensor: tensor.flatten(0, 1), tree)


def each_particle(tree: Tree, count: int) -> Tree:
    """Each row so many times, once for each particle."""
    return tree if count == 1 else tree_map(lambda tensor: tensor.repeat_interleave(count, 0), tree)


def averaged(rows: Float[Tensor, "rows ..."], log_weights: Float64[Tensor, "batch particles"]) -> Float[Tensor, "..."]:
    """The mean of each sequence's particles, by their weights."""
    weights = log_weights.exp().reshape(*log_weights.shape, *[1] * (rows.ndim - 1))
    return (weights * folded(rows, log_weights.shape[1]).double()).sum(1).to(rows.dtype)


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


def effective(log_weights: Float64[Tensor, "*batch particles"]) -> Float64[Tensor, "*batch"]:
    """The effective sample size: 1 / sum of squared weights."""
    return torch.exp(-(2.0 * log_weights).logsumexp(-1))


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


def resampled(belief: Belief, step: Int64[Tensor, " batch"], few: Bool[Tensor, " batch"]) -> Belief:
    """The belief after this step with the particles of the sequences `few` drawn anew, systematically.

    Places keep their seeds, so that copies part ways.
    """
    log_weights = belief.particles["log_weights"]
    drawn = noise.uniform(belief.seed, step, streams=[noise.RESAMPLING], size=log_weights.shape[1])[0]
    chosen = systematic(log_weights, drawn)

    def choose(tensor: Tensor) -> Tensor:
        places = chosen.reshape(*chosen.shape, *[1] * (tensor.ndim - 2)).expand(-1, -1, *tensor.shape[2:])
        return tensor.gather(1, places)

    model, inference, past = tree_map(choose, (belief.model, belief.inference, belief.past))
    even = {"log_weights": torch.full_like(log_weights, -math.log(log_weights.shape[1]))}
    return where(few, replace(belief, model=model, inference=inference, past=past, particles=even), belief)
