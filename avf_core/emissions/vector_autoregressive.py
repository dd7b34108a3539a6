"""vector-autoregressive: sensors that go on as they did, and move together.

    y_t = c + sum_k A_k y_{t-k} + B i_t + W^-1 S u_t,   u_t ~ what the decoder says      y the standardised observation

The lags k are those up to `order`; with a `period`, also the ones from a period ago up to `order` later, whose
observations lie as far back as the ones that a seasonal model hears (Box & Jenkins 1970, chapter 9). i_t are a model's
`inputs`, where it says that there are so many.

c, A, B, W, lower triangular with a diagonal of ones, and S, diagonal, are the emission's own parameters. `begin` sets
them to the least squares of the training data (Lütkepohl 2005, chapter 3), W and S being the Cholesky form of its
residuals' precision: so a filter begins near a vector autoregression, and what it learns is what that does not know.
The decoder says the distribution of u's independent numbers, near the standard one at first, by the emission named
`noise`: where it is a mixture, what may come next can be skewed, or be one of several values.

Every channel is predicted given those before it, in one pass. A missing channel is taken at its expectation (inference)
or at a draw (what is fed back) given the channels before it, and those after it are scored as if that had been
observed: exact where it is the last one or W is the identity, an approximation elsewhere.
"""

import math
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
SHARPEST = -7.0  # the least logarithm of S: a thousandth of a channel's scale
NOISE_LOG_VARIANCE = (-8.0, 8.0)  # of u
BEFORE, EXPECTED = f"{MEMORY}before", f"{MEMORY}expected"


@dataclass(frozen=True, kw_only=True)
class Config:
    """order: observations that a prediction hears. period: how far back a season lies, 0 for none.

    inputs: how many inputs move what is expected, linearly; those of the model. ridge: what the weights of lags cost
    where `begin` sets them, squared, beside the mean square error of a step.

    noise: the family of u, an emission of densities that remembers nothing, by its name. held: what is expected stays
    the least squares of the data, and u, of whatever shape, has mean 0: else densities are made sharp at the cost of
    means, and forecasts are of means.
    """

    order: int = 3
    period: int = 0
    inputs: int = 0
    ridge: float = 0.0
    noise: str = "gaussian"
    held: bool = False

    def __post_init__(self) -> None:
        if self.order < 1 or self.inputs < 0:
            raise ConfigurationError(f"order is {self.order} and inputs {self.inputs}, expected at least 1, and 0")
        if not self.ridge >= 0.0:
            raise ConfigurationError(f"ridge is {self.ridge}, expected 0 or more")
        if self.period != 0 and self.period <= self.order:
            raise ConfigurationError(f"period is {self.period}, expected 0, or more than the order, {self.order}")

    @property
    def lags(self) -> tuple[int, ...]:
        """How long ago what a prediction hears was observed, in steps."""
        return autoregression.lags(self.order, self.period)


EXAMPLES: Mapping[str, Config] = {
    "two": Config(order=2),
    "season": Config(order=1, period=4),
    "mixture": Config(order=1, noise="mixture"),
    "held": Config(order=1, noise="mixture", held=True),
}


