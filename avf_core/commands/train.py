"""`avf train`: train a preset on a data set, with progress; interrupt it and go on later."""

import json
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from avf_core import checkpoints, configuration
from avf_core.commands.options import data_options, key_values
from avf_core.data import Source
from avf_core.evaluation import evaluate
from avf_core.training import plots, presets, state
from avf_core.training.clips import batches_per_epoch
from avf_core.training.trainer import Run, Trainer


class ProgressBar:
    """A listener that shows a bar on standard error and appends validations to `metrics.jsonl`."""

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


@click.command(name="train")
@click.argument("preset")
@data_options
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The run's folder.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Say training.epochs=60.")
@click.option("--init", metavar="CHECKPOINT", help="Start from a checkpoint's weights, say the baseline's.")
@click.option("--max-minutes", type=float, help="Stop after so many minutes; the same command goes on.")
@click.option("--threads", type=int, help="CPU threads. [default: torch's]")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="bfloat16",
    show_default=True,
    help="Of matrix products while training; weights and results are float32.",
)
def command(
    preset: str,
    data: Source,
    out: Path,
    assignments: tuple[str, ...],
    init: str | None,
    max_minutes: float | None,
    threads: int | None,
    precision: str,
) -> None:
    """Train PRESET (say, srnn-jsb) by variational filtering EM and leave the best checkpoint in OUT.

    The folder holds the checkpoint (config.json, weights.safetensors, card.json), metrics.jsonl, result.json and
    curve.png. Ctrl-C saves; the same command goes on from there.
    """
    chosen = presets.override(presets.get(preset), key_values(assignments, "--set"))
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(chosen.training.seed)
    description = data.describe()
    run = Run(
        settings=chosen.settings,
        config=chosen.training,
        train=data.load("train"),
        valid=data.load(description.selection),
        facts=_facts(preset, data, description.selection, assignments, precision, chosen),
        folder=out,
    )
    start = checkpoints.load(init) if init else None
    if start:
        run.facts["init"] = _origin(start)
        run.facts["command"] += " --init START"
    progress = _run(run, start, max_minutes=max_minutes, precision=precision)
    _finish(run, progress)


def _run(
    run: Run, start: checkpoints.Checkpoint | None, *, max_minutes: float | None, precision: str
) -> state.Progress:
    out, config = run.folder, run.config
    out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    torch.set_float32_matmul_precision("medium" if precision == "bfloat16" else "highest")
    try:
        with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
            listener = ProgressBar(out, bar, config.epochs, batches_per_epoch(run.train, config))
            filter = configuration.build(run.settings)
            if start:
                checkpoints.start_from(filter, start)
            trainer = Trainer(run, filter, listener)
            if trainer.resume():
                bar.console.print(f"resuming {out} at epoch {trainer.progress.epoch + 1}")
            return trainer.train(stop=_stopper(max_minutes))
    finally:
        torch.set_float32_matmul_precision("highest")


def _stopper(max_minutes: float | None) -> Callable[[], bool]:
    """True once the time is up, or SIGINT or SIGTERM has come; a second Ctrl-C is the ordinary one."""
    deadline = time.monotonic() + 60.0 * max_minutes if max_minutes else float("inf")
    stopped = []

    def on_signal(number: int, frame: object) -> None:
        stopped.append(number)
        signal.signal(number, signal.default_int_handler)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return lambda: bool(stopped) or time.monotonic() > deadline


def _finish(run: Run, progress: state.Progress) -> None:
    """Write result.json and curve.png, and print the result as the last line."""
    result: dict[str, Any] = {
        "run": str(run.folder),
        "finished": progress.finished,
        "epochs": progress.epoch,
        "updates": progress.updates,
        "skipped": progress.skipped,
        "seconds": round(progress.seconds, 1),
        "best_valid_free_energy": progress.best,
        "best_epoch": progress.best_epoch,
    }
    if progress.best is not None:
        best = checkpoints.load(run.folder)
        result["valid"] = evaluate(best.filter, run.valid).as_dict()
        plots.learning_curve(progress.history, run.folder / "curve.png", title=str(run.facts["preset"]))
    (run.folder / "result.json").write_text(json.dumps({**result, "history": progress.history}, indent=1) + "\n")
    if not progress.finished:
        click.echo("stopped before the end: the same command goes on from here", err=True)
    click.echo(json.dumps(result))


def _origin(start: checkpoints.Checkpoint) -> dict[str, Any]:
    """Where a run starts: the commands behind it, oldest first, and the updates of all of them."""
    before = start.card.get("init", {"commands": [], "updates": 0})
    return {
        "commands": [*before["commands"], start.card["command"]],
        "updates": before["updates"] + start.card["updates"],
    }


def _facts(
    preset: str, data: Source, selection: str, assignments: tuple[str, ...], precision: str, chosen: presets.Preset
) -> dict[str, Any]:
    facts = data.as_card()
    reading = [f"--data-option {shlex.quote(f'{k}={json.dumps(v)}')}" for k, v in data.options.items()]
    kind = [f"--data-kind {data.kind}"] if data.kind else []
    changes = [f"--set {shlex.quote(text)}" for text in assignments]
    words = ["avf train", preset, f"--data {facts['name']}", *kind, *reading, "--out OUT", *changes]
    if precision != "bfloat16":
        words.append(f"--precision {precision}")
    return {
        "preset": preset,
        "data": facts,
        "split": f"train; selected on {selection}",
        "command": " ".join(words),
        "seed": chosen.training.seed,
        "training": vars(chosen.training),
        "torch": torch.__version__,
    }
