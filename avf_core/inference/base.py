"""What an inference procedure is: a map from a step's objective to a posterior.

A procedure is one file in this folder with a `Config` (a frozen dataclass), `EXAMPLES` of it by name, small enough for
tests, and an `Inference`; the file's name is its name. The suites test every example unasked. It holds parameters,
never a belief: what it must remember between steps is its `State`, kept in the belief.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.errors import ConfigurationError
from avf_core.objectives import Posterior, StepObjective


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What a step may spend on inference: it ends with whichever of the three limits is met first.

    iterations: the number of updates, the same for all rows or one a row; None for the configured number.
    tolerance: a row is done once an update changes its F by less than this, in nats.
    budget: seconds, looked at between iterations; the prior is what is had for nothing. A step under a budget is not
    repeatable by itself, but equals one that is told the iterations it spent.

    Procedures that do not iterate have no use for it. Raises ConfigurationError for negative or non-integer limits.
    """

    iterations: int | Int[Tensor, " rows"] | None = None
    tolerance: float | None = None
    budget: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.iterations, Tensor):
            if self.iterations.ndim != 1 or self.iterations.is_floating_point():
                raise ConfigurationError(
                    f"iterations is {self.iterations.dtype} of shape {tuple(self.iterations.shape)}, "
                    "expected a number, or integers of shape (batch,)"
                )
            if self.iterations.numel() and int(self.iterations.min()) < 0:
                raise ConfigurationError(f"iterations of a row is {int(self.iterations.min())}, expected 0 or more")
        elif self.iterations is not None and self.iterations < 0:
            raise ConfigurationError(f"iterations is {self.iterations}, expected 0 or more")
        for name, unit in (("tolerance", "nats"), ("budget", "seconds")):
            value = getattr(self, name)
            if value is not None and not value >= 0.0:
                raise ConfigurationError(f"{name} is {value}, expected {unit}, 0 or more")

    def limits(self, objective: StepObjective, *, configured: int) -> Int64[Tensor, " batch"]:
        """The most updates that each row may be given: none where nothing was observed, as F has its minimum there.

        Raises ConfigurationError where there is not one number a row.
        """
        told = configured if self.iterations is None else self.iterations
        if isinstance(told, Tensor) and told.shape != objective.step.shape:
            raise ConfigurationError(
                f"{len(told)} numbers of iterations for {len(objective.step)} sequences: expected one a row"
            )
        limits = torch.zeros_like(objective.step) + told
        return limits if objective.observed is None else torch.where(objective.observed.any(-1), limits, 0)


CONFIGURED = Effort()
"""The configured number of iterations, and no other limit."""


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """The result of inference at one step.

    `iterations` says how many updates each row was given. `free_energies` are those met on the way, one for each
    iterate before the last, in nats; what stands in a row's columns from its number of iterations on has no meaning.
    """

    posterior: Posterior
    state: State
    free_energies: Float[Tensor, "batch visited"]
    iterations: Int64[Tensor, " batch"]


class Inference(nn.Module, ABC):
    """Minimises (or maps to a minimum of) a step's free energy."""

    def initial(self, batch_size: int) -> State:
        """The procedure's own recurrent state before the first observation; empty for most."""
        return {}

    @abstractmethod
    def infer(self, objective: StepObjective, state: State, *, effort: Effort = CONFIGURED) -> Inferred:
        """The posterior of this step, within `effort` where the procedure iterates."""
