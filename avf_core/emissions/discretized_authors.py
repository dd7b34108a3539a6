"""discretized-authors: the discretised Gaussian in the form of the authors' code, for comparison with their figures."""

from collections.abc import Mapping

from torch import Tensor

from avf_core.distributions import AuthorsDiscretizedGaussian, Likelihood
from avf_core.emissions import base
from avf_core.emissions.base import Config
from avf_core.native.plan import EmissionPlan

EXAMPLES: Mapping[str, Config] = {"plain": Config()}


class Emission(base.Moments):
    """Independent Gaussians, integrated over levels, with a floor."""

    of_levels = True

    def family(self, mean: Tensor, log_variance: Tensor) -> Likelihood:
        """The levels of N(mean, variance), each with 1e-6 added to its probability."""
        return AuthorsDiscretizedGaussian(mean, log_variance, self.units.bin)

    def plan(self) -> EmissionPlan:
        """The executor has it."""
        return self.planned("discretized_authors")
