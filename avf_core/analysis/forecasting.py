"""What comes next: sample paths of the model from a belief, and values for what was not observed.

A path samples the latent from the prior and the observation from the likelihood, feeds both back, and goes on. What
it is a forecast of depends on what it starts from. A belief of one row holds one sample of the past latents, so the
paths are draws from p(x_t+1..t+k | x_<=t, z_<=t), *conditional on that sample*. Particles represent the latents'
whole posterior: paths from a belief of them are draws from p(x_t+1..t+k | x_<=t), the Kalman predictive for a linear
Gaussian model. So are paths from a belief of a procedure that keeps the past in closed form (`inference.kalman`).

The law: a forecast leaves the belief as it is, and depends on it only. Path j of a row has a seed of its own, hashed
from (row's seed, row's step, j), so it is the same alone, in a batch, and among more paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import Belief
from avf_core.distributions import Likelihood, completed
from avf_core.drives import Drive
from avf_core.errors import ConfigurationError, ObservationError
from avf_core.filtering import Filter
from avf_core.mixtures import Mixture, variance
from avf_core.particles import each_particle, folded, path_seeds, rows_of, systematic, unfolded
from avf_core.trees import take, tree_map

CHUNK = 4096  # paths that are simulated at once
Feedback = Literal["sample", "mean"]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Sample paths of the next `horizon` observations, and their moments.

    `mean` and `variance` are those of the mixture of the paths' likelihoods (Rao and Blackwell): less noisy than
    those of `paths`, whose observations are drawn.
    """

    paths: Float[Tensor, "horizon batch paths observation"]
    mean: Float[Tensor, "horizon batch observation"]
    variance: Float[Tensor, "horizon batch observation"]

    def quantiles(self, levels: Sequence[float]) -> Float[Tensor, "levels horizon batch observation"]:
        """Quantiles of every dimension at these levels in [0, 1]."""
        return quantiles(self.paths, levels)

    def interval(self, coverage: float) -> Float[Tensor, "2 horizon batch observation"]:
        """The lower and upper end of the central interval that holds an observation with this probability."""
        return self.quantiles([0.5 - 0.5 * coverage, 0.5 + 0.5 * coverage])


@torch.no_grad()
def forecast(
    filter: Filter,
    belief: Belief,
    *,
    horizon: int,
    paths: int = 100,
    feedback: Feedback = "sample",
    inputs: Float[Tensor, "horizon batch inputs"] | None = None,
    dt: Float[Tensor, "horizon batch"] | None = None,
) -> Forecast:
    """The next `horizon` observations, by `paths` sample paths for every row of a belief; from its particles, if any.

    `feedback` says what the model hears of its own observations on the way: the sample, as it would in truth, or the
    likelihood's mean. A forecast is one under given `inputs`, for a model that takes them, and for the times at which
    `dt` says that the observations come, for one that is timed. Raises ConfigurationError unless horizon and paths are
    at least 1, InputError and TimeStepError where inputs and dt do not fit.
    """
    if horizon < 1 or paths < 1:
        raise ConfigurationError(f"horizon={horizon}, paths={paths}: each must be at least 1")
    batch, count = int(belief.seed.shape[0]), int(belief.seed.shape[0]) * paths
    origin = torch.arange(count, device=belief.seed.device) // paths
    held, rows = _starts(belief, paths, origin)
    drive = filter.drive(belief, inputs=inputs, dt=dt, time=(horizon,))
    seeds = path_seeds(belief.seed, belief.step, paths).reshape(-1)
    steps = belief.step[origin]
    drawn, parts = [], []
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        driven = tree_map(lambda tensor, chosen=origin[part]: tensor[:, chosen], drive)
        x, moments = _simulate(filter, take(held, rows[part]), seeds[part], steps[part], driven, horizon, feedback)
        drawn.append(x)
        parts.append(moments.new_zeros(3, horizon, batch, x.shape[-1]).index_add(2, origin[part], moments))
    mean, square, variance = torch.stack(parts).sum(0) / paths
    joined = torch.cat(drawn, 1)
    return Forecast(
        paths=joined.reshape(horizon, batch, paths, -1),
        mean=mean.to(joined.dtype),
        variance=(variance + square - mean**2).clamp(min=0.0).to(joined.dtype),
    )


