"""Levels of a logistic about a center that is, with some probability, a few times as wide: tails that motion makes."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from avf_core.emissions._noise import Logistic
from avf_core.emissions.base import Units, numbers

WIDER = 4.0  # the tails' scale, in scales
BISECTIONS = 60
LOGISTIC = Logistic()


@dataclass(frozen=True)
class TwoScales:
    """Levels of a logistic that is, with some probability, `WIDER` times as wide; in standardised units."""

    center: Float[Tensor, "... observation"]
    log_scale: Float[Tensor, "... observation"]
    odds: Float[Tensor, "... observation"]
    units: Units

    def log_prob(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """log P of the level around each number, in nats."""
        error = self.units.standardize(x).to(self.center.dtype) - self.center
        width, noise = self.units.bin / numbers(self.units.scale)[0], LOGISTIC
        narrow = noise.log_probability(error, self.log_scale, width=width) - F.softplus(self.odds)
        wide = noise.log_probability(error, self.log_scale + math.log(WIDER), width=width) - F.softplus(-self.odds)
        return torch.logaddexp(narrow, wide)

    @property
    def mean(self) -> Float[Tensor, "... observation"]:
        """The expected observation."""
        return self.units.restore(self.center)

    @property
    def log_spread(self) -> Float[Tensor, "... observation"]:
        """The logarithm of the variance of both together, at scale one."""
        return torch.log1p((WIDER**2 - 1.0) * torch.sigmoid(self.odds)) + math.log(LOGISTIC.deviation**2)

    @property
    def log_variance(self) -> Float[Tensor, "... observation"]:
        """Of both together, levels left aside."""
        return self.units.restore_log_variance(2.0 * self.log_scale + self.log_spread)

    def cdf(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """The probability of numbers up to x, levels left aside."""
        position = (self.units.standardize(x).to(self.center.dtype) - self.center) * torch.exp(-self.log_scale)
        return _reached(position, self.odds)

    def sample(self, uniform: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """The quantiles at `uniform`; not rounded to levels."""
        away = quantile(uniform.to(self.center.dtype), self.odds)
        return self.units.restore(self.center + torch.exp(self.log_scale) * away)


def quantile(uniform: Float[Tensor, "..."], odds: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The quantiles about zero at scale one, by bisection between those of the two."""
    inner = LOGISTIC.quantile(uniform)
    ends = torch.stack(torch.broadcast_tensors(inner, WIDER * inner, torch.zeros_like(odds))[:2])  # type: ignore[no-untyped-call]
    low, high = ends.amin(0), ends.amax(0)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        below = _reached(middle, odds) < uniform
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def _reached(position: Float[Tensor, "..."], odds: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return torch.lerp(torch.sigmoid(position), torch.sigmoid(position / WIDER), torch.sigmoid(odds))
