"""scales: Gaussians of several widths about one mean: peaks as sharp, and tails as heavy, as the data's are.

    p(x_d) = sum_k w_dk N(x_d; mean_d, r_dk variance_d)      sum_k w_dk = sum_k w_dk r_dk = 1

The decoder says mean and variance; weights and widths are the emission's own, learned for every dimension. A sensor
that mostly stands still and now and then jumps has a narrow and a wide one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avf_core.distributions import Likelihood
from avf_core.emissions import base
from avf_core.emissions.base import Units
from avf_core.emissions.mixture import GaussianMixture
from avf_core.errors import ConfigurationError

SPREAD = 2.5  # between the logarithms of neighbouring widths' variances, before training


@dataclass(frozen=True, kw_only=True)
class Config:
    """components: how many widths."""

    components: int = 3

    def __post_init__(self) -> None:
        if self.components < 2:
            raise ConfigurationError(f"components is {self.components}, expected at least 2: one is 'gaussian'")


EXAMPLES: Mapping[str, Config] = {"plain": Config(), "two": Config(components=2)}


@dataclass(frozen=True)
class ScaleMixture(GaussianMixture):
    """Mixtures whose components of a dimension have one mean."""

    @property
    def mean(self) -> Float[Tensor, "... dimension"]:
        """That of all components."""
        return self.means[..., 0, :]

    @property
    def log_variance(self) -> Float[Tensor, "... dimension"]:
        """Of the whole."""
        found: Tensor = (self.log_weights + self.log_variances).logsumexp(-2)
        return found

    def log_prob_slopes(self, x: Float[Tensor, "... dimension"]) -> tuple[Tensor, Tensor, Tensor]:
        """`log_prob`, and its derivatives by the mean and by the log-variance of the whole."""
        shares = self.shares(x)
        log_prob = shares.logsumexp(-2)
        parts = torch.exp(shares - log_prob.unsqueeze(-2))
        precisions = torch.exp(-self.log_variances)
        apart = x - self.mean
        by_mean = (parts * precisions).sum(-2) * apart
        return log_prob, by_mean, 0.5 * (by_mean * apart - 1.0)


class Emission(base.Moments):
    """Independent scale mixtures."""

    config: Config

    def __init__(self, config: Config, units: Units, size: int, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(config, units, size, shape)
        places = torch.linspace(-1.0, 1.0, config.components)[:, None].expand(-1, size)
        self.logits = nn.Parameter(torch.zeros(config.components, size))
        self.widths = nn.Parameter(0.5 * SPREAD * (config.components - 1) * places)

    def family(self, mean: Tensor, log_variance: Tensor) -> Likelihood:
        """That of this mean and variance."""
        log_weights = self.logits.log_softmax(0).to(mean.dtype)
        widths = self.widths.to(mean.dtype)
        relative = widths - (log_weights + widths).logsumexp(0)
        log_variances = log_variance.unsqueeze(-2) + relative
        return ScaleMixture(
            log_weights.expand_as(log_variances), mean.unsqueeze(-2).expand_as(log_variances), log_variances
        )
