"""Distributions over latents and observations, as values: frozen dataclasses of tensors.

Every distribution is over the last axis. `log_prob` and `kl` of the factorised ones are per dimension, in nats, so
that masks and sums stay with the caller.
"""

import math
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from avf_core import intervals

LOG_2PI = math.log(2.0 * math.pi)
LATENT_LOG_VARIANCE = (-15.0, 5.0)  # what log-variances of latents are clamped to
AUTHORS_FLOOR = 1e-6  # -log of it is 13.8 nats


@runtime_checkable
class Likelihood(Protocol):
    """p(x_t | x_<t, z_<=t): what an observation model returns."""

    @property
    def mean(self) -> Float[Tensor, "... observation"]:
        """The expected observation."""
        ...

    def log_prob(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """log p(x_d) for every dimension d, in nats."""
        ...

    def sample(self, uniform: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """The observation whose cumulative probability is `uniform`, for every dimension."""
        ...


@runtime_checkable
class Sloped(Likelihood, Protocol):
    """A likelihood by moments, whose log-probability has its derivatives written out."""

    def log_prob_slopes(self, x: Float[Tensor, "... observation"]) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x_d), and its derivatives by the mean and by the log-variance of dimension d."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with diagonal covariance, by mean and log-variance.

    It serves as prior and posterior of the latent, and as a likelihood by density.
    """

    mean: Float[Tensor, "... dimension"]
    log_variance: Float[Tensor, "... dimension"]

    @property
    def deviation(self) -> Float[Tensor, "... dimension"]:
        """The standard deviation."""
        return torch.exp(0.5 * self.log_variance)

    def transform(self, noise: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """Turn standard normal noise into a sample, differentiably (Kingma & Welling 2014)."""
        return self.mean + self.deviation * noise

    def sample(self, uniform: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """The quantiles at `uniform`, in (0, 1)."""
        return self.transform(_normal_quantile(uniform))

    def log_prob(self, x: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """log N(x; mean, variance) for every dimension, in nats."""
        return -0.5 * (LOG_2PI + self.log_variance + (x - self.mean) ** 2 * torch.exp(-self.log_variance))

    def log_prob_slopes(self, x: Float[Tensor, "... dimension"]) -> tuple[Tensor, Tensor, Tensor]:
        """`log_prob`, and its derivatives by the mean and by the log-variance."""
        error, precision = x - self.mean, torch.exp(-self.log_variance)
        by_mean = error * precision
        squares = error * by_mean
        return -0.5 * (LOG_2PI + self.log_variance + squares), by_mean, 0.5 * (squares - 1.0)

    def kl(self, other: "Gaussian") -> Float[Tensor, "... dimension"]:
        """KL(self || other) for every dimension, in nats."""
        difference = self.log_variance - other.log_variance
        distance = (self.mean - other.mean) ** 2 * torch.exp(-other.log_variance)
        return 0.5 * (torch.exp(difference) - difference - 1.0 + distance)

    def total_kl(self, other: "Gaussian | FullGaussian") -> Float[Tensor, "..."]:
        """KL(self || other) summed over the dimensions, in nats."""
        if isinstance(other, FullGaussian):
            return FullGaussian(self.mean, torch.diag_embed(self.deviation)).total_kl(other)
        return self.kl(other).sum(-1)


@dataclass(frozen=True)
class OneHot(Gaussian):
    """One of several, as a vector with a single one: by the moments of every entry. The mean is the probabilities."""

    @classmethod
    def of(cls, probabilities: Float[Tensor, "... dimension"]) -> "OneHot":
        """By the probability of every entry."""
        variance = probabilities * (1.0 - probabilities)
        return cls(probabilities, variance.clamp(min=torch.finfo(variance.dtype).tiny).log())

    def transform(self, noise: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """A vector drawn: the entry at which the cumulative probability passes the first number's quantile."""
        uniform: Tensor = torch.special.ndtr(noise[..., :1].double())
        cumulative = self.mean.double().cumsum(-1)
        place = torch.searchsorted(cumulative / cumulative[..., -1:], uniform.expand(*cumulative.shape[:-1], 1))
        chosen = torch.zeros_like(self.mean.expand(*cumulative.shape))
        return chosen.scatter(-1, place.clamp(max=chosen.shape[-1] - 1), 1.0)

    def total_kl(self, other: "Gaussian | FullGaussian") -> Float[Tensor, "..."]:
        """KL(self || other) in nats, of the probabilities."""
        own, others = (of.mean.clamp(min=torch.finfo(of.mean.dtype).tiny).log() for of in (self, other))
        return (self.mean * (own - others)).sum(-1)


@dataclass(frozen=True)
class Point(Gaussian):
    """A latent that is the mean, for certain: what `log_variance` says is not heard."""

    def transform(self, noise: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """The mean, whatever the noise."""
        return self.mean.expand_as(noise)

    def total_kl(self, other: "Gaussian | FullGaussian") -> Float[Tensor, "..."]:
        """0: there is nothing to be told beside what was known."""
        return self.mean.new_zeros(self.mean.shape[:-1])


@dataclass(frozen=True)
class DiscretizedGaussian:
    """Observations on a grid whose spacing is `bin`, each with the probability of the Gaussian's bin around it.

    log_prob(x) = log[cdf(x + bin / 2) - cdf(x - bin / 2)] is a log-probability, never above 0, accurate and with an
    accurate gradient at any distance from the mean (see `intervals`). It is computed in at least float32.
    """

    mean: Float[Tensor, "... dimension"]
    log_variance: Float[Tensor, "... dimension"]
    bin: float  # in units of the observation

    def log_prob(self, x: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """log P of the bin around x for every dimension, in nats."""
        return intervals.log_probability(x, self.mean, self.log_variance, width=self.bin)

    def log_prob_slopes(self, x: Float[Tensor, "... dimension"]) -> tuple[Tensor, Tensor, Tensor]:
        """`log_prob`, and its derivatives by the mean and by the log-variance."""
        return intervals.log_probability_slopes(x, self.mean, self.log_variance, width=self.bin)

    def sample(self, uniform: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """The Gaussian's quantiles at `uniform`, not rounded: where the grid begins is the data's affair."""
        return Gaussian(self.mean, self.log_variance).sample(uniform)


@dataclass(frozen=True)
class AuthorsDiscretizedGaussian:
    """The discretised Gaussian as Marino, Cvitkovic & Yue (2018) compute it, for comparison with their figures.

    log_prob(x) = log[cdf(x + bin / 2) - cdf(x - bin / 2) + 1e-6] costs at most 13.8 nats a dimension, and its gradient
    vanishes a few deviations out; of bins much smaller than the deviation, rounding leaves little in float32. Use
    `DiscretizedGaussian` for anything else. Computed in at least float32.
    """

    mean: Float[Tensor, "... dimension"]
    log_variance: Float[Tensor, "... dimension"]
    bin: float  # in units of the observation

    def log_prob(self, x: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """log(P + 1e-6) of the bin around x for every dimension, in nats."""
        precision = torch.exp(-0.5 * at_least_float32(self.log_variance))
        distance = at_least_float32(x) - at_least_float32(self.mean)
        above = torch.special.ndtr((distance + 0.5 * self.bin) * precision)
        below = torch.special.ndtr((distance - 0.5 * self.bin) * precision)
        return torch.log(above - below + AUTHORS_FLOOR)

    def sample(self, uniform: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """The Gaussian's quantiles at `uniform`, not rounded."""
        return Gaussian(self.mean, self.log_variance).sample(uniform)


@dataclass(frozen=True)
class FullGaussian:
    """A Gaussian with full covariance, by mean and the lower Cholesky factor of its covariance."""

    mean: Float[Tensor, "... dimension"]
    scale: Float[Tensor, "... dimension dimension"]

    @property
    def log_variance(self) -> Float[Tensor, "... dimension"]:
        """The logarithm of the marginal variances."""
        return self.scale.pow(2).sum(-1).log()

    def transform(self, noise: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """Turn standard normal noise into a sample."""
        return self.mean + (self.scale @ noise[..., None])[..., 0]

    def sample(self, uniform: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """The sample whose noise has these quantiles, in (0, 1)."""
        return self.transform(_normal_quantile(uniform))

    def log_prob(self, x: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """log p(x_d | x_<d) for every dimension d, which sum to that of the whole, in nats."""
        error = (x - self.mean)[..., None]
        whitened: Tensor = torch.linalg.solve_triangular(self.scale, error, upper=False)[..., 0]
        return -0.5 * (LOG_2PI + whitened**2) - self.scale.diagonal(dim1=-2, dim2=-1).log()

    def total_kl(self, other: "Gaussian | FullGaussian") -> Float[Tensor, "..."]:
        """KL(self || other) in nats."""
        log_determinant = 2.0 * self.scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        if isinstance(other, FullGaussian):
            apart = torch.cat([self.scale, (self.mean - other.mean)[..., None]], dim=-1)
            whitened: Tensor = torch.linalg.solve_triangular(other.scale, apart, upper=False)
            others = 2.0 * other.scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            return 0.5 * (whitened.pow(2).sum((-2, -1)) - self.mean.shape[-1] + others - log_determinant)
        squares = torch.exp(self.log_variance) + (self.mean - other.mean) ** 2
        terms = squares * torch.exp(-other.log_variance) + other.log_variance - 1.0
        return 0.5 * (terms.sum(-1) - log_determinant)


AnyGaussian = Gaussian | FullGaussian
"""Priors and posteriors."""


def log_density(of: AnyGaussian, z: Float[Tensor, "... dimension"]) -> Float64[Tensor, "..."]:
    """log of the density at z, of all dimensions together, in nats."""
    if isinstance(of, Gaussian):
        return of.log_prob(z).double().sum(-1)
    scale = of.scale.double()
    error = (z - of.mean).double()[..., None]
    whitened = torch.linalg.solve_triangular(scale, error, upper=False)[..., 0]
    log_determinant = scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_prob: Tensor = -0.5 * (LOG_2PI + whitened**2).sum(-1) - log_determinant
    return log_prob


@dataclass(frozen=True)
class Bernoulli:
    """Independent binary observations, by logits: the likelihood of piano rolls."""

    logits: Float[Tensor, "... observation"]

    @property
    def mean(self) -> Float[Tensor, "... observation"]:
        """The probability of a one."""
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """log p(x_d) for every dimension, in nats."""
        return x * self.logits - F.softplus(self.logits)

    def sample(self, uniform: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """One where `uniform` lies above the probability of a zero."""
        return (uniform > torch.sigmoid(-self.logits)).to(self.logits.dtype)


def at_least_float32(value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The value in its own precision, or in float32 where that is higher: log-probabilities need it."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


@runtime_checkable
class Sequential(Protocol):
    """A likelihood whose dimensions hear those before them, so that what is missing is filled one by one."""

    @property
    def marginal(self) -> Likelihood:
        """Each dimension alone, the others unknown."""
        ...

    def complete(
        self,
        x: Float[Tensor, "... observation"],
        observed: Bool[Tensor, "... observation"],
        uniform: Float[Tensor, "... observation"] | None = None,
    ) -> Float[Tensor, "... observation"]:
        """`x` where observed; else the expectation, or the quantile at `uniform`, given the dimensions before."""
        ...


def is_sequential(likelihood: object) -> TypeGuard[Sequential]:
    """Whether a likelihood is one of these: by its class, as what is one by one may make its marginal to be asked."""
    return hasattr(type(likelihood), "complete")


def completed(
    likelihood: Likelihood,
    x: Float[Tensor, "... observation"],
    observed: Bool[Tensor, "... observation"],
    uniform: Float[Tensor, "... observation"] | None = None,
) -> Float[Tensor, "... observation"]:
    """`x` where observed; else what the likelihood expects, or its sample at `uniform`."""
    if is_sequential(likelihood):
        return likelihood.complete(x, observed, uniform)
    return torch.where(observed, x, likelihood.mean if uniform is None else likelihood.sample(uniform))


def reconstruction(
    likelihood: Likelihood, x: Float[Tensor, "... observation"], observed: Bool[Tensor, "... observation"] | None
) -> Float[Tensor, "..."]:
    """-log p(x) of the dimensions that are `observed`, all where that is None, summed, in nats."""
    log_prob = likelihood.log_prob(x)
    if observed is not None:
        log_prob = torch.where(observed, log_prob, 0.0)
    return -log_prob.sum(-1)


def _normal_quantile(uniform: Tensor) -> Tensor:
    """The standard normal quantile; a number that was rounded to 0 or 1 is not sent to infinity."""
    margin = 0.5 * torch.finfo(uniform.dtype).eps
    inside = at_least_float32(uniform.clamp(margin, 1.0 - margin))
    quantile: Tensor = torch.special.ndtri(inside)
    return quantile.to(uniform.dtype)
