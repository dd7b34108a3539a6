"""discretized: the probability that a Gaussian gives to the quantisation level, of width `bin`, around the number."""

from collections.abc import Mapping

from torch import Tensor

from avf_core.distributions import DiscretizedGaussian, Likelihood
from avf_core.emissions import base
from avf_core.emissions.base import Config
from avf_core.native.plan import EmissionPlan

EXAMPLES: Mapping[str, Config] = {"plain": Config()}


class Emission(base.Moments):
    """Independent Gaussians, integrated over levels."""

    of_levels = True

    def family(self, mean: Tensor, log_variance: Tensor) -> Likelihood:
        """The levels of N(mean, variance)."""
        return DiscretizedGaussian(mean, log_variance, self.units.bin)

    def plan(self) -> EmissionPlan:
        """The executor has it."""
        return self.planned("discretized")
