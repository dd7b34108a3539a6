"""Who hears how a run goes: a progress bar, `metrics.jsonl`, TensorBoard, or several of them."""

import json
from pathlib import Path
from typing import Any

import avf_sources
from rich.progress import Progress

from avf_core.errors import ConfigurationError
from avf_core.training import state
from avf_core.training.trainer import Listener

METRICS = "metrics.jsonl"


class ProgressBar:
    """Shows a bar and validations on standard error."""

    def __init__(self, bar: Progress, epochs: int, per_epoch: int, title: str = "training") -> None:
        self.bar, self.per_epoch = bar, per_epoch
        self.task = bar.add_task(title, total=epochs * per_epoch, figures="")

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
        """Print the record."""
        valid = record["valid"]
        self.bar.console.print(
            f"epoch {record['epoch']:4d}  {record['updates']:6d} updates  {record['seconds'] / 60:6.1f} min  "
            f"valid F {valid['free_energy_pooled']:.3f} (KL {valid['kl']:.3f})  best {progress.best:.3f}"
        )


class Metrics:
    """Writes validations to `metrics.jsonl`, a line each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def updated(self, progress: state.Progress, metrics: dict[str, float]) -> None:
        """Nothing is kept of an update."""

    def validated(self, progress: state.Progress, record: dict[str, Any]) -> None:
        """Write all that there are, so that none is there twice after a run was killed and gone on with."""
        lines = "".join(f"{json.dumps(each)}\n" for each in progress.history)
        avf_sources.replace_file(self.folder / METRICS, lines)


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
