"""The training run: epochs of clip batches, validation, early stopping, and resuming where it stopped.

    for each clip batch:    E-step (filter the clip, train phi)  ->  M-step (train theta)  ->  average the weights
    every few epochs:       validate; keep the best as the checkpoint

The law: a run that was interrupted and resumed goes on as if it had not been. Clips and noise are functions of the
seed, the epoch and the batch; all else is in the saved state.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import avf_sources
import numpy as np

from avf_core import checkpoints
from avf_core.analysis.evaluation import evaluate
from avf_core.errors import TrainingError
from avf_core.filtering import Filter
from avf_core.training import em, state
from avf_core.training.clips import batches_per_epoch, clip_batch
from avf_core.training.config import TrainingConfig
from avf_core.training.learner import Learner, Precision
from avf_core.training.parallel import Group

Sequences = Sequence[np.ndarray]
MOST_SKIPPED = 100  # consecutive updates with non-finite gradients before giving up
LATER = {"kl_anneal": "linear"}
"""Options of a schedule that older runs do not name, and what these did: so they can be gone on with."""


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
        precision: Precision = "float32",
        group: Group | None = None,
    ) -> None:
        self.run, self.filter, self.listener = run, filter, listener
        self.group = group or Group()
        self.group.agree(filter)
        self.learner = Learner(filter, run.config, precision=precision, group=self.group)
        self.progress = state.Progress()
        self._consecutive_skips = 0
        # What else the machine does is no cost of a run; an accelerator's work is no time of the processor.
        self._clock = time.process_time if self.group.device.type == "cpu" else time.monotonic

    def resume(self) -> bool:
        """Restore the state of the run's folder; False where there is none."""
        found = state.load(
            self.run.folder,
            modules=self.learner.modules,
            optimizers=self.learner.optimizers,
            run=self._identity(),
            group=self.group,
        )
        if found is not None:
            # The number of epochs may have been raised since.
            found.finished = found.validations_since_best >= self.run.config.patience
            self.progress = found
        return found is not None

    def train(self, *, stop: Callable[[], bool], seconds: float = math.inf) -> state.Progress:
        """Go on from where the run stands until it is finished or `stop()`; the state is saved in either case.

        After so many `seconds` of updates, of the processor where it trains, a run is at its end with the epoch.
        """
        avf_sources.make_folder(self.run.folder)
        config, progress = self.run.config, self.progress
        if config.validate_start and not progress.history:
            self.validate()
        while not progress.finished and progress.epoch < config.epochs:
            if not self._epoch(stop):
                self.save()
                return progress
            progress.epoch, progress.position = progress.epoch + 1, 0
            last = progress.epoch == config.epochs or progress.seconds >= seconds
            if progress.epoch % config.validate_every == 0 or last:
                self.validate()
                progress.finished = last or progress.validations_since_best >= config.patience
                self.save()
        return progress

    def save(self) -> None:
        """Write the state of the run."""
        if not self.group.leads:
            return
        state.save(
            self.run.folder,
            modules=self.learner.modules,
            optimizers=self.learner.optimizers,
            progress=self.progress,
            run=self._identity(),
        )

    def _epoch(self, stop: Callable[[], bool]) -> bool:
        """The batches that are left of this epoch; False where stopped before its end."""
        progress, config = self.progress, self.run.config
        self.learner.begin_epoch(progress.epoch)
        while progress.position < batches_per_epoch(self.run.train, config):
            if self.group.any(stop()):
                return False
            started = self._clock()
            clip = clip_batch(self.run.train, config, progress.epoch, progress.position)
            metrics = self.update(clip)
            progress.position += 1
            progress.seconds += self._clock() - started
            self.listener.updated(progress, metrics)
        return True

    def update(self, clip: em.Clip) -> dict[str, float]:
        """One EM step on a clip batch, counted as done or as skipped; its metrics."""
        config, progress = self.run.config, self.progress
        update = self.learner.update(
            clip,
            kl_weight=config.kl_weight(progress.epoch),
            seed=config.seed * 1_000_003 + progress.updates + progress.skipped,
            updates=progress.updates,
        )
        progress.skipped += update.skipped_steps
        if update.applied:
            progress.updates += 1
            self._consecutive_skips = 0
        else:
            self._skip()
        return update.metrics

    def _skip(self) -> None:
        self.progress.skipped += 1
        self._consecutive_skips += 1
        if self._consecutive_skips >= MOST_SKIPPED:
            raise TrainingError(
                f"{MOST_SKIPPED} updates in a row had non-finite gradients: training has diverged; "
                "lower training.theta_rate and training.phi_rate, or set training.clip_norm"
            )

    def validate(self) -> None:
        """Evaluate on the validation split; keep the checkpoint where it is the best so far."""
        progress = self.progress
        evaluation = evaluate(self.learner.average.eval(), self.run.valid, passes=1, draws=0)
        free_energy = self.group.figure_of_leader(evaluation.free_energy_pooled)
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
        checkpoints.save(self.run.folder, filter=self.learner.average, settings=self.run.settings, card=card)

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to be resumed; the number of epochs may be raised."""
        free = ("epochs", "patience")
        schedule = {k: v for k, v in vars(self.run.config).items() if k not in free and LATER.get(k) != v}
        sizes = [len(s) for s in self.run.train], [len(s) for s in self.run.valid]
        start = self.run.facts.get("init")
        return {"settings": self.run.settings, "training": schedule, "data": sizes, "start": start}
