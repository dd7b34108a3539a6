"""bernoulli: independent zeros and ones, by logits: the paper's emission of piano rolls."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import Bernoulli, Likelihood, at_least_float32
from avf_core.emissions import base
from avf_core.emissions.base import Config, Output, numbers
from avf_core.native.plan import EmissionPlan
from avf_core.nets import MLP

EXAMPLES: Mapping[str, Config] = {"plain": Config()}


class Emission(base.Emission):
    """A logit for every dimension."""

    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """A linear map to logits."""
        return nn.Sequential(trunk, nn.Linear(trunk.output_size, self.size))

    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """The likelihood by logits."""
        if not isinstance(output, Tensor):
            raise TypeError(f"expected logits, not {type(output).__name__}")
        return Bernoulli(at_least_float32(output))

    def sloped(
        self, output: Output, context: State, x: Float[Tensor, "batch observation"], observed: Tensor | None
    ) -> tuple[Float[Tensor, "... batch"], Output]:
        """In closed form: softplus(logit) - x logit, and sigmoid(logit) - x."""
        if not isinstance(output, Tensor):
            raise TypeError(f"expected logits, not {type(output).__name__}")
        logits = at_least_float32(output)
        energy, slope = F.softplus(logits) - x * logits, torch.sigmoid(logits) - x
        if observed is not None:
            energy, slope = torch.where(observed, energy, 0.0), torch.where(observed, slope, 0.0)
        return energy.sum(-1), slope.to(output.dtype)

    def plan(self) -> EmissionPlan:
        """The executor has it."""
        units = self.units
        return EmissionPlan(
            kind="bernoulli",
            bin=units.bin,
            center=numbers(units.center),
            scale=numbers(units.scale),
            likelihood=lambda output, state: self.likelihood_of(output[0], {}),
        )
