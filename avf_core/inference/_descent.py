"""Descent on F_t from the prior: what all procedures that iterate share.

    q <- prior, then repeat      q <- propose(q, grad_q F_t(q))

The laws: the gradient is that of each row's own F_t. A row that is done is frozen, and stays in the batch: dropping
it would let the batch's size, and so a row's rounding, depend on other rows. Noise that judges or shapes a posterior
is never the noise that its free energy is reported on, so that what is reported stays unbiased.
"""

import sys
import time
from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import State
from avf_core.distributions import Gaussian
from avf_core.errors import ConfigurationError
from avf_core.inference import base
from avf_core.objectives import Gradient, StepObjective
from avf_core.trees import where

REACH = 1e6  # deviations of the prior: an update that would leave this range, or is not finite, is not made
AHEAD = 8  # iterations whose noise is drawn in one go
GUARD_SAMPLES = 2  # common random numbers on which updates that are not trusted are compared with the prior


@dataclass(frozen=True, kw_only=True)
class Config:
    """How long to descend, and on what evidence.

    samples: gradient samples an iteration, in antithetic pairs where `antithetic`.
    keep_best: accept or keep. Every proposal is compared with the present posterior on common random numbers, one
    draw of `common_samples` antithetic samples for the whole step, and made only where F on them does not rise. Few
    samples let what is kept suit them rather than the posterior.
    """

    iterations: int = 1
    samples: int = 1
    antithetic: bool = False
    keep_best: bool = False
    common_samples: int = 16

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.samples < 1:
            raise ConfigurationError(f"iterations={self.iterations}, samples={self.samples}: each must be at least 1")
        if self.antithetic and self.samples % 2:
            raise ConfigurationError(f"antithetic pairs need an even number of samples, not {self.samples}")
        if self.common_samples < 2 or self.common_samples % 2:
            raise ConfigurationError(f"common_samples is {self.common_samples}, expected an even number from 2 up")


