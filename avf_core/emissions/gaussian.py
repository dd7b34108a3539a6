"""gaussian: a density, with a mean and a variance for every dimension."""

from collections.abc import Mapping

from torch import Tensor

from avf_core.distributions import Gaussian, Likelihood
from avf_core.emissions import base
from avf_core.emissions.base import Config
from avf_core.native.plan import EmissionPlan

EXAMPLES: Mapping[str, Config] = {"plain": Config()}


class Emission(base.Moments):
    """Independent Gaussians."""

    def family(self, mean: Tensor, log_variance: Tensor) -> Likelihood:
        """N(mean, variance)."""
        return Gaussian(mean, log_variance)

    def plan(self) -> EmissionPlan:
        """The executor has it."""
        return self.planned("gaussian")
