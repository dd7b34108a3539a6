"""Emissions: how a decoder's output becomes a likelihood of observations in their own units.

The law of units: observations enter and leave every model in natural units (audio samples in [-1, 1], pixels in
[0, 1], sensors as they come). Inside, a model sees (x - center) / scale, and its decoder speaks of that; here its mean
and log-variance are brought back, so that bins and log-probabilities are those of the natural units.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from avf_core.distributions import (
    AuthorsDiscretizedGaussian,
    Bernoulli,
    DiscretizedGaussian,
    Gaussian,
    Likelihood,
    at_least_float32,
    reconstruction,
)
from avf_core.errors import ConfigurationError
from avf_core.nets import MLP, GaussianNet

LikelihoodName = Literal["bernoulli", "gaussian", "discretized", "discretized-authors"]
SIXTEEN_BITS = 2.0**-15  # one level of 16-bit audio in [-1, 1]
EIGHT_BITS = 2.0**-8  # one level of an 8-bit pixel in [0, 1], as Marino, Cvitkovic & Yue (2018) count it


@dataclass(frozen=True, kw_only=True)
class Emission:
    """The family of a likelihood, by name, and the units of the observation.

    `bernoulli`: logits. `gaussian`: a density. `discretized`: the probability of a bin of width `bin`;
    `discretized-authors`: the same in the authors' form. `center` and `scale` are, as a rule, the mean and the standard
    deviation of the training set; `bin` is in units of the observation. Raises ConfigurationError for a `bin` or a
    `scale` that is no positive number.
    """

    likelihood: LikelihoodName
    bin: float = SIXTEEN_BITS
    center: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("bin", self.bin), ("scale", self.scale)):
            if not 0.0 < value < math.inf:
                raise ConfigurationError(
                    f"{name} is {value}, expected a positive number in the observation's units: "
                    "the width of one quantisation level, or the training set's standard deviation"
                )
        if not math.isfinite(self.center):
            raise ConfigurationError(f"center is {self.center}, expected a finite number: the training set's mean")

    @property
    def range(self) -> tuple[float, float]:
        """Between which numbers an observation must lie."""
        return (0.0, 1.0) if self.likelihood == "bernoulli" else (-math.inf, math.inf)

    def standardize(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(x - center) / scale."""
        if self.center == 0.0 and self.scale == 1.0:
            return x
        return (x - self.center) / self.scale

    def head(self, trunk: MLP, size: int, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """The decoder's last layers, from its trunk: what `likelihood_of` reads."""
        if self.likelihood == "bernoulli":
            return nn.Sequential(trunk, nn.Linear(trunk.output_size, size))
        return GaussianNet(trunk, size, log_variance_range=log_variance_range)

    def likelihood_of(self, output: Float[Tensor, "... observation"] | Gaussian) -> Likelihood:
        """The likelihood of x: from logits, or from the moments of the standardised x; in at least float32."""
        if not isinstance(output, Gaussian):
            return Bernoulli(at_least_float32(output))
        mean = self.center + self.scale * at_least_float32(output.mean)
        log_variance = at_least_float32(output.log_variance) + 2.0 * math.log(self.scale)
        if self.likelihood == "discretized":
            return DiscretizedGaussian(mean, log_variance, self.bin)
        if self.likelihood == "discretized-authors":
            return AuthorsDiscretizedGaussian(mean, log_variance, self.bin)
        return Gaussian(mean, log_variance)

    def sloped(
        self, output: Tensor | Gaussian, x: Float[Tensor, "batch observation"], observed: Tensor | None
    ) -> tuple[Float[Tensor, "... batch"], Tensor | Gaussian]:
        """-log p(x) of the dimensions that are `observed`, in nats, and its gradient with respect to the output."""
        if not isinstance(output, Gaussian):
            return _bernoulli_slope(output, x, observed)
        moments = [output.mean.detach().requires_grad_(), output.log_variance.detach().requires_grad_()]
        with torch.enable_grad():
            energy = reconstruction(self.likelihood_of(Gaussian(*moments)), x, observed)
            slopes = torch.autograd.grad(energy.sum(), moments)
        return energy.detach(), Gaussian(*slopes)


def _bernoulli_slope(output: Tensor, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
    """In closed form: softplus(logit) - x logit, and sigmoid(logit) - x."""
    logits = at_least_float32(output)
    energy, slope = F.softplus(logits) - x * logits, torch.sigmoid(logits) - x
    if observed is not None:
        energy, slope = torch.where(observed, energy, 0.0), torch.where(observed, slope, 0.0)
    return energy.sum(-1), slope.to(output.dtype)
