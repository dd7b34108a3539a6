"""What an inference procedure is: a map from a step's objective to a posterior.

A procedure is one file in this folder with a `Config` (a frozen dataclass), `EXAMPLES` of it by name, small enough for
tests, and an `Inference`; the file's name is its name. The suites test every example unasked. It holds parameters,
never a belief: what it must remember between steps is its `State`, kept in the belief.

The law: whoever filters or trains asks the procedure, and never which procedure it is. It says itself how often it
updates a posterior (`iterations`) and how its parameters learn from clips (`learns`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import Gaussian
from avf_core.errors import ConfigurationError
from avf_core.models.base import Model
from avf_core.native.plan import InferencePlan, ModelPlan, Registers, Undescribed
from avf_core.objectives import Posterior, StepObjective

Learning = Literal["nothing", "in the E-step", "with theta"]
OnePass = Callable[[Model, State, Float[Tensor, "time batch observation"]], Gaussian]
Weigh = Callable[[Float[Tensor, " rows"], Bool[Tensor, " rows"]], Float[Tensor, " rows"]]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What a step may spend on inference: it ends with whichever of the first three limits is met first.

    iterations: the number of updates, the same for all rows or one a row; None for the configured number.
    tolerance: a row is done once an update changes its F by less than this, in nats.
    budget: seconds, looked at between iterations; the prior is what is had for nothing. A step under a budget is not
    repeatable by itself, but equals one that is told the iterations it spent.
    samples: the most gradient samples of an iteration, two at least where they come in pairs; None for as configured.

    Procedures that do not iterate have no use for it. Raises ConfigurationError for negative or non-integer limits.
    """

    iterations: int | Int[Tensor, " rows"] | None = None
    tolerance: float | None = None
    budget: float | None = None
    samples: int | None = None

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
        if self.samples is not None and self.samples < 1:
            raise ConfigurationError(f"samples is {self.samples}, expected 1 or more")
        for name, unit in (("tolerance", "nats"), ("budget", "seconds")):
            value = getattr(self, name)
            if value is not None and not value >= 0.0:
                raise ConfigurationError(f"{name} is {value}, expected {unit}, 0 or more")

    def told(self, step: Int64[Tensor, " batch"]) -> int | Int[Tensor, " rows"] | None:
        """`iterations`, of which there is one a row where there are several. Raises ConfigurationError otherwise."""
        if isinstance(self.iterations, Tensor) and self.iterations.shape != step.shape:
            raise ConfigurationError(
                f"{len(self.iterations)} numbers of iterations for {len(step)} sequences: expected one a row"
            )
        return self.iterations

    def limits(self, objective: StepObjective, *, configured: int) -> Int64[Tensor, " batch"]:
        """The most updates that each row may be given: none where nothing was observed, as F has its minimum there.

        Raises ConfigurationError where there is not one number a row.
        """
        told = self.told(objective.step)
        limits = torch.zeros_like(objective.step) + (configured if told is None else told)
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
    """Minimises (or maps to a minimum of) a step's free energy.

    `learns`: how its parameters, phi, learn from clips. `nothing`: there are none. `in the E-step`: from what its
    `study` saw while it inferred. `with theta`: in the M-step, by the clip's free energy, differentiated through its
    posteriors. A trainer refuses parameters that nothing trains.

    `exact`: its objective keeps the past in closed form, so that nothing is sampled, and takes priors of whatever form.
    """

    learns: ClassVar[Learning] = "nothing"
    exact: ClassVar[bool] = False

    @property
    def iterations(self) -> int:
        """How many updates a step is given where no effort says otherwise; 0 for procedures that do not iterate."""
        return 0

    def initial(self, batch_size: int) -> State:
        """The procedure's own recurrent state before the first observation; empty for most."""
        return {}

    def past(self, batch_size: int, lag: int) -> State | None:
        """What a belief keeps to look back so many steps in closed form; None for a procedure that cannot."""
        return None

    def objective(self, objective: StepObjective, state: State) -> StepObjective:
        """F of a step as this procedure has it: with the spread of the past, where its state keeps that."""
        return objective

    @abstractmethod
    def infer(self, objective: StepObjective, state: State, *, effort: Effort = CONFIGURED) -> Inferred:
        """The posterior of this step, within `effort` where the procedure iterates."""

    def plan(self, registers: Registers, model: ModelPlan) -> InferencePlan:
        """The procedure for the native executor, with this model: what `infer` computes in evaluation.

        Raises Undescribed where there is no plan; torch then computes it.
        """
        raise Undescribed(f"{type(self).__module__}.{type(self).__qualname__} does not describe itself")

    def study(self, dtype: torch.dtype) -> "Study":
        """The procedure at work on a clip in training; with matrix products in `dtype`, if it learns there."""
        return Study(self)

    def in_one_pass(self) -> OnePass | None:
        """Of one that learns with theta: the posteriors of all steps of a clip, given all contexts and observations.

        None where they hear latents or a state of the procedure's own, so that a clip is filtered step by step.
        """
        return None


class Study:
    """A procedure at work on a clip in the E-step, and what its parameters have to learn from that: here, nothing."""

    def __init__(self, inference: Inference) -> None:
        self.inference = inference

    def streams(self) -> Sequence[int]:
        """The streams of noise that every step draws from, so that those of many steps are drawn in one go."""
        return ()

    def infer(self, objective: StepObjective, state: State, *, real: Bool[Tensor, " batch"]) -> Inferred:
        """As `Inference.infer` with the configured effort. Rows that are not `real` are padding."""
        return self.inference.infer(objective, state)

    def backward(self, weigh: Weigh) -> None:
        """Set the gradients of the parameters to those of the weighted sum of F over all inferred since `renew`.

        `weigh` gives the weights of rows by their F, in nats, and by whether they are real.
        """

    def renew(self) -> None:
        """Follow the parameters after a step of their optimiser, and forget what they had to learn from."""
