"""vector-autoregressive: sensors that go on as they did, and move together.

    y_t = sum_k A_k y_{t-k} + m(z_t, ...) + W^-1 e_t       k = 1..order, y the standardised observation

The decoder says m and the log-variances of e's independent numbers; A and W, lower triangular with a diagonal of ones,
are the emission's own parameters. `begin` sets them to the least squares of the training data (Lütkepohl 2005, chapter
3), W D W' being the Cholesky form of its residuals' precision: so a filter begins where a vector autoregression is, and
what it learns is what that does not know.

Every channel is predicted given those before it, in one pass. A missing channel is taken at its expectation (inference)
or at a draw (what is fed back) given the channels before it, and those after it are scored as if that had been
observed: exact where it is the last one or W is the identity, an approximation elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from avf_core import autoregression
from avf_core.beliefs import State
from avf_core.distributions import Gaussian, Likelihood, at_least_float32
from avf_core.emissions import _building, base
from avf_core.emissions.base import MEMORY, Output, Units
from avf_core.errors import ConfigurationError
from avf_core.nets import MLP

SMALL = 0.1  # of what a decoder says at first
BEFORE, EXPECTED = f"{MEMORY}before", f"{MEMORY}expected"


@dataclass(frozen=True, kw_only=True)
class Config:
    """order: observations that a prediction hears. noise: the family of e, an emission of densities by its name."""

    order: int = 3
    noise: str = "gaussian"

    def __post_init__(self) -> None:
        if self.order < 1:
            raise ConfigurationError(f"order is {self.order}, expected at least 1")


EXAMPLES: Mapping[str, Config] = {"two": Config(order=2)}


@dataclass(frozen=True)
class Correlated:
    """A vector whose numbers are predicted one after another: y = mean + W^-1 e, in standardised units.

    `family` gives the likelihood of one of them from a mean and a log-variance.
    """

    expected: Float[Tensor, "... observation"]
    noise_log_variance: Float[Tensor, "... observation"]
    mixing: Float[Tensor, "... observation observation"]
    family: base.Moments
    units: Units

    def log_prob(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """log p of each number given those before it, in nats; a density in the units of x."""
        error = self.units.standardize(x).to(self.expected.dtype) - self.expected
        mixed = (self.mixing @ error[..., None])[..., 0]
        scaled = self.family.family(torch.zeros_like(mixed), self.noise_log_variance).log_prob(mixed)
        return scaled - 0.5 * self.units.restore_log_variance(torch.zeros_like(scaled))

    @property
    def mean(self) -> Float[Tensor, "... observation"]:
        """The expected observation."""
        return self.units.restore(self.expected)

    @cached_property
    def log_variance(self) -> Float[Tensor, "... observation"]:
        """Of each number, those before it unknown, where a variance of e is e^log-variance: of Gaussians."""
        identity = torch.eye(self.mixing.shape[-1], dtype=self.mixing.dtype, device=self.mixing.device)
        unmixing = torch.linalg.solve_triangular(self.mixing, identity, upper=False, unitriangular=True)
        variance = (unmixing.square() @ torch.exp(self.noise_log_variance)[..., None])[..., 0]
        return self.units.restore_log_variance(torch.log(variance))

    @property
    def deviation(self) -> Float[Tensor, "... observation"]:
        """The square root of that variance."""
        return torch.exp(0.5 * self.log_variance)

    def sample(self, uniform: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """Every number is the quantile, at its place in `uniform`, given those before it."""
        return self.complete(torch.zeros_like(uniform), torch.zeros_like(uniform, dtype=torch.bool), uniform)

    @property
    def marginal(self) -> Likelihood:
        """Each number alone, as a Gaussian."""
        return Gaussian(self.mean, self.log_variance)

    def complete(
        self,
        x: Float[Tensor, "... observation"],
        observed: Bool[Tensor, "... observation"],
        uniform: Float[Tensor, "... observation"] | None = None,
    ) -> Float[Tensor, "... observation"]:
        """`x`, with what is not observed at its expectation, or quantile, given the numbers before it."""
        values = self.units.standardize(torch.where(observed, x, 0.0)).to(self.expected.dtype)
        drawn = torch.zeros_like(values)
        if uniform is not None:
            noise = self.family.family(torch.zeros_like(self.expected), self.noise_log_variance)
            drawn = noise.sample(uniform.to(values.dtype))
        errors = torch.zeros_like(torch.broadcast_tensors(values, self.expected)[0])  # type: ignore[no-untyped-call]
        for i in range(values.shape[-1]):
            before = (errors * (self.mixing[..., i, :] * (torch.arange(values.shape[-1], device=x.device) < i))).sum(-1)
            error = torch.where(observed[..., i], values[..., i] - self.expected[..., i], drawn[..., i] - before)
            errors = torch.cat([errors[..., :i], error[..., None], errors[..., i + 1 :]], dim=-1)
        filled = self.units.restore(self.expected + errors)
        return torch.where(observed, x.to(filled.dtype), filled)


class Emission(base.Emission):
    """A vector autoregression beside the decoder, with correlated noise."""

    config: Config

    def __init__(self, config: Config, units: Units, size: int, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(config, units, size, shape)
        family = _building.build(config.noise, {}, units=replace(units, center=0.0, scale=1.0), size=size)
        if not isinstance(family, base.Moments) or family.of_levels:
            raise ConfigurationError(
                f"noise is {config.noise!r}, expected an emission of densities, such as 'gaussian'"
            )
        self.noise = family
        self.coefficients = nn.Parameter(torch.zeros(size, config.order * size))
        self.mixing = nn.Parameter(torch.eye(size))
        self.offset = nn.Parameter(torch.zeros(size))
        self.log_variance = nn.Parameter(torch.zeros(size))

    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """Small at first: what it says is beside the autoregression, which stands from the start."""
        head = self.noise.head(trunk, log_variance_range=log_variance_range)
        with torch.no_grad():
            for last in head.children():
                if isinstance(last, nn.Linear):
                    last.weight.mul_(SMALL)
                    last.bias.zero_()
        return head

    @torch.no_grad()
    def begin(self, sequences: Sequence[Float[ndarray, "_time observation"]]) -> None:
        """Set the autoregression to the least squares of these sequences."""
        order, long = self.config.order, [s for s in sequences if len(s) > self.config.order + self.size]
        if not long:
            return
        standardized = [self.standardize(torch.as_tensor(s, dtype=torch.float64)).numpy() for s in long]
        fitted = autoregression.vector_autoregression(standardized, order)
        factor = np.linalg.cholesky(fitted.covariance)
        spread = np.diag(factor)
        self.coefficients.copy_(torch.as_tensor(fitted.weights))
        self.offset.copy_(torch.as_tensor(fitted.offset))
        self.mixing.copy_(torch.as_tensor(np.linalg.inv(factor / spread)))
        self.log_variance.copy_(torch.as_tensor(2.0 * np.log(spread)))

    def initial(self, batch_size: int, *, like: Tensor) -> State:
        """The training data's center."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {BEFORE: like.new_zeros(batch_size, self.config.order * self.size, dtype=dtype)}

    def context(self, memory: State) -> State:
        """The memory, and what the autoregression expects after it."""
        before = memory[BEFORE]
        return {BEFORE: before, EXPECTED: before @ self.coefficients.t().to(before.dtype) + self.offset}

    def remember(self, context: State, x: Float[Tensor, "batch observation"]) -> State:
        """The last observations, standardised, the most recent one first."""
        before = context[BEFORE]
        return {BEFORE: torch.cat([self.standardize(x).to(before.dtype), before[..., : -self.size]], dim=-1)}

    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """The moments that the decoder says, about what the autoregression expects."""
        if not isinstance(output, Gaussian):
            raise TypeError(f"expected the moments of the observation, not {type(output).__name__}")
        mean = at_least_float32(output.mean)
        mixing = torch.tril(self.mixing, -1) + torch.eye(self.size, dtype=mean.dtype, device=mean.device)
        return Correlated(
            expected=mean + context[EXPECTED],
            noise_log_variance=at_least_float32(output.log_variance) + self.log_variance,
            mixing=mixing.expand(*mean.shape, self.size),
            family=self.noise,
            units=self.units,
        )