@torch.no_grad()
def generate(
    filter: Filter,
    seeds: Int64[Tensor, " batch"],
    *,
    time: int,
    inputs: Float[Tensor, "time batch inputs"] | None = None,
    dt: Float[Tensor, "time batch"] | None = None,
) -> Float[Tensor, "time batch observation"]:
    """Sequences drawn from the model, one for each seed, under these inputs and at these times."""
    return forecast(filter, filter.initial(seeds), horizon=time, paths=1, inputs=inputs, dt=dt).paths[:, :, 0]


def quantiles(
    samples: Float[Tensor, "*time batch paths observation"], levels: Sequence[float]
) -> Float[Tensor, "levels *time batch observation"]:
    """Quantiles over the paths, the k-th smallest of n at level k / (n + 1), linear between (Hyndman & Fan's type 6).

    A new draw of the same distribution falls below a quantile with its level's probability, however few the paths
    are, as long as 1 <= level (n + 1) <= n.
    """
    if not levels or min(levels) < 0.0 or max(levels) > 1.0:
        raise ConfigurationError(f"quantiles at {list(levels)}, expected one level or more, each in [0, 1]")
    ordered = samples.sort(-2).values
    count = samples.shape[-2]
    chosen = []
    for level in levels:
        place = min(max(level * (count + 1) - 1.0, 0.0), count - 1.0)
        below = int(place)
        above = min(below + 1, count - 1)
        low, high = ordered[..., below, :], ordered[..., above, :]
        chosen.append(low + (place - below) * (high - low))
    return torch.stack(chosen)


@dataclass(frozen=True, kw_only=True)
class Imputation:
    """What may have stood where nothing was observed, given what was observed *up to the same step*.

    `samples` are the values with which the paths went on (where a value was observed, that value). `mean` is that of
    the paths' likelihoods, and what was observed elsewhere: the filled sequence.
    """

    samples: Float[Tensor, "time batch paths observation"]
    mean: Float[Tensor, "time batch observation"]

    def quantiles(self, levels: Sequence[float]) -> Float[Tensor, "levels time batch observation"]:
        """Quantiles of every value at these levels in [0, 1]; all the same where it was observed."""
        return quantiles(self.samples, levels)


@torch.no_grad()
def impute(
    filter: Filter,
    xs: Float[Tensor, "time batch observation"],
    observed: Bool[Tensor, "time batch observation"],
    *,
    seeds: Int64[Tensor, " batch"],
    inputs: Float[Tensor, "time batch inputs"] | None = None,
    dt: Float[Tensor, "time batch"] | None = None,
    paths: int = 100,
    weighted: bool = True,
    iterations: int | None = None,
) -> Imputation:
    """Filter sequences with gaps, `paths` times each, and keep what the paths put in the gaps.

    Each path goes on with its own draws. `weighted`: the paths are weighted, and resampled, as particles are, so that
    with many of them the samples at step t come from p(missing x_t | observed x_<=t); else they are those of the
    filter's variational posterior. Values of `xs` that are not observed are ignored, NaN included; `inputs` and `dt`
    are those of `Filter.scan`. Raises ObservationError where the observations do not fit, ConfigurationError for fewer
    than one path.
    """
    if xs.ndim != 3 or xs.shape != observed.shape or xs.shape[0] == 0:
        raise ObservationError(
            f"xs has shape {tuple(xs.shape)} and observed {tuple(observed.shape)}, "
            "expected the same (time, batch, observation) with time > 0"
        )
    belief = filter.spread(seeds, particles=paths)
    drive = filter.drive(belief, inputs=inputs, dt=dt, time=(len(xs),))
    samples, means = [], []
    for t, (x, mask) in enumerate(zip(xs, observed, strict=True)):
        before, now = belief, take(drive, t)
        belief, estimate = filter.step(
            before,
            x,
            observed=mask,
            inputs=now.inputs,
            dt=now.dt,
            iterations=iterations,
            threshold=0.5 if weighted else 0.0,
        )
        if not weighted:
            belief = replace(belief, particles=before.particles)
        drawn, mean = _filled(before, estimate.likelihood, x, mask, weighted=weighted)
        samples.append(torch.where(mask[:, None], x[:, None], drawn))
        means.append(torch.where(mask, x, mean))
    return Imputation(samples=torch.stack(samples), mean=torch.stack(means))


