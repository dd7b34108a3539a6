"""What a descent is held to: how long it goes on, and which updates are made.

The laws: each row stops by what itself has spent and met. A comparison is made on common random numbers, one draw for
the step, so that it is of posteriors and not of their noise.
"""

import time
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core.distributions import Gaussian
from avf_core.inference.base import Effort
from avf_core.objectives import Gradient, StepObjective

Change = Float[Tensor, " batch"] | None
"""By how much an update changed F of each row, in nats, where that is known."""


class Pace:
    """How far each row has come within its effort: which go on, and whether there is time for more."""

    def __init__(self, effort: Effort, objective: StepObjective, *, configured: int) -> None:
        self._effort, self._objective = effort, objective
        self._started = 0.0 if effort.budget is None else _now(objective)
        self._limits = effort.limits(objective, configured=configured)
        self.most = _most(effort, objective, self._limits, configured=configured)
        self.going = self._limits > 0
        self.spent = torch.zeros_like(self._limits)
        self._made = 0

    def goes_on(self) -> bool:
        """Whether there is a row to be updated, and time for it."""
        if self.is_over():
            return False
        if self._effort.budget is None:
            return True
        elapsed = _now(self._objective) - self._started
        # What would end too late, going by the iterations so far, is not begun.
        expected = elapsed / self._made if self._made else 0.0
        return elapsed + expected < self._effort.budget

    def is_over(self) -> bool:
        """Whether the tolerance has stopped every row."""
        return self._effort.tolerance is not None and not bool(self.going.any())

    def settle(self, change: Change) -> None:
        """Rows whose F no longer changes are done; one whose change is no number never would be."""
        if self._effort.tolerance is not None and change is not None:
            self.going = self.going & (change.abs() >= self._effort.tolerance)

    def made(self, change: Change) -> None:
        """One update of every row that goes on."""
        self._made += 1
        self.spent = self.spent + self.going
        self.settle(change)
        self.going = self.going & (self.spent < self._limits)


class Acceptance:
    """Every update that is possible is made. F of the iterates is that which came with the gradient."""

    _before: Float[Tensor, " batch"] | None = None

    def visit(self, gradient: Gradient) -> tuple[Float[Tensor, " batch"], Change]:
        """F where the rows stand; what the update before changed is known only now."""
        before, self._before = self._before, gradient.free_energy
        return gradient.free_energy, None if before is None else gradient.free_energy - before

    def judge(
        self, posterior: Gaussian, proposal: Gaussian, possible: Bool[Tensor, " batch"], *, iteration: int
    ) -> tuple[Bool[Tensor, " batch"], Change]:
        """The possible proposals that are accepted, and by how much each proposal would change F, if that was asked."""
        return possible, None


class KeepBest(Acceptance):
    """Accept or keep: a proposal is accepted where F does not rise. F is that on the step's common random numbers."""

    def __init__(self, objective: StepObjective, common: Float[Tensor, "samples batch latent"]) -> None:
        self._measure = _measure_on(objective, common)
        self._kept = self._measure(objective.factorised)

    def visit(self, gradient: Gradient) -> tuple[Float[Tensor, " batch"], Change]:
        """F of what was kept; what the update before would have changed was known when it was judged."""
        return self._kept, None

    def judge(
        self, posterior: Gaussian, proposal: Gaussian, possible: Bool[Tensor, " batch"], *, iteration: int
    ) -> tuple[Bool[Tensor, " batch"], Change]:
        """Compare with what was kept."""
        proposed = self._measure(proposal)
        change = proposed - self._kept
        accepted = possible & (proposed <= self._kept)
        self._kept = torch.where(accepted, proposed, self._kept)
        return accepted, change


class Guarded(Acceptance):
    """The first updates are trusted. Those after are made where F stays below the prior's, or does not rise."""

    def __init__(
        self, objective: StepObjective, common: Float[Tensor, "samples batch latent"], *, trusted: int
    ) -> None:
        self._measure, self._trusted = _measure_on(objective, common), trusted
        self._at_prior = self._kept = self._measure(objective.factorised)

    def judge(
        self, posterior: Gaussian, proposal: Gaussian, possible: Bool[Tensor, " batch"], *, iteration: int
    ) -> tuple[Bool[Tensor, " batch"], Change]:
        """Compare with the prior and with the present posterior, on common random numbers."""
        if iteration < self._trusted:
            return possible, None
        if iteration == self._trusted:
            self._kept = self._measure(posterior)
        proposed = self._measure(proposal)
        accepted = possible & (proposed <= torch.maximum(self._kept, self._at_prior))
        self._kept = torch.where(accepted, proposed, self._kept)
        return accepted, None


def _most(effort: Effort, objective: StepObjective, limits: Tensor, *, configured: int) -> int:
    """The most updates of any row; without a look at the device's numbers where it is the same for all rows."""
    if not len(limits):
        return 0
    if objective.observed is None and not isinstance(effort.iterations, Tensor):
        return configured if effort.iterations is None else effort.iterations
    return int(limits.max())


def _measure_on(
    objective: StepObjective, common: Float[Tensor, "samples batch latent"]
) -> Callable[[Gaussian], Float[Tensor, " batch"]]:
    """F of posteriors on common random numbers, in nats."""

    @torch.no_grad()
    def measure(posterior: Gaussian) -> Float[Tensor, " batch"]:
        return objective.free_energy(posterior, common)

    return measure


def _now(objective: StepObjective) -> float:
    """Seconds on a clock that only moves forward, when the work given to the device so far is done."""
    if objective.prior.mean.is_cuda:
        torch.cuda.synchronize(objective.prior.mean.device)
    return time.perf_counter()
