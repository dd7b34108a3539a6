"""Descent on F_t from the prior: what all procedures that iterate share.

    q <- prior, then repeat      q <- propose(q, grad_q F_t(q))

The laws: the gradient is that of each row's own F_t. A row that is done is frozen, and stays in the batch: dropping
it would let the batch's size, and so a row's rounding, depend on other rows. Noise that judges or shapes a posterior
is never the noise that its free energy is reported on, so that what is reported stays unbiased.
"""

import copy
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import State
from avf_core.distributions import Gaussian
from avf_core.errors import ConfigurationError
from avf_core.inference import base
from avf_core.inference._policies import Acceptance, Guarded, KeepBest, Pace
from avf_core.objectives import Gradient, StepObjective
from avf_core.trees import where

REACH = 1e6  # deviations of the prior: an update that would leave this range, or is not finite, is not made
AHEAD = 8  # iterations whose noise is drawn in one go
GUARD_SAMPLES = 2  # common random numbers on which updates that are not trusted are compared with the prior


@dataclass(frozen=True, kw_only=True)
class Config:
    """How long to descend, and on what evidence.

    samples: gradient samples an iteration, in antithetic pairs where `antithetic`; or a number for each iteration, of
    which the last is that of all after it: early iterations do with few, at a fraction of the time.
    keep_best: accept or keep. Every proposal is compared with the present posterior on common random numbers, one
    draw of `common_samples` antithetic samples for the whole step, and made only where F on them does not rise. Few
    samples let what is kept suit them rather than the posterior.
    """

    iterations: int = 1
    samples: int | tuple[int, ...] = 1
    antithetic: bool = False
    keep_best: bool = False
    common_samples: int = 16

    def __post_init__(self) -> None:
        counts = (self.samples,) if isinstance(self.samples, int) else self.samples
        if self.iterations < 1 or not counts or min(counts) < 1:
            raise ConfigurationError(f"iterations={self.iterations}, samples={self.samples}: each must be at least 1")
        if self.antithetic and any(count % 2 for count in counts):
            raise ConfigurationError(f"antithetic pairs need an even number of samples, not {self.samples}")
        if self.common_samples < 2 or self.common_samples % 2:
            raise ConfigurationError(f"common_samples is {self.common_samples}, expected an even number from 2 up")

    @property
    def most_samples(self) -> int:
        """The gradient samples of the iteration that has the most."""
        return self.samples if isinstance(self.samples, int) else max(self.samples)

    def at_most(self, samples: int | None) -> "Config":
        """The same with no more gradient samples in any iteration; one, or a pair of them, is left."""
        if samples is None or samples >= self.most_samples:
            return self
        most = max(2, samples - samples % 2) if self.antithetic else samples
        own = (self.samples,) if isinstance(self.samples, int) else self.samples
        return replace(self, samples=tuple(min(count, most) for count in own))

    def samples_of(self, iteration: int) -> int:
        """The gradient samples of one iteration."""
        return self.samples if isinstance(self.samples, int) else self.samples[min(iteration, len(self.samples) - 1)]

    def samples_before(self, iteration: int) -> int:
        """The gradient samples of all iterations before this one together."""
        if isinstance(self.samples, int):
            return iteration * self.samples
        beyond = max(0, iteration - len(self.samples))
        return sum(self.samples[:iteration]) + beyond * self.samples[-1]


