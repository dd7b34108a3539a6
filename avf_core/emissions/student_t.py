"""student-t: a density with heavy tails, so that a glitch costs some nats, and neither the belief nor the next step.

Student's t with four degrees of freedom, whose cumulative probability and quantiles are algebraic, by mean and
variance v. With r = (x - mean) / sqrt(2 v) and s = r sqrt(2) / sqrt(1 + r^2), all in closed form:

    log p(x)  = log(3/8) - log(v / 2) / 2 - (5/2) log(1 + r^2)        a logarithm of the distance, not its square
    P(X <= x) = 1/2 + 3 s / (4 sqrt(2)) - s^3 / (8 sqrt(2))
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from avf_core.distributions import Likelihood
from avf_core.emissions import _noise, base
from avf_core.emissions.base import Config

EXAMPLES: Mapping[str, Config] = {"plain": Config()}

NEAR = 1e3  # of r, below which 1 + r^2 is exact enough and does not overflow


@dataclass(frozen=True)
class StudentT:
    """Independent variables with four degrees of freedom."""

    mean: Float[Tensor, "... dimension"]
    log_variance: Float[Tensor, "... dimension"]

    @property
    def deviation(self) -> Float[Tensor, "... dimension"]:
        """The standard deviation."""
        return torch.exp(0.5 * self.log_variance)

    def log_prob(self, x: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """log p(x) for every dimension, in nats."""
        return self.log_prob_slopes(x)[0]

    def log_prob_slopes(self, x: Float[Tensor, "... dimension"]) -> tuple[Tensor, Tensor, Tensor]:
        """`log_prob`, and its derivatives by the mean and by the log-variance: both bounded, however far x is."""
        precision = torch.exp(-0.5 * self.log_variance)
        r = self._distance(x)
        length = torch.hypot(r, torch.ones_like(r))
        far = torch.where(r.abs() < NEAR, torch.log1p(r.clamp(-NEAR, NEAR) ** 2), 2.0 * torch.log(length))
        log_prob = math.log(3.0 / 8.0) - 0.5 * (self.log_variance - math.log(2.0)) - 2.5 * far
        part = r / length
        return log_prob, (2.5 * math.sqrt(2.0)) * precision * part / length, 2.5 * part**2 - 0.5

    def cdf(self, x: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """The probability of values up to x."""
        r = self._distance(x)
        part = r / torch.hypot(r, torch.ones_like(r))
        return 0.5 + 0.75 * part - 0.25 * part**3

    def _distance(self, x: Tensor) -> Tensor:
        """r, as far as numbers go."""
        most = 0.25 * torch.finfo(x.dtype).max
        return ((x - self.mean) * (torch.exp(-0.5 * self.log_variance) / math.sqrt(2.0))).clamp(-most, most)

    def sample(self, uniform: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """The quantiles at `uniform`, in (0, 1)."""
        return self.mean + self.deviation / math.sqrt(2.0) * _noise.StudentT().quantile(uniform)


class Emission(base.Moments):
    """Independent Student's t, four degrees of freedom."""

    def family(self, mean: Tensor, log_variance: Tensor) -> Likelihood:
        """That of this mean and variance."""
        return StudentT(mean, log_variance)
