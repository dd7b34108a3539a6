"""What an inference procedure is: a map from a step's objective to a posterior.

A procedure is one file in this folder with a `Config` (a frozen dataclass) and an `Inference`; the file's name is its
name. It holds parameters, never a belief: what it must remember between steps is its `State`, kept in the belief.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.objectives import Posterior, StepObjective


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """The result of inference at one step.

    `free_energies` are those met on the way, one for each iterate before the last, in nats, each on its own noise;
    `iterations` says how many updates each row was given.
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
    def infer(self, objective: StepObjective, state: State, *, iterations: int | None = None) -> Inferred:
        """The posterior of this step. `iterations` overrides the configured number, where there is one."""
