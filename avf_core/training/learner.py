"""One update of variational filtering EM: gradients of theta and phi from a clip batch, and the optimisers' steps.

The laws: an update with a gradient that is not finite changes nothing, and is told. How phi learns is said by the
inference procedure; what it leaves without a way to learn is refused, never carried along unchanged.
"""

import copy
import math
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

import torch
from torch import nn

from avf_core.errors import ConfigurationError, TrainingError
from avf_core.filtering import Filter
from avf_core.inference.base import Inference
from avf_core.native.lessons import Lesson
from avf_core.training import em
from avf_core.training.config import TrainingConfig
from avf_core.training.latents import Latents
from avf_core.training.parallel import Group
from avf_core.trees import tree_map

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Update:
    """What an update did: `applied` unless a gradient was not finite; `skipped_steps` of phi within it (online).

    `metrics`: free energy (KL weighted by 1) and KL in nats per frame, the KL's weight, the gradients' norms: of phi's
    online steps, their mean.
    """

    applied: bool
    skipped_steps: int
    metrics: dict[str, float]


class Learner:
    """A filter, its running average, and the optimisers of theta and phi."""

    def __init__(self, filter: Filter, config: TrainingConfig, *, precision: Precision, group: Group) -> None:
        _check_learns(filter.inference, config)
        self.filter, self.config, self.precision, self.group = filter, config, precision, group
        self.device = next(filter.parameters()).device
        self.average = copy.deepcopy(filter) if config.average_decay else filter
        self.theta = _adam(filter.model, config.theta_rate, config)
        self.phi = _adam(filter.inference, config.phi_rate, config)
        self.skipped_steps = 0
        self.online_norms: list[float] = []

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What has weights to be saved."""
        averaged = {"average": self.average} if self.config.average_decay else {}
        return {"filter": self.filter, **averaged}

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """What has moments to be saved."""
        return {"theta": self.theta, "phi": self.phi}

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates of an epoch."""
        decay = self.config.learning_rate_decay**epoch
        theta_rate = self.config.theta_rate if epoch >= self.config.theta_waits else 0.0
        for optimizer, rate in ((self.theta, theta_rate), (self.phi, self.config.phi_rate)):
            for group in optimizer.param_groups:
                group["lr"] = rate * decay

    def update(self, clip: em.Clip, *, kl_weight: float, seed: int, updates: int) -> Update:
        """One EM step on a clip batch; `seed` is dropout's, `updates` counts those before."""
        torch.manual_seed(seed)
        clip = tree_map(lambda t: t.to(self.device), clip)
        taken = self.filter.model.reader.taken(clip.drive, shape=tuple(clip.real.shape), like=clip.xs)
        clip = replace(clip, drive=taken)
        self.skipped_steps, self.online_norms = 0, []
        self.zero_gradients()
        totals = self.backward(self.group.rows(clip), kl_weight)
        theta_norm = self._clipped_norm(self.filter.model)
        phi_norm = self._clipped_norm(self.filter.inference)
        applied = math.isfinite(theta_norm + phi_norm)
        if applied:
            self.theta.step()
            self.phi.step()
            self._follow(updates + 1)
        free_energy, kl = (value / float(clip.frames) for value in self.group.sums([totals.free_energy, totals.kl]))
        metrics = {"free_energy": free_energy, "kl": kl, "kl_weight": kl_weight}
        norms = {"theta_norm": theta_norm, "phi_norm": fmean(self.online_norms or [phi_norm])}
        return Update(applied=applied, skipped_steps=self.skipped_steps, metrics=metrics | norms)

    def zero_gradients(self) -> None:
        """Forget all gradients."""
        self.theta.zero_grad()
        self.phi.zero_grad()

    def backward(self, clip: em.Clip, weight: float) -> em.Totals:
        """Gradients of theta and phi; with online learning phi has been stepped on the way.

        Dropout is for theta: the E-step infers under the model as it will be used.
        """
        self.filter.train()
        if self.filter.inference.learns == "with theta":
            objective, totals = em.joint_free_energy(self.filter, clip, kl_weight=weight, outlier=self.config.outlier)
        else:
            self.filter.model.eval()
            clip = em.filled(self.filter, clip)
            latents = self._expectation(clip, weight)
            self.filter.model.train()
            objective, totals = em.clip_free_energy(
                self.filter, clip, latents, kl_weight=weight, outlier=self.config.outlier
            )
        objective.backward()  # type: ignore[no-untyped-call]
        if self.filter.inference.learns == "with theta":
            _check_reached(self.filter.inference)
        return totals

    def _expectation(self, clip: em.Clip, weight: float) -> Latents:
        """The E-step: latents and posteriors; phi has been stepped (online) or has its gradients.

        It may be in bfloat16: posteriors are found by descent, which forgives rounding, and the M-step that scores
        them is in float32.
        """
        inference, config = self.filter.inference, self.config
        learns, online = inference.learns == "in the E-step", config.phi_steps == "online"

        def learn(study: em.Studied) -> None:
            weigh = em.weighing(clip.sequences, config.outlier)
            if isinstance(study, Lesson) and self.group.size == 1:
                norm = study.move(weigh, self.phi, clip_norm=config.clip_norm)
            else:
                study.backward(weigh)
                _check_reached(inference)
                norm = self._clipped_norm(inference)
                if math.isfinite(norm):
                    self.phi.step()
            if math.isfinite(norm):
                self.online_norms.append(norm)
            else:
                self.skipped_steps += 1

        latents, study = em.expectation(
            self.filter,
            clip,
            kl_weight=weight,
            learn=learn if learns and online else None,
            samples=config.samples,
            dtype=torch.bfloat16 if self.precision == "bfloat16" else None,
        )
        self.phi.zero_grad()
        if learns and not online:
            study.backward(em.weighing(clip.frames, config.outlier))
            _check_reached(inference)
        return latents

    def _clipped_norm(self, module: nn.Module) -> float:
        """The norm of a module's gradients, summed over the processes; they are then clipped to the configured one."""
        self.group.add_gradients(module)
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        limit = self.config.clip_norm or math.inf
        if norm > limit:
            torch._foreach_mul_(gradients, limit / norm)
        return norm

    def _follow(self, updates: int) -> None:
        """Move the running average, which starts fast, towards the weights."""
        if not self.config.average_decay:
            return
        decay = min(self.config.average_decay, (1.0 + updates) / (10.0 + updates))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.filter.parameters()), 1.0 - decay)
            for kept, current in zip(self.average.buffers(), self.filter.buffers(), strict=True):
                kept.copy_(current)  # batch norm's statistics are averages already


