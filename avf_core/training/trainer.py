"""The training run: epochs of clip batches, validation, early stopping, and resuming where it stopped.

    for each clip batch:    E-step (filter the clip, train phi)  ->  M-step (train theta)  ->  average the weights
    every few epochs:       validate; keep the best as the checkpoint

The law: a run that was interrupted and resumed goes on as if it had not been. Clips and noise are functions of the
seed, the epoch and the batch; all else is in the saved state.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from avf_core import checkpoints
from avf_core.errors import TrainingError
from avf_core.evaluation import evaluate
from avf_core.filtering import Filter
from avf_core.inference import direct, iterative
from avf_core.objectives import Posterior
from avf_core.training import em, state
from avf_core.training.clips import batches_per_epoch, clip_batch
from avf_core.training.config import TrainingConfig
from avf_core.training.parallel import Group
from avf_core.trees import tree_map

Sequences = Sequence[np.ndarray]
MOST_SKIPPED = 100  # consecutive updates with non-finite gradients before giving up


@runtime_checkable
class Listener(Protocol):
    """Who is told how a run goes: a progress bar, a log file."""

    def updated(self, progress: state.Progress, metrics: dict[str, float]) -> None:
        """After every update."""

    def validated(self, progress: state.Progress, record: dict[str, Any]) -> None:
        """After every validation."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is being trained: the settings of the filter, the schedule, the data, and the facts for the model card."""

    settings: dict[str, Any]
    config: TrainingConfig
    train: Sequences
    valid: Sequences
    facts: dict[str, Any]
    folder: Path


