"""Mixtures: what many weighted distributions say together, dimension by dimension.

    p(x) = sum_k W_k p_k(x)

The law: a mixture has the moments, probabilities and quantiles that it claims, whatever its components are; one
component alone is itself, bit for bit.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from avf_core.distributions import Bernoulli, FullGaussian, Gaussian, Likelihood, is_sequential
from avf_core.native import elements
from avf_core.recalibration import Recalibration, knows_changes

QUADRATURE = 256  # points, for likelihoods whose variance is not known in closed form
HALVINGS = 40  # of the bracket around a quantile


@dataclass(frozen=True)
class Mixture:
    """Distributions over the last axis, weighted: those of `components` lie along the axis before it.

    `log_weights` are normalised. All figures are marginal, for every dimension. With a `recalibration`, deviations,
    probabilities and quantiles are corrected by what they turned out to mean, and by what changed lately where the
    components know it.
    """

    components: Likelihood | FullGaussian
    log_weights: Float64[Tensor, "*batch components"]
    recalibration: Recalibration | None = None

    @property
    def mean(self) -> Float[Tensor, "*batch dimension"]:
        """The expected value."""
        return self._average(self.components.mean)

    @property
    def variance(self) -> Float[Tensor, "*batch dimension"]:
        """That within the components, and that between them."""
        whole = self._variance if self._stretch is None else self._stretch**2 * self._variance
        return whole if self.recalibration is None else self.recalibration.spread**2 * whole

    @property
    def deviation(self) -> Float[Tensor, "*batch dimension"]:
        """The standard deviation."""
        return self.variance.sqrt()

    @property
    def log_variance(self) -> Float[Tensor, "*batch dimension"]:
        """The logarithm of the variance."""
        found = self.variance
        return found.clamp(min=torch.finfo(found.dtype).tiny).log()

    @property
    def changes(self) -> tuple[Float[Tensor, "*batch dimension"], Float[Tensor, "*batch dimension"]] | None:
        """What changed between the last two observations, and the mean around it, where the components know it."""
        found = self.components.changes if knows_changes(self.components) else None
        return None if found is None else (self._average(found[0]), self._average(found[1]))

    @property
    def discrete(self) -> bool:
        """Whether values are zeros and ones, so that the mean says all: what has a deviation of its own are others."""
        return not hasattr(type(self.components), "deviation") and isinstance(self.marginals, Bernoulli)

    def log_prob(self, x: Float[Tensor, "*batch dimension"]) -> Float[Tensor, "*batch dimension"]:
        """log p(x_d) for every dimension d, in nats."""
        found = self.marginals.log_prob(x.unsqueeze(-2))
        return (found.double() + self.log_weights[..., None]).logsumexp(-2).to(found.dtype)

    def cdf(self, x: Float[Tensor, "*batch dimension"]) -> Float[Tensor, "*batch dimension"]:
        """The probability of values up to x."""
        said = self._said(x if self._stretch is None else self.mean + (x - self.mean) / self._stretch)
        return said if self.recalibration is None else self.recalibration.meaning(said)

    def quantile(self, level: float) -> Float[Tensor, "*batch dimension"]:
        """The value that is not exceeded with this probability, in (0, 1)."""
        return self.sample(torch.full_like(self.mean, level))

    def sample(self, uniform: Float[Tensor, "*batch dimension"]) -> Float[Tensor, "*batch dimension"]:
        """The quantiles at `uniform`, in (0, 1): by halving the bracket that those of the components make."""
        if self.recalibration is not None:
            uniform = self.recalibration.saying(uniform)
        of_each = self.marginals.sample(uniform.unsqueeze(-2).expand_as(self.components.mean))
        low, high = of_each.amin(-2), of_each.amax(-2)
        if of_each.shape[-2] == 1:
            return self._stretched(low)
        high = torch.where(self._said(low) >= uniform, low, high)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            below = self._said(middle) < uniform
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return self._stretched(high)

    def _said(self, x: Tensor) -> Tensor:
        return self._average(cdf(self.marginals, x.unsqueeze(-2)))

    def _average(self, values: Tensor) -> Tensor:
        if (native := elements.mixed(values, None, self._weights.squeeze(-1))) is not None:
            return native[0]
        return (self._weights * values.double()).sum(-2).to(values.dtype)

    def _stretched(self, x: Tensor) -> Tensor:
        return x if self._stretch is None else self.mean + self._stretch * (x - self.mean)

    @cached_property
    def _stretch(self) -> Float[Tensor, "*batch dimension"] | None:
        """How much wider than the components say, by what changed lately."""
        known = None if self.recalibration is None else self.recalibration.stretch
        changes = None if known is None else self.changes
        if known is None or changes is None:
            return None
        return known.of(*changes, self._variance.sqrt()).to(self._variance.dtype)

    @cached_property
    def _variance(self) -> Float[Tensor, "*batch dimension"]:
        """As the components say it."""
        within, means = variance(self.components), self.components.mean
        native = elements.mixed(means, within, self._weights.squeeze(-1))
        if native is None or native[1] is None:
            return self._average(within + (means - self.mean.unsqueeze(-2)) ** 2)
        return native[1]

    @cached_property
    def _weights(self) -> Float64[Tensor, "*batch components 1"]:
        return self.log_weights.exp()[..., None]

    @cached_property
    def marginals(self) -> Likelihood:
        """The components, dimension by dimension, also where dimensions hear each other."""
        if is_sequential(self.components):
            return self.components.marginal
        if isinstance(self.components, FullGaussian):
            return Gaussian(self.components.mean, self.components.log_variance)
        return self.components


def variance(distribution: Any) -> Tensor:
    """The variance in every dimension; by quantiles where it has no closed form here."""
    if is_sequential(distribution):
        deviation = getattr(distribution, "deviation", None)
        return variance(distribution.marginal) if deviation is None else deviation.square()
    if isinstance(distribution, Bernoulli):
        return distribution.mean * (1.0 - distribution.mean)
    log_variance = getattr(distribution, "log_variance", None)
    if isinstance(log_variance, Tensor):
        return log_variance.exp()
    mean = distribution.mean
    levels = ((torch.arange(QUADRATURE) + 0.5) / QUADRATURE).tolist()
    squares = [(distribution.sample(torch.full_like(mean, level)) - mean) ** 2 for level in levels]
    return torch.stack(squares).mean(0)


def cdf(distribution: Any, x: Tensor) -> Tensor:
    """P(X <= x) in every dimension, of bins that of their Gaussian; by halving where it has no closed form here."""
    if isinstance(distribution, Bernoulli):
        return torch.where(x < 0.0, 0.0, torch.where(x < 1.0, 1.0 - distribution.mean, 1.0))
    if hasattr(distribution, "cdf"):
        known: Tensor = distribution.cdf(x)
        return known
    log_variance = getattr(distribution, "log_variance", None)
    if isinstance(log_variance, Tensor):
        below: Tensor = torch.special.ndtr((x - distribution.mean) * torch.exp(-0.5 * log_variance))
        return below
    low, high = torch.zeros_like(distribution.mean + x), torch.ones_like(distribution.mean + x)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        inside = distribution.sample(middle) <= x
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return low