def _adam(module: nn.Module, rate: float, config: TrainingConfig) -> torch.optim.AdamW:
    """Adam on a module's parameters; on none, where a procedure has none to learn."""
    groups = [{"params": list(module.parameters())}]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=config.weight_decay, fused=True)


def _check_learns(inference: Inference, config: TrainingConfig) -> None:
    """Raise ConfigurationError where the procedure's parameters have no way to learn, or none from this schedule."""
    name, free = type(inference).__module__, _free(inference)
    if inference.learns == "nothing" and free:
        raise ConfigurationError(
            f"{name} has parameters ({_listed(free)}) but its `learns` is 'nothing', so that nothing would train them: "
            "let it be 'in the E-step' (with a `study`) or 'with theta', or freeze them (requires_grad_(False))"
        )
    if inference.learns == "with theta" and config.samples > 1:
        raise ConfigurationError(
            f"training.samples is {config.samples}, but {name} learns together with theta from the free energy of one "
            "sample: set it to 1, or choose another procedure"
        )


def _check_reached(inference: Inference) -> None:
    """Raise TrainingError where a parameter got no gradient from the way in which the procedure says it learns."""
    missed = [name for name in _free(inference) if inference.get_parameter(name).grad is None]
    if missed:
        raise TrainingError(
            f"{type(inference).__module__} learns {inference.learns!r}, but that gives {_listed(missed)} no gradient: "
            "let its posteriors, or its `study`, make use of these parameters, or freeze them (requires_grad_(False))"
        )


def _free(inference: Inference) -> list[str]:
    """The names of the parameters that are to be trained."""
    return [name for name, parameter in inference.named_parameters() if parameter.requires_grad]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