def _filled(
    before: Belief, likelihood: Likelihood | Mixture, x: Tensor, observed: Tensor, *, weighted: bool
) -> tuple[Float[Tensor, "batch paths observation"], Float[Tensor, "batch observation"]]:
    """The values with which `Filter.step` filled the gaps, as equally weighted samples, and their weighted mean."""
    rows, paths = rows_of(before), before.particle_count
    each = unfolded(likelihood.components) if isinstance(likelihood, Mixture) else likelihood
    known, seen = each_particle((torch.where(observed, x, 0.0), observed), paths)
    uniform = _uniform(each, rows.seed, rows.step, noise.IMPUTATION)
    drawn = folded(completed(each, known, seen, uniform), paths)
    expected = folded(completed(each, known, seen), paths)
    if not isinstance(likelihood, Mixture):
        return drawn, expected[:, 0]
    log_weights = likelihood.log_weights if weighted else before.particles["log_weights"]
    mean = torch.einsum("bp,bpo->bo", log_weights.exp(), expected.double()).to(expected.dtype)
    if weighted:
        start = noise.uniform(before.seed, before.step, streams=[noise.ANCESTORS], size=1)[0]
        chosen = systematic(log_weights, start.expand(-1, paths))
        drawn = torch.take_along_dim(drawn, chosen[..., None], 1)
    return drawn, mean


def _starts(belief: Belief, paths: int, origin: Tensor) -> tuple[Belief, Int64[Tensor, " paths"]]:
    """Rows of a belief, and which of them each path starts from: of particles, as often as their weights say."""
    if not belief.particles:
        return belief, origin
    start = noise.uniform(belief.seed, belief.step, streams=[noise.ANCESTORS], size=1)[0]
    chosen = systematic(belief.particles["log_weights"], start.expand(-1, paths))
    return rows_of(belief), chosen.reshape(-1) + belief.particle_count * origin


def _simulate(
    filter: Filter, belief: Belief, seed: Tensor, step: Tensor, drive: Drive, horizon: int, feedback: Feedback
) -> tuple[Float[Tensor, "horizon rows observation"], Float64[Tensor, "3 horizon rows observation"]]:
    """Observations drawn from the model, with mean, squared mean and variance of the likelihoods they came from."""
    model = filter.model
    now = take(drive, 0)
    context, prior = filter.predict(belief, inputs=now.inputs, dt=now.dt)
    drawn, moments = [], []
    for ahead in range(horizon):
        size = prior.mean.shape[-1]
        eps = noise.standard_normal(seed, step + ahead, streams=[noise.FORECAST_LATENT], size=size)[0]
        z = prior.transform(eps.to(prior.mean.dtype))
        likelihood = model.decode(context, z)
        mean = likelihood.mean
        x = _drawn(likelihood, seed, step + ahead, noise.FORECAST_OBSERVATION)
        drawn.append(x)
        moments.append(torch.stack([mean.double(), mean.double() ** 2, variance(likelihood).double()]))
        if ahead + 1 < horizon:
            state = model.transition(context, x if feedback == "sample" else mean, z)
            context, prior = model.predict(state, take(drive, ahead + 1))
    return torch.stack(drawn), torch.stack(moments, 1)


def _drawn(likelihood: Likelihood, seed: Tensor, step: Tensor, stream: int) -> Tensor:
    """A sample of the observation, on noise of a stream."""
    return likelihood.sample(_uniform(likelihood, seed, step, stream))


def _uniform(likelihood: Likelihood, seed: Tensor, step: Tensor, stream: int) -> Tensor:
    """The noise of a sample."""
    mean = likelihood.mean
    uniform = noise.uniform(seed, step, streams=[stream], size=mean.shape[-1])[0]
    below_one = 1.0 - 0.5 * torch.finfo(mean.dtype).eps  # to which a number below one may be rounded up
    return uniform.to(mean.dtype).clamp(max=below_one)
