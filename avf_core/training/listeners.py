"""Who hears how a run goes: a progress bar with `metrics.jsonl`, TensorBoard, or several of them."""

import json
from pathlib import Path
from typing import Any

from rich.progress import Progress

from avf_core.errors import ConfigurationError
from avf_core.training import state
from avf_core.training.trainer import Listener


class ProgressBar:
    """Shows a bar on standard error and appends validations to `metrics.jsonl`."""

    def __init__(self, folder: Path, bar: Progress, epochs: int, per_epoch: int) -> None:
        self.folder, self.bar, self.per_epoch = folder, bar, per_epoch
        self.task = bar.add_task("training", total=epochs * per_epoch, figures="")

    def updated(self, progress: state.Progress, metrics: dict[str, float]) -> None:
        """Move the bar."""
        best = f"best valid {progress.best:.3f}" if progress.best is not None else "not validated yet"
        figures = (
            f"epoch {progress.epoch + 1}  F {metrics['free_energy']:.2f}  KL {metrics['kl']:.2f}  "
            f"|grad| {metrics['theta_norm']:.2f} {metrics['phi_norm']:.2f}  {best}"
        )
        done = progress.epoch * self.per_epoch + progress.position
        self.bar.update(self.task, completed=done, figures=figures)

    def validated(self, progress: state.Progress, record: dict[str, Any]) -> None:
        """Append the record, and print it."""
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        valid = record["valid"]
        self.bar.console.print(
            f"epoch {record['epoch']:4d}  {record['updates']:6d} updates  {record['seconds'] / 60:6.1f} min  "
            f"valid F {valid['free_energy_pooled']:.3f} (KL {valid['kl']:.3f})  best {progress.best:.3f}"
        )


class TensorBoard:
    """Writes scalars to the folder `tensorboard` of the run."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ConfigurationError("--tensorboard needs tensorboardX: pip install 'avf[tensorboard]'") from error
        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def updated(self, progress: state.Progress, metrics: dict[str, float]) -> None:
        """The metrics of an update."""
        for name, value in metrics.items():
            self.writer.add_scalar(f"train/{name}", value, progress.updates)

    def validated(self, progress: state.Progress, record: dict[str, Any]) -> None:
        """The figures of a validation."""
        for name in ("free_energy_pooled", "free_energy_sequence_mean", "reconstruction", "kl"):
            self.writer.add_scalar(f"valid/{name}", record["valid"][name], record["updates"])
        self.writer.flush()


class Several:
    """Tells all of its listeners."""

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def updated(self, progress: state.Progress, metrics: dict[str, float]) -> None:
        """After every update."""
        for listener in self.listeners:
            listener.updated(progress, metrics)

    def validated(self, progress: state.Progress, record: dict[str, Any]) -> None:
        """After every validation."""
        for listener in self.listeners:
            listener.validated(progress, record)