@dataclass(frozen=True)
class Centred:
    """A distribution moved so that its mean is 0."""

    moved: Likelihood

    @property
    def mean(self) -> Float[Tensor, "... observation"]:
        """0."""
        return torch.zeros_like(self.moved.mean)

    @property
    def log_variance(self) -> Float[Tensor, "... observation"]:
        """As it was."""
        found: Tensor = self.moved.log_variance  # type: ignore[attr-defined]
        return found

    def log_prob(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """log p of each number, in nats."""
        return self.moved.log_prob(x + self.moved.mean)

    def sample(self, uniform: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """The quantiles at `uniform`."""
        return self.moved.sample(uniform) - self.moved.mean


@dataclass(frozen=True)
class Correlated:
    """A vector whose numbers are predicted one after another: y = expected + W^-1 S u, in standardised units.

    `noise` is the distribution of u, `log_scale` the logarithm of S's diagonal.
    """

    expected: Float[Tensor, "... observation"]
    noise: Likelihood
    log_scale: Float[Tensor, "... observation"]
    mixing: Float[Tensor, "... observation observation"]
    units: Units

    def log_prob(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """log p of each number given those before it, in nats; a density in the units of x."""
        error = self.units.standardize(x).to(self.expected.dtype) - self.expected
        mixed = (self.mixing @ error[..., None])[..., 0]
        scaled = self.noise.log_prob(mixed * torch.exp(-self.log_scale)) - self.log_scale
        return scaled - 0.5 * self.units.restore_log_variance(torch.zeros_like(scaled))

    @property
    def mean(self) -> Float[Tensor, "... observation"]:
        """The expected observation."""
        shift = torch.exp(self.log_scale) * self.noise.mean
        return self.units.restore(self.expected + (self._unmixing @ shift[..., None])[..., 0])

    @cached_property
    def log_variance(self) -> Float[Tensor, "... observation"]:
        """Of each number, those before it unknown."""
        variance = torch.exp(2.0 * self.log_scale + self.noise.log_variance)  # type: ignore[attr-defined]
        mixed = (self._unmixing.square() @ variance[..., None])[..., 0]
        return self.units.restore_log_variance(torch.log(mixed))

    @cached_property
    def _unmixing(self) -> Float[Tensor, "... observation observation"]:
        """The inverse of W."""
        identity = torch.eye(self.mixing.shape[-1], dtype=self.mixing.dtype, device=self.mixing.device)
        found: Tensor = torch.linalg.solve_triangular(self.mixing, identity, upper=False, unitriangular=True)
        return found

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
        drawn = self.noise.mean if uniform is None else self.noise.sample(uniform.to(values.dtype))
        drawn = torch.exp(self.log_scale) * drawn
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
        self.noise = _building.build(config.noise, {}, units=replace(units, center=0.0, scale=1.0), size=size)
        real = self.noise.range == (-math.inf, math.inf) and not self.noise.of_levels
        if not real or self.noise.initial(1, like=torch.zeros(1)):
            raise ConfigurationError(
                f"noise is {config.noise!r}, expected an emission of densities that remembers nothing, such as "
                "'gaussian', 'student-t', 'scales' or 'mixture'"
            )
        self.reach = max(config.lags)
        heard = torch.tensor(config.lags)[:, None] * size + torch.arange(size) - size
        self.register_buffer("heard", heard.flatten(), persistent=False)
        self.coefficients = base.learned(torch.zeros(size, len(config.lags) * size), not config.held)
        if config.inputs:
            self.driving = base.learned(torch.zeros(size, config.inputs), not config.held)
        self.mixing = nn.Parameter(torch.eye(size))
        self.offset = base.learned(torch.zeros(size), not config.held)
        self.log_scale = nn.Parameter(torch.zeros(size))

    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """What it says is near the standard distribution at first: the autoregression stands from the start."""
        head = self.noise.head(trunk, log_variance_range=NOISE_LOG_VARIANCE)
        with torch.no_grad():
            for last in head.children():
                if isinstance(last, nn.Linear):
                    last.weight.mul_(SMALL)
                    last.bias.copy_(self.noise.rest(last.bias))
        return head

    @torch.no_grad()
    def begin(
        self,
        sequences: Sequence[Float[ndarray, "_time observation"]],
        inputs: Sequence[Float[ndarray, "_time inputs"]] | None = None,
    ) -> None:
        """Set the autoregression to the least squares of these sequences."""
        long = [n for n, s in enumerate(sequences) if len(s) > self.reach + self.size]
        if not long:
            return
        heard = None if inputs is None or not self.config.inputs else [inputs[n] for n in long]
        standardized = [self.standardize(torch.as_tensor(sequences[n], dtype=torch.float64)).numpy() for n in long]
        fitted = autoregression.vector_autoregression(standardized, self.config.lags, heard, ridge=self.config.ridge)
        factor = np.linalg.cholesky(fitted.covariance)
        spread = np.diag(factor)
        self.coefficients.copy_(torch.as_tensor(fitted.weights))
        self.offset.copy_(torch.as_tensor(fitted.offset))
        if fitted.driving is not None:
            self.driving.copy_(torch.as_tensor(fitted.driving))
        self.mixing.copy_(torch.as_tensor(np.linalg.inv(factor / spread)))
        self.log_scale.copy_(torch.as_tensor(np.log(spread)).clamp(min=SHARPEST))

    @property
    def warming(self) -> int:
        """Until the farthest lag is of an observation."""
        return self.reach

    def initial(self, batch_size: int, *, like: Tensor) -> State:
        """The training data's center."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {BEFORE: like.new_zeros(batch_size, self.reach * self.size, dtype=dtype)}

    def context(self, memory: State) -> State:
        """The memory, and what the autoregression expects after it."""
        before = memory[BEFORE]
        return {BEFORE: before, EXPECTED: self._expected(before)}

    def moved(self, context: State, inputs: Float[Tensor, "*time batch inputs"] | None) -> State:
        """With what the inputs add to what is expected."""
        if not self.config.inputs:
            return context
        if inputs is None or inputs.shape[-1] != self.config.inputs:
            found = 0 if inputs is None else inputs.shape[-1]
            raise ConfigurationError(f"the emission hears {self.config.inputs} inputs, the model has {found}")
        heard = inputs.to(context[EXPECTED].dtype) @ self.driving.t().to(context[EXPECTED].dtype)
        return {**context, EXPECTED: context[EXPECTED] + heard}

    def remember(self, context: State, x: Float[Tensor, "batch observation"]) -> State:
        """The last observations, standardised, the most recent one first."""
        before = context[BEFORE]
        return {BEFORE: torch.cat([self.standardize(x).to(before.dtype), before[..., : -self.size]], dim=-1)}

    def contexts(self, memory: State, xs: Float[Tensor, "time batch observation"]) -> State:
        """Those of a stretch, whose memories are windows of what was observed."""
        before = memory[BEFORE]
        past = before.view(-1, self.reach, self.size).flip(-2).movedim(-2, 0)
        heard = torch.cat([past, self.standardize(xs[:-1]).to(before.dtype)])
        memories = heard.unfold(0, self.reach, 1).movedim(-1, -2).flip(-2).flatten(-2)
        return {BEFORE: memories, EXPECTED: self._expected(memories)}

    def _expected(self, before: Float[Tensor, "... memory"]) -> Float[Tensor, "... observation"]:
        assert isinstance(self.heard, Tensor)
        heard = before if len(self.heard) == before.shape[-1] else before[..., self.heard]
        return heard @ self.coefficients.t().to(before.dtype) + self.offset

    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """What the decoder says of the noise, about what the autoregression expects."""
        noise = self.noise.likelihood_of(output, {})
        noise = Centred(noise) if self.config.held else noise
        expected = at_least_float32(context[EXPECTED])
        shape = torch.broadcast_shapes(noise.mean.shape, expected.shape)  # type: ignore[no-untyped-call]
        mixing = torch.tril(self.mixing, -1) + torch.eye(self.size, dtype=self.mixing.dtype, device=expected.device)
        return Correlated(
            expected=expected.expand(shape),
            noise=noise,
            log_scale=self.log_scale.to(expected.dtype).expand(shape),
            mixing=mixing.to(expected.dtype).expand(*shape, self.size),
            units=self.units,
        )
