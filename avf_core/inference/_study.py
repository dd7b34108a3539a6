"""f_phi at work on a clip, and what its parameters learn from that: every application by F at its own proposal.

The law: the gradient that judges an application is, where all rows went on from it, the one that the next iteration
reads. Nothing is evaluated a second time.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import Gaussian
from avf_core.inference import _descent, base
from avf_core.nets import Record, RecordedHighways
from avf_core.objectives import Gradient, StepObjective
from avf_core.trees import concatenate


class Studied(_descent.Inference):
    """A procedure that descends by an update model f_phi, in the parts that a study of it applies."""

    @abstractmethod
    def terms(self, posterior: Gaussian, gradient: Gradient, prior: Gaussian) -> Float[Tensor, "batch terms=4 latent"]:
        """Mean, log-variance and F's gradients with respect to both, as f_phi works on them."""

    @abstractmethod
    def features(
        self, terms: Float[Tensor, "batch terms=4 latent"], seen: Float[Tensor, "batch seen"]
    ) -> Float[Tensor, "batch features"]:
        """What f_phi reads."""

    @abstractmethod
    def settle(
        self, terms: Float[Tensor, "batch terms=4 latent"], said: Float[Tensor, "batch outputs"], prior: Gaussian
    ) -> Gaussian:
        """The posterior that what f_phi says leads to."""

    @abstractmethod
    def recorded(self, dtype: torch.dtype) -> RecordedHighways:
        """f_phi for training: applied in this precision, with one backward pass for many applications."""


@dataclass(frozen=True, kw_only=True)
class Application:
    """One application of f_phi: its terms, what it said, and the gradient of F at what that led to.

    `net` applied it and has its backward pass; `real` marks the rows that are no padding.
    """

    net: RecordedHighways
    record: Record
    terms: Float[Tensor, "batch terms latent"]
    said: Float[Tensor, "batch outputs"]
    prior: Gaussian
    target: Gradient
    real: Bool[Tensor, " batch"]


class Study(base.Study):
    """f_phi at work on a clip: every application is trained by F at its own proposal."""

    inference: Studied

    def __init__(self, inference: Studied, dtype: torch.dtype) -> None:
        super().__init__(inference)
        self.net = inference.recorded(dtype)
        self.applications: list[Application] = []

    def streams(self) -> Sequence[int]:
        """Those of the gradient samples, also of the last iterate's."""
        return self.inference.streams(range(self.inference.iterations + 1))

    def infer(self, objective: StepObjective, state: State, *, real: Bool[Tensor, " batch"]) -> base.Inferred:
        """Descend as in filtering, by f_phi's recorded copy."""
        recorder = _Recorder(self, objective, real)
        inferred = self.inference.descended(objective, state, by=recorder, recorder=recorder)
        self.applications += recorder.end()
        return inferred

    def backward(self, weigh: base.Weigh) -> None:
        """One pass over all applications; they stay."""
        joined = concatenate(self.applications) if len(self.applications) > 1 else self.applications[0]
        target = joined.target
        weight = weigh(target.free_energy, joined.real)[:, None].to(target.mean.dtype)
        with torch.enable_grad():
            said = joined.said.detach().requires_grad_()
            updated = self.inference.settle(joined.terms, said, joined.prior)
            (slope,) = torch.autograd.grad(
                [updated.mean, updated.log_variance], said, [target.mean * weight, target.log_variance * weight]
            )
        joined.net.backward(joined.record, slope)

    def renew(self) -> None:
        """The copy takes the parameters' values anew."""
        self.net.refresh()
        self.applications = []


class _Recorder(_descent.Recorder):
    """Proposes as f_phi does at one step, and completes each application by F's gradient at what it proposed."""

    def __init__(self, study: Study, objective: StepObjective, real: Bool[Tensor, " batch"]) -> None:
        super().__init__()
        self.inference, self.net = study.inference, study.net
        self.objective, self.real = objective, real
        self.complete: list[Application] = []

    def begin(self, objective: StepObjective) -> State:
        """As f_phi does."""
        return self.inference.begin(objective)

    def propose(
        self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, memory: State, *, iteration: int
    ) -> tuple[Gaussian, State]:
        """One application of f_phi, recorded."""
        self.terms = self.inference.terms(posterior, gradient, prior)
        self.said, self.record = self.net(self.inference.features(self.terms, memory["seen"]))
        return self.inference.settle(self.terms, self.said, prior), memory

    def proposed(self, proposal: Gaussian, accepted: Bool[Tensor, " batch"]) -> None:
        """What the application led to, whether or not it is gone on from."""
        self.proposal, self.everywhere = proposal, bool(accepted.all())

    def visited(self, gradient: Gradient, free_energy: Float[Tensor, " batch"]) -> None:
        """The gradient at what all rows went on from is had for nothing; at what one did not accept, it is not."""
        if self.free_energies:
            self._judge(gradient if self.everywhere else self._at_proposal())
        super().visited(gradient, free_energy)

    def end(self) -> list[Application]:
        """All applications of the step, the last of which no iteration has read."""
        self._judge(self._at_proposal())
        return self.complete

    def _at_proposal(self) -> Gradient:
        return self.objective.gradient(self.proposal, self.inference.draw(self.objective, len(self.complete) + 1))

    def _judge(self, target: Gradient) -> None:
        application = Application(
            net=self.net,
            record=self.record,
            terms=self.terms,
            said=self.said,
            prior=self.objective.factorised,
            target=target,
            real=self.real,
        )
        self.complete.append(application)