class Inference(base.Inference):
    """A procedure that descends from the prior, by proposals of its own."""

    config: Config

    @property
    def iterations(self) -> int:
        """The configured number of updates."""
        return self.config.iterations

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
        if effort.samples is not None:
            return self._with_samples(effort.samples)._descended(objective, state, effort=effort)
        return self._descended(objective, state, effort=effort)

    def _with_samples(self, most: int) -> "Inference":
        """This procedure, its parameters included, with fewer gradient samples."""
        fewer = copy.copy(self)
        fewer.config = self.config.at_most(most)
        return fewer

    def _descended(self, objective: StepObjective, state: State, *, effort: base.Effort) -> base.Inferred:
        return self.descended(objective, state, by=self, recorder=Recorder(), effort=effort)

    def descended(
        self,
        objective: StepObjective,
        state: State,
        *,
        by: "Proposer",
        recorder: "Recorder",
        effort: base.Effort = base.CONFIGURED,
    ) -> base.Inferred:
        """What this procedure infers where `by` makes its proposals and `recorder` is told of them."""
        pace = Pace(effort, objective, configured=self.iterations)
        posterior = descend(
            by,
            objective,
            self._noise(objective, pace.most),
            pace=pace,
            acceptance=self._acceptance(objective, pace.most),
            recorder=recorder,
        )
        met = recorder.free_energies
        none = posterior.mean.new_zeros(len(pace.spent), 0)
        return base.Inferred(
            posterior=posterior,
            state=state,
            free_energies=torch.stack(met, dim=-1) if met else none,
            iterations=pace.spent,
        )

    def _acceptance(self, objective: StepObjective, most: int) -> Acceptance:
        """Which proposals are accepted, where a row may be given as many as `most`."""
        if self.config.keep_best:
            return KeepBest(objective, self.common(objective))
        if most > self.trusted():
            return Guarded(objective, self.common(objective), trusted=self.trusted())
        return Acceptance()

    def _noise(self, objective: StepObjective, most: int) -> Iterator[Float[Tensor, "samples batch latent"]]:
        """The noise of the gradient samples of each iteration, drawn for the next few in one go."""
        for start in range(0, most, AHEAD):
            yield from self.draws(objective, range(start, min(start + AHEAD, most)))

    def draw(self, objective: StepObjective, iteration: int) -> Float[Tensor, "samples batch latent"]:
        """The noise of the gradient samples of one iteration."""
        return self.draws(objective, range(iteration, iteration + 1))[0]

    def draws(self, objective: StepObjective, iterations: range) -> Sequence[Float[Tensor, "samples batch latent"]]:
        """The noise of the gradient samples of several iterations: the same as one by one, and cheaper."""
        drawn = objective.noise(streams=self.streams(iterations))
        each: Sequence[Tensor] = drawn.split([self._independent(i) for i in iterations])  # type: ignore[no-untyped-call]
        return [torch.cat([one, -one]) for one in each] if self.config.antithetic else each

    def streams(self, iterations: range) -> list[int]:
        """The numbers of the streams that the gradient samples of these iterations are drawn from."""
        first = {iteration: noise.ITERATION + self.config.samples_before(iteration) for iteration in iterations}
        return [first[i] + sample for i in iterations for sample in range(self._independent(i))]

    def _independent(self, iteration: int) -> int:
        """How many samples of an iteration are drawn: half of them in antithetic pairs."""
        count = self.config.samples_of(iteration)
        return count // 2 if self.config.antithetic else count

    def common(self, objective: StepObjective) -> Float[Tensor, "samples batch latent"]:
        """The step's common random numbers, in antithetic pairs: shifting the mean cannot make them look good."""
        count = self.config.common_samples if self.config.keep_best else GUARD_SAMPLES
        drawn = objective.noise(streams=range(noise.COMMON, noise.COMMON + count // 2))
        return torch.cat([drawn, -drawn])


@runtime_checkable
class Proposer(Protocol):
    """Who makes the proposals of a descent."""

    def begin(self, objective: StepObjective) -> State:
        """See `Inference.begin`."""

    def propose(
        self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, memory: State, *, iteration: int
    ) -> tuple[Gaussian, State]:
        """See `Inference.propose`."""


class Recorder:
    """Who is told of a descent; keeps F of the iterates that it went on from, in nats."""

    def __init__(self) -> None:
        self.free_energies: list[Tensor] = []

    def visited(self, gradient: Gradient, free_energy: Float[Tensor, " batch"]) -> None:
        """An iterate's gradient, and its F as the descent goes by it."""
        self.free_energies.append(free_energy)

    def proposed(self, proposal: Gaussian, accepted: Bool[Tensor, " batch"]) -> None:
        """What followed from it, and in which rows that is the next iterate."""


def descend(
    proposer: Proposer,
    objective: StepObjective,
    noise: Iterable[Float[Tensor, "samples batch latent"]],
    *,
    pace: Pace,
    acceptance: Acceptance,
    recorder: Recorder,
) -> Gaussian:
    """The inner loop of Algorithm 1 (Marino, Cvitkovic & Yue 2018): the posterior that inference of a step ends at.

    `noise` is that of each iteration's gradient samples. Rows that are done, or do not accept, stay where they are.
    """
    prior = objective.factorised
    posterior = Gaussian(prior.mean.detach(), prior.log_variance.detach())
    memory = proposer.begin(objective)
    for iteration, eps in enumerate(noise):
        if not pace.goes_on():
            break
        gradient = objective.gradient(posterior, eps)
        free_energy, change = acceptance.visit(gradient)
        pace.settle(change)
        if pace.is_over():
            break
        recorder.visited(gradient, free_energy)
        proposal, memory = proposer.propose(posterior, gradient, prior, memory, iteration=iteration)
        possible = pace.going & _within_reach(proposal, prior)
        accepted, change = acceptance.judge(posterior, proposal, possible, iteration=iteration)
        recorder.proposed(proposal, accepted)
        posterior = where(accepted, proposal, posterior)
        pace.made(change)
    return posterior


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