class Trainer:
    """Trains the filter of a run; `train` returns when it is done, out of time, or told to stop."""

    def __init__(
        self,
        run: Run,
        filter: Filter,
        listener: Listener,
        *,
        precision: Literal["float32", "bfloat16"] = "float32",
        group: Group | None = None,
    ) -> None:
        self.run, self.filter, self.listener, self.precision = run, filter, listener, precision
        _check_complete(run.train)
        self.group = group or Group()
        self.group.agree(filter)
        self.device = next(filter.parameters()).device
        config = run.config
        self.average = copy.deepcopy(filter) if config.average_decay else filter
        self.theta = _adam(filter.model, config.theta_rate, config)
        self.phi = _adam(filter.inference, config.phi_rate, config)
        self.modules: dict[str, torch.nn.Module] = {"filter": filter}
        if config.average_decay:
            self.modules["average"] = self.average
        self.progress = state.Progress()
        self._consecutive_skips = 0

    def resume(self) -> bool:
        """Restore the state of the run's folder; False where there is none."""
        found = state.load(
            self.run.folder,
            modules=self.modules,
            optimizers=self._optimizers,
            run=self._identity(),
            group=self.group,
        )
        self.progress = found or self.progress
        return found is not None

    def train(self, *, stop: Callable[[], bool]) -> state.Progress:
        """Go on from where the run stands until it is finished or `stop()`; the state is saved in either case."""
        self.run.folder.mkdir(parents=True, exist_ok=True)
        config, progress = self.run.config, self.progress
        while not progress.finished and progress.epoch < config.epochs:
            if not self._epoch(stop):
                self.save()
                return progress
            progress.epoch, progress.position = progress.epoch + 1, 0
            last = progress.epoch == config.epochs
            if progress.epoch % config.validate_every == 0 or last:
                self._validate()
                progress.finished = last or progress.validations_since_best >= config.patience
                self.save()
        return progress

    def save(self) -> None:
        """Write the state of the run."""
        if not self.group.leads:
            return
        state.save(
            self.run.folder,
            modules=self.modules,
            optimizers=self._optimizers,
            progress=self.progress,
            run=self._identity(),
        )

    def _epoch(self, stop: Callable[[], bool]) -> bool:
        """The batches that are left of this epoch; False where stopped before its end."""
        progress, config = self.progress, self.run.config
        decay = config.learning_rate_decay**progress.epoch
        for optimizer, rate in ((self.theta, config.theta_rate), (self.phi, config.phi_rate)):
            for group in optimizer.param_groups:
                group["lr"] = rate * decay
        while progress.position < batches_per_epoch(self.run.train, config):
            if self.group.any(stop()):
                return False
            started = time.monotonic()
            clip = clip_batch(self.run.train, config, progress.epoch, progress.position)
            metrics = self.update(tree_map(lambda t: t.to(self.device), clip))
            progress.position += 1
            progress.seconds += time.monotonic() - started
            self.listener.updated(progress, metrics)
        return True

    def update(self, clip: em.Clip) -> dict[str, float]:
        """One EM step on a clip batch; skipped, and counted, where a gradient is not finite."""
        config, progress = self.run.config, self.progress
        torch.manual_seed(config.seed * 1_000_003 + progress.updates + progress.skipped)  # for dropout
        weight = config.kl_weight(progress.epoch)
        self._zero_gradients()
        totals = self._backward(self.group.rows(clip), weight)
        theta_norm = self._clipped_norm(self.filter.model)
        phi_norm = self._clipped_norm(self.filter.inference)
        if not math.isfinite(theta_norm + phi_norm):
            self._skip()
        else:
            self._step_optimizers()
        free_energy, kl = self.group.sums([totals.free_energy, totals.kl])
        frames = float(clip.frames)
        return {
            "free_energy": free_energy / frames,
            "kl": kl / frames,
            "kl_weight": weight,
            "theta_norm": theta_norm,
            "phi_norm": phi_norm,
        }

    def _backward(self, clip: em.Clip, weight: float) -> em.Totals:
        """Gradients of theta and phi; with online learning phi has been stepped on the way.

        Dropout is for theta: the E-step infers under the model as it will be used.
        """
        self.filter.train()
        if isinstance(self.filter.inference, direct.Inference):
            objective, totals = em.direct_free_energy(self.filter, clip, kl_weight=weight)
        else:
            self.filter.model.eval()
            zs, posteriors = self._expectation(clip, weight)
            self.filter.model.train()
            objective, totals = em.clip_free_energy(self.filter, clip, zs, posteriors, kl_weight=weight)
        objective.backward()  # type: ignore[no-untyped-call]
        return totals

    def _expectation(self, clip: em.Clip, weight: float) -> tuple[Tensor, Posterior]:
        """The E-step: latents and posteriors; phi has been stepped (online) or has its gradients.

        With bfloat16 its matrix products are: posteriors are found by descent, which forgives rounding, and the
        M-step that scores them is in float32.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            found = self._infer(clip, weight)
        return tree_map(lambda t: t.to(clip.xs.dtype), found)

    def _infer(self, clip: em.Clip, weight: float) -> tuple[Tensor, Posterior]:
        inference = self.filter.inference
        if not isinstance(inference, iterative.Inference):
            zs, posteriors, _ = em.expectation(self.filter, clip, kl_weight=weight, learn=None)
            return zs, posteriors

        def learn(applications: list[em.Application]) -> None:
            with torch.enable_grad():
                self.phi.zero_grad()
                em.backward_through_updates(inference, applications, clip.sequences)
            if math.isfinite(self._clipped_norm(inference)):
                self.phi.step()
                torch.clear_autocast_cache()
            else:
                self.progress.skipped += 1

        online = self.run.config.phi_steps == "online"
        step = learn if online else None
        zs, posteriors, applications = em.expectation(self.filter, clip, kl_weight=weight, learn=step)
        self.phi.zero_grad()
        if not online:
            em.backward_through_updates(inference, applications, clip.frames)
        return zs, posteriors

    def _clipped_norm(self, module: torch.nn.Module) -> float:
        """The norm of a module's gradients, summed over the processes; they are then clipped to the configured one."""
        self.group.add_gradients(module)
        limit = self.run.config.clip_norm or math.inf
        return float(torch.nn.utils.clip_grad_norm_(module.parameters(), limit))

    def _step_optimizers(self) -> None:
        self.theta.step()
        self.phi.step()
        self.progress.updates += 1
        self._consecutive_skips = 0
        decay = self.run.config.average_decay
        if decay:
            updates = self.progress.updates
            decay = min(decay, (1.0 + updates) / (10.0 + updates))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.filter.parameters()), 1.0 - decay)
                for kept, current in zip(self.average.buffers(), self.filter.buffers(), strict=True):
                    kept.copy_(current)  # batch norm's statistics are averages already

    def _skip(self) -> None:
        self.progress.skipped += 1
        self._consecutive_skips += 1
        if self._consecutive_skips >= MOST_SKIPPED:
            raise TrainingError(
                f"{MOST_SKIPPED} updates in a row had non-finite gradients: training has diverged; "
                "lower training.theta_rate and training.phi_rate, or set training.clip_norm"
            )

    def _validate(self) -> None:
        """Evaluate on the validation split; keep the checkpoint where it is the best so far."""
        progress = self.progress
        self.average.eval()
        evaluation = evaluate(self.average, self.run.valid)
        free_energy = evaluation.free_energy_pooled
        annealed = progress.epoch >= self.run.config.kl_anneal_epochs
        if math.isfinite(free_energy) and (progress.best is None or free_energy < progress.best):
            progress.best, progress.best_epoch, progress.validations_since_best = (
                free_energy,
                progress.epoch,
                0,
            )
            self._write_checkpoint(evaluation.as_dict())
        elif annealed:
            progress.validations_since_best += 1
        record = {
            "epoch": progress.epoch,
            "updates": progress.updates,
            "seconds": round(progress.seconds, 1),
            "valid": evaluation.as_dict(),
        }
        progress.history.append(record)
        self.listener.validated(progress, record)

    def _write_checkpoint(self, validation: dict[str, object]) -> None:
        if not self.group.leads:
            return
        card = {
            **self.run.facts,
            "updates": self.progress.updates,
            "epoch": self.progress.epoch,
            "valid": validation,
        }
        checkpoints.save(self.run.folder, filter=self.average, settings=self.run.settings, card=card)

    @property
    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"theta": self.theta, "phi": self.phi}

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to be resumed; the number of epochs may be raised."""
        schedule = {k: v for k, v in vars(self.run.config).items() if k not in ("epochs", "patience")}
        sizes = [len(s) for s in self.run.train], [len(s) for s in self.run.valid]
        start = self.run.facts.get("init")
        return {"settings": self.run.settings, "training": schedule, "data": sizes, "start": start}

    def _zero_gradients(self) -> None:
        self.theta.zero_grad()
        self.phi.zero_grad()


def _check_complete(sequences: Sequences) -> None:
    """Raise TrainingError where a training sequence has missing values: the M-step needs whole observations."""
    for index, sequence in enumerate(sequences):
        if np.issubdtype(sequence.dtype, np.floating) and bool(np.isnan(sequence).any()):
            raise TrainingError(
                f"training sequence {index} has missing values (NaN), expected whole observations: fill them (avf "
                "impute does, with a model trained on whole ones) or cut the sequence; filtering takes gaps as they are"
            )


def _adam(module: torch.nn.Module, rate: float, config: TrainingConfig) -> torch.optim.AdamW:
    """Adam on a module's parameters; on none, where a procedure has none to learn."""
    groups = [{"params": list(module.parameters())}]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=config.weight_decay, fused=True)
