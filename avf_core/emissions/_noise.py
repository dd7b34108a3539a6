"""Noise about a mean, by name: the probability of a level of any width, exactly, and quantiles.

The law: log P(error - width / 2 < E < error + width / 2) of a scale of e^log_scale is finite, and its gradient
accurate, at any distance from the mean and for any width: no two rounded cumulative probabilities are subtracted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from avf_core import intervals

NoiseName = Literal["gaussian", "logistic", "student-t"]
MARGIN = 1e-7  # quantiles are those of probabilities within [MARGIN, 1 - MARGIN]


@runtime_checkable
class Noise(Protocol):
    """A symmetric distribution about zero with a scale."""

    @property
    def deviation(self) -> float:
        """The standard deviation at scale one."""
        ...

    @property
    def entropy(self) -> float:
        """The differential entropy at scale one, in nats."""
        ...

    @property
    def absolute(self) -> float:
        """The mean magnitude at scale one."""
        ...

    def log_probability(
        self, error: Float[Tensor, "..."], log_scale: Float[Tensor, "..."], *, width: float
    ) -> Float[Tensor, "..."]:
        """log P of the interval of this width around the error, in nats."""
        ...

    def quantile(self, uniform: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The quantiles at scale one."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Standard deviation one at scale one."""

    deviation: float = 1.0
    absolute: float = math.sqrt(2.0 / math.pi)
    entropy: float = 0.5 * math.log(2.0 * math.pi * math.e)

    def log_probability(self, error: Tensor, log_scale: Tensor, *, width: float) -> Tensor:
        """As `intervals` has it."""
        return intervals.log_probability(error, torch.zeros_like(error), 2.0 * log_scale, width=width)

    def quantile(self, uniform: Tensor) -> Tensor:
        """The probit."""
        found: Tensor = torch.special.ndtri(uniform.clamp(MARGIN, 1.0 - MARGIN))
        return found


@dataclass(frozen=True)
class Logistic:
    """Cumulative probability 1 / (1 + e^-x): heavier tails than a Gaussian's.

    With h half the width and all in units of the scale, log P = log(e^2h - 1) - softplus(h - x) - softplus(h + x).
    """

    deviation: float = math.pi / math.sqrt(3.0)
    absolute: float = 2.0 * math.log(2.0)
    entropy: float = 2.0

    def log_probability(self, error: Tensor, log_scale: Tensor, *, width: float) -> Tensor:
        """The form above, less 2h in both of its first terms."""
        precision = torch.exp(-log_scale)
        x, h = error * precision, (0.5 * width) * precision
        return torch.log(-torch.expm1(-2.0 * h)) - F.softplus(-h - x) - F.softplus(x - h)

    def quantile(self, uniform: Tensor) -> Tensor:
        """The logit."""
        return torch.logit(uniform, eps=MARGIN)


@dataclass(frozen=True)
class StudentT:
    """Student's t with four degrees of freedom, whose cumulative probability is algebraic.

    With s = t / r and r = sqrt(4 + t^2), P(T < t) = 1/2 + 3 s / 4 - s^3 / 4. For t < u the difference is

        (s_u - s_t) [(1 - s_u^2) + (1 - s_t^2) + (1 - s_t s_u)] / 4

    and each factor has a form that does not cancel.
    """

    deviation: float = math.sqrt(2.0)
    absolute: float = 1.0
    entropy: float = 2.5 * (8.0 / 3.0 - 2.0 * math.log(2.0) - 1.0) + math.log(8.0 / 3.0)  # digammas of 5/2 and 2

    def log_probability(self, error: Tensor, log_scale: Tensor, *, width: float) -> Tensor:
        """By the side on which the error lies: the distribution is symmetric."""
        precision = torch.exp(-log_scale)
        far = error.abs() * precision
        h = (0.5 * width) * precision
        low, high = far - h, far + h  # high > 0 always
        a, b = torch.hypot(low, torch.full_like(low, 2.0)), torch.hypot(high, torch.full_like(high, 2.0))
        # s_high - s_low = (high a - low b) / (a b); where low > 0 that is 4 (high^2 - low^2) / (a b (high a + low b)).
        apart = 16.0 * far * h / (high * a + low.clamp(min=0.0) * b)
        difference = torch.where(low > 0.0, apart, high * a - low * b)
        crossed = torch.where(
            low > 0.0, (16.0 + 4.0 * low**2 + 4.0 * high**2) / (a * b + low * high), a * b - low * high
        )
        bracket = 4.0 / b**2 + 4.0 / a**2 + crossed / (a * b)
        return torch.log(difference) - torch.log(a) - torch.log(b) + torch.log(0.25 * bracket)

    def quantile(self, uniform: Tensor) -> Tensor:
        """In closed form: the cubic's root by the cosine of a third (Shaw 2006)."""
        inside = uniform.clamp(MARGIN, 1.0 - MARGIN)
        root = torch.sqrt(4.0 * inside * (1.0 - inside))
        ratio = torch.cos(torch.arccos(root) / 3.0) / root
        return torch.sign(inside - 0.5) * 2.0 * torch.sqrt((ratio - 1.0).clamp(min=0.0))


NOISES: Mapping[str, Noise] = {"gaussian": Gaussian(), "logistic": Logistic(), "student-t": StudentT()}
