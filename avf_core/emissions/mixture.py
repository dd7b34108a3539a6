"""mixture: several Gaussians for every dimension, with weights: values of more than one kind, and outliers.

    p(x_d) = (1 - outliers) sum_k w_dk N(x_d; mean_dk, variance_dk) + outliers N(x_d; center_d, (width scale_d)^2)

The decoder says logits of the weights, means and log-variances, of the standardised observation. The last term is the
same always: however far x is, a step costs no more than that part of a wide Gaussian about the data's centre does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import Gaussian, Likelihood, at_least_float32
from avf_core.emissions import base
from avf_core.emissions.base import Output, Units, across
from avf_core.errors import ConfigurationError
from avf_core.nets import MLP

HALVINGS = 50  # of the bracket around a quantile
APART = (-2.0, 1.0)  # log-variances of components at rest


@dataclass(frozen=True, kw_only=True)
class Config:
    """components: Gaussians of every dimension, learned. outliers: the part of one more, of `width` scales, fixed."""

    components: int = 3
    outliers: float = 0.0
    width: float = 10.0

    def __post_init__(self) -> None:
        if self.components < 1 or not 0.0 <= self.outliers < 1.0 or not 0.0 < self.width < math.inf:
            raise ConfigurationError(
                f"components is {self.components}, outliers {self.outliers} and width {self.width}: expected at least "
                "1, a part in [0, 1), and a positive number of scales"
            )


EXAMPLES: Mapping[str, Config] = {"plain": Config(), "outliers": Config(components=2, outliers=0.01)}


@dataclass(frozen=True)
class GaussianMixture:
    """Independent mixtures; components lie along the axis before the last. `log_weights` are normalised along it."""

    log_weights: Float[Tensor, "... components dimension"]
    means: Float[Tensor, "... components dimension"]
    log_variances: Float[Tensor, "... components dimension"]

    @property
    def mean(self) -> Float[Tensor, "... dimension"]:
        """The expected value."""
        return (self.log_weights.exp() * self.means).sum(-2)

    @property
    def log_variance(self) -> Float[Tensor, "... dimension"]:
        """The logarithm of the variance: that within the components, and that between them."""
        apart = (self.means - self.mean.unsqueeze(-2)) ** 2
        return (self.log_weights.exp() * (self.log_variances.exp() + apart)).sum(-2).log()

    def log_prob(self, x: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """log p(x) for every dimension, in nats."""
        found: Tensor = self.shares(x).logsumexp(-2)
        return found

    def shares(self, x: Float[Tensor, "... dimension"]) -> Float[Tensor, "... components dimension"]:
        """log of what each component adds to the density of x."""
        return self.log_weights + Gaussian(self.means, self.log_variances).log_prob(x.unsqueeze(-2))

    def cdf(self, x: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """The probability of values up to x."""
        below: Tensor = torch.special.ndtr((x.unsqueeze(-2) - self.means) * torch.exp(-0.5 * self.log_variances))
        return (self.log_weights.exp() * below).sum(-2)

    def sample(self, uniform: Float[Tensor, "... dimension"]) -> Float[Tensor, "... dimension"]:
        """The quantiles at `uniform`, in (0, 1): by halving the bracket that those of the components make."""
        of_each = Gaussian(self.means, self.log_variances).sample(uniform.unsqueeze(-2).expand_as(self.means))
        low, high = of_each.amin(-2), of_each.amax(-2)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < uniform
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)


class Emission(base.Emission):
    """Independent mixtures of Gaussians."""

    def __init__(self, config: Config, units: Units, size: int, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(config, units, size, shape)
        self.config: Config = config
        self._log_variances = (-math.inf, math.inf)

    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """Three numbers for every component of every dimension."""
        self._log_variances = log_variance_range
        return nn.Sequential(trunk, nn.Linear(trunk.output_size, self.channels * self.size))

    def rest(self, bias: Float[Tensor, " outputs"]) -> Float[Tensor, " outputs"]:
        """Components of one weight and mean, and of widths that differ, so that they go different ways."""
        numbers = torch.zeros_like(bias).view(3, self.config.components, self.size)
        numbers[2] = torch.linspace(*APART, self.config.components, dtype=bias.dtype)[:, None]
        return numbers.flatten()

    @property
    def channels(self) -> int:
        """Three for every component."""
        return 3 * self.config.components

    def of_maps(
        self, maps: Float[Tensor, "*samples batch channels observation"], *, log_variance_range: tuple[float, float]
    ) -> Output:
        """Means lie between 0 and 1, as pixels do."""
        logits, means, log_variances = maps.chunk(3, dim=-2)
        parts = [logits, torch.sigmoid(means), log_variances.clamp(*log_variance_range)]
        return torch.cat(parts, dim=-2).flatten(-2)

    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """The mixture in the units of the observation, with the outliers."""
        return self._mixture(output)

    def sloped(
        self, output: Output, context: State, x: Float[Tensor, "batch observation"], observed: Tensor | None
    ) -> tuple[Float[Tensor, "... batch"], Output]:
        """In closed form, by the part r_k of the density of x that is of component k.

        -log p falls by r_k - w_k sum_j r_j with logit k, and by r_k times what a Gaussian's does with its moments.
        """
        assert isinstance(output, Tensor)
        mixture = self._mixture(output)
        shares = mixture.shares(x)
        log_prob = shares.logsumexp(-2)
        count = self.config.components
        parts = torch.exp(shares - log_prob.unsqueeze(-2))[..., :count, :]
        of_all = parts.sum(-2, keepdim=True)
        logits, _, log_variances = self._parts(output)
        inside = log_variances == log_variances.clamp(*self._log_variances)
        learned = Gaussian(mixture.means[..., :count, :], mixture.log_variances[..., :count, :])
        _, by_mean, by_log_variance = learned.log_prob_slopes(x.unsqueeze(-2))
        slopes = [
            logits.softmax(-2) * of_all - parts,
            -across(self.units.scale, by_mean) * parts * by_mean,
            -parts * by_log_variance * inside,
        ]
        if observed is not None:
            log_prob = torch.where(observed, log_prob, 0.0)
            slopes = [torch.where(observed.unsqueeze(-2), slope, 0.0) for slope in slopes]
        return -log_prob.sum(-1), torch.cat(slopes, dim=-2).flatten(-2).to(output.dtype)

    def _parts(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, means and log-variances as they are said, each (..., components, observation), in float32."""
        numbers = at_least_float32(output).reshape(*output.shape[:-1], -1, self.size)
        logits, means, log_variances = numbers.chunk(3, dim=-2)
        return logits, means, log_variances

    def _mixture(self, output: Output) -> GaussianMixture:
        if not isinstance(output, Tensor):
            raise TypeError(f"expected numbers of the mixture, not {type(output).__name__}")
        logits, means, log_variances = self._parts(output)
        log_variances = log_variances.clamp(*self._log_variances)
        log_weights, rest = logits.log_softmax(-2), self.config.outliers
        if rest > 0.0:
            like = logits[..., :1, :]
            widest = torch.full_like(like, 2.0 * math.log(self.config.width))
            log_weights = torch.cat([log_weights + math.log1p(-rest), torch.full_like(like, math.log(rest))], dim=-2)
            means, log_variances = (
                torch.cat([means, torch.zeros_like(like)], -2),
                torch.cat([log_variances, widest], -2),
            )
        return GaussianMixture(log_weights, self.units.restore(means), self.units.restore_log_variance(log_variances))