class Inference(base.Inference):
    """A procedure that descends from the prior, by proposals of its own."""

    config: Config

    @abstractmethod
    def begin(self, objective: StepObjective) -> State:
        """What `propose` needs beside posterior and gradient, with a leading batch axis."""

    @abstractmethod
    def propose(
        self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, memory: State, *, iteration: int
    ) -> tuple[Gaussian, State]:
        """The posterior that the update of this iteration (from 0) leads to, and what to remember of it."""

    def trusted(self) -> int:
        """How many updates are made without a comparison.

        Those after are compared with the prior: they are not made where F would rise above both its own and that of
        the present posterior, on common random numbers.
        """
        return sys.maxsize

    def infer(self, objective: StepObjective, state: State, *, effort: base.Effort = base.CONFIGURED) -> base.Inferred:
        """Start at the prior and update it, each row within its effort."""
        search = Search(self, objective, effort)
        while search.goes_on():
            search.update()
        return search.result(state)

    def draw(self, objective: StepObjective, iteration: int) -> Float[Tensor, "samples batch latent"]:
        """The noise of the gradient samples of one iteration."""
        return self.draws(objective, range(iteration, iteration + 1))[0]

    def draws(self, objective: StepObjective, iterations: range) -> Float[Tensor, "iterations samples batch latent"]:
        """The noise of the gradient samples of several iterations: the same as one by one, and cheaper."""
        drawn = objective.noise(streams=self.streams(iterations))
        return self.in_samples(drawn, len(iterations))

    def streams(self, iterations: range) -> list[int]:
        """The numbers of the streams that the gradient samples of these iterations are drawn from."""
        count = self.config.samples // 2 if self.config.antithetic else self.config.samples
        return [noise.ITERATION + i * self.config.samples + sample for i in iterations for sample in range(count)]

    def in_samples(
        self, drawn: Float[Tensor, "streams *rows latent"], iterations: int
    ) -> Float[Tensor, "iterations samples *rows latent"]:
        """What was drawn from `streams`, by iteration and sample."""
        drawn = drawn.reshape(iterations, -1, *drawn.shape[1:])
        return torch.cat([drawn, -drawn], dim=1) if self.config.antithetic else drawn

    def common(self, objective: StepObjective) -> Float[Tensor, "samples batch latent"]:
        """The step's common random numbers, in antithetic pairs: shifting the mean cannot make them look good."""
        count = self.config.common_samples if self.config.keep_best else GUARD_SAMPLES
        drawn = objective.noise(streams=range(noise.COMMON, noise.COMMON + count // 2))
        return torch.cat([drawn, -drawn])


class Search:
    """One step's descent, as far as it has come; its tensors have a row a sequence."""

    def __init__(self, inference: Inference, objective: StepObjective, effort: base.Effort) -> None:
        self.inference = inference
        self.objective = objective
        self.effort = effort
        self.started = _now(objective)
        self.limits = effort.limits(objective, configured=inference.config.iterations)
        self.most = int(self.limits.max()) if len(self.limits) else 0
        self.keep_best = inference.config.keep_best
        self.posterior = Gaussian(objective.prior.mean.detach(), objective.prior.log_variance.detach())
        self.memory = inference.begin(objective)
        self.going = self.limits > 0
        self.spent = torch.zeros_like(self.limits)
        self.iteration = 0
        self.visited: list[Tensor] = []
        self.ahead: Tensor | None = None
        self.judge = Judge(inference, objective) if self.keep_best or self.most > inference.trusted() else None

    def goes_on(self) -> bool:
        """Whether any row may be updated once more, and there is time for it."""
        if self.iteration >= self.most:
            return False
        if self._settled():
            return False
        if self.effort.budget is None:
            return True
        elapsed = _now(self.objective) - self.started
        # What would end too late, going by the iterations so far, is not begun.
        expected = elapsed / self.iteration if self.iteration else 0.0
        return elapsed + expected < self.effort.budget

    def update(self) -> None:
        """One iteration: of the rows that go on, those whose proposal is accepted move to it."""
        gradient = self.objective.gradient(self.posterior, self._draw())
        if self.visited and not self.keep_best:
            self._settle(gradient.free_energy - self.visited[-1])
            if self._settled():
                return
        best = self.judge if self.keep_best else None
        self.visited.append(gradient.free_energy if best is None else best.free_energy)
        proposal, self.memory = self.inference.propose(
            self.posterior, gradient, self.objective.prior, self.memory, iteration=self.iteration
        )
        self.spent = self.spent + self.going
        accepted = self.going & _within_reach(proposal, self.objective.prior)
        if self.judge is not None:
            accepted = self._judged(self.judge, proposal, accepted)
        self.posterior = where(accepted, proposal, self.posterior)
        self.iteration += 1
        self.going = self.going & (self.spent < self.limits)

    def result(self, state: State) -> base.Inferred:
        """The posterior found, with what was met on the way."""
        none = self.posterior.mean.new_zeros(len(self.limits), 0)
        return base.Inferred(
            posterior=self.posterior,
            state=state,
            free_energies=torch.stack(self.visited, dim=-1) if self.visited else none,
            iterations=self.spent,
        )

    def _draw(self) -> Float[Tensor, "samples batch latent"]:
        """The noise of this iteration, drawn with that of the next few."""
        place = self.iteration % AHEAD
        if self.ahead is None or not place:
            self.ahead = self.inference.draws(
                self.objective, range(self.iteration, min(self.iteration + AHEAD, self.most))
            )
        return self.ahead[place]

    def _judged(self, judge: "Judge", proposal: Gaussian, possible: Bool[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """The possible proposals that stand the comparison which is due."""
        if self.keep_best:
            accepted, change = judge.compare(proposal, possible, ceiling=judge.free_energy)
            self._settle(change)
            return accepted
        if self.iteration < self.inference.trusted():
            return possible
        if self.iteration == self.inference.trusted():
            judge.turn_to(self.posterior)
        accepted, _ = judge.compare(proposal, possible, ceiling=torch.maximum(judge.free_energy, judge.at_prior))
        return accepted

    def _settled(self) -> bool:
        """Whether the tolerance has stopped every row."""
        return self.effort.tolerance is not None and not bool(self.going.any())

    def _settle(self, change: Float[Tensor, " batch"]) -> None:
        """Rows whose F no longer changes are done; one that is no number never would."""
        if self.effort.tolerance is not None:
            self.going = self.going & (change.abs() >= self.effort.tolerance)


class Judge:
    """Comparisons of posteriors by F on a step's common random numbers, in nats.

    `at_prior` is F of the prior, `free_energy` that of the posteriors which proposals are compared with.
    """

    def __init__(self, inference: Inference, objective: StepObjective) -> None:
        self.objective = objective
        self.common = inference.common(objective)
        self.at_prior = self.free_energy = self._measure(objective.prior)

    def turn_to(self, posterior: Gaussian) -> None:
        """Compare with these posteriors from now on."""
        self.free_energy = self._measure(posterior)

    def compare(
        self, proposal: Gaussian, possible: Bool[Tensor, " batch"], *, ceiling: Float[Tensor, " batch"]
    ) -> tuple[Bool[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Which of the possible proposals have an F up to the ceiling, and by how much each would change F."""
        proposed = self._measure(proposal)
        change = proposed - self.free_energy
        accepted = possible & (proposed <= ceiling)
        self.free_energy = torch.where(accepted, proposed, self.free_energy)
        return accepted, change

    @torch.no_grad()
    def _measure(self, posterior: Gaussian) -> Float[Tensor, " batch"]:
        return self.objective.free_energy(posterior, self.common)


def whiten(posterior: Gaussian, gradient: Gradient, prior: Gaussian) -> tuple[Gaussian, Gradient]:
    """The posterior and the gradient in coordinates where the prior is standard normal."""
    deviation = prior.deviation
    position = Gaussian((posterior.mean - prior.mean) / deviation, posterior.log_variance - prior.log_variance)
    return position, Gradient(gradient.mean * deviation, gradient.log_variance, gradient.free_energy)


def unwhiten(position: Gaussian, prior: Gaussian) -> Gaussian:
    """The posterior at a position in coordinates where the prior is standard normal; nothing flows into the prior."""
    mean = prior.mean.detach() + prior.deviation.detach() * position.mean
    return Gaussian(mean, prior.log_variance.detach() + position.log_variance)


def _within_reach(proposal: Gaussian, prior: Gaussian) -> Bool[Tensor, " batch"]:
    """Rows whose proposal is finite, with a mean that leaves F finite."""
    near = (proposal.mean - prior.mean).abs() <= REACH * prior.deviation
    return (near & proposal.log_variance.isfinite()).all(-1)


def _now(objective: StepObjective) -> float:
    """Seconds on a clock that only moves forward, when the work given to the device so far is done."""
    if objective.prior.mean.is_cuda:
        torch.cuda.synchronize(objective.prior.mean.device)
    return time.perf_counter()
