"""`avf train`: train a preset on a data set, with progress; interrupt it and go on later."""

import json
import math
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import avf_sources
import click
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from avf_core import checkpoints, configuration
from avf_core.analysis.evaluation import evaluate
from avf_core.commands.options import data_options, key_values, threads_option
from avf_core.data import Description, Source
from avf_core.reproduction import plots
from avf_core.training import presets, state
from avf_core.training import result as results
from avf_core.training.clips import batches_per_epoch
from avf_core.training.config import Preset
from avf_core.training.listeners import Metrics, ProgressBar, Several, TensorBoard
from avf_core.training.parallel import Group
from avf_core.training.sizes import sized
from avf_core.training.trainer import Listener, Run, Trainer


@click.command(name="train")
@click.argument("preset")
@data_options
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The run's folder.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Say training.epochs=60.")
@click.option("--init", metavar="CHECKPOINT", help="Start from a checkpoint's weights, say the baseline's.")
@click.option("--max-minutes", type=float, help="Stop after so many minutes; the same command goes on.")
@click.option(
    "--training-seconds",
    type=click.FloatRange(min=0.0, min_open=True),
    help="Of the processor, in updates: then the run is at its end, whatever its epochs.",
)
@threads_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="bfloat16",
    show_default=True,
    help="Of matrix products while training; weights and results are float32.",
)
@click.option("--device", help="cpu or cuda. [default: cuda where there is one]")
@click.option("--tensorboard", is_flag=True, help="Write OUT/tensorboard too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    preset: str,
    data: Source,
    out: Path,
    assignments: tuple[str, ...],
    init: str | None,
    max_minutes: float | None,
    training_seconds: float | None,
    precision: Literal["float32", "bfloat16"],
    device: str | None,
    tensorboard: bool,
    as_json: bool,
) -> None:
    """Train PRESET (say, paper-jsb) by variational filtering EM and leave the best checkpoint in OUT.

    The folder holds the checkpoint (config.json, weights.safetensors, card.json), metrics.jsonl, result.json and
    curve.png. Ctrl-C saves; the same command goes on from there. Under torchrun each process trains on its rows of
    every batch.

    \b
    avf train paper-jsb --data jsb_chorales.npz --out runs/jsb --set training.epochs=60
    avf train srnn-jsb-best --data jsb_chorales.npz --out runs/best --init runs/direct --max-minutes 45
    """
    chosen = presets.override(presets.get(preset), key_values(assignments, "--set"))
    torch.manual_seed(chosen.training.seed)
    description = data.describe()
    size = None if chosen.sized else configuration.build_model(chosen.settings["model"]).observation.size
    train, valid = (data.load(split, observation_size=size) for split in ("train", description.selection))
    chosen = sized(chosen, train, valid)
    run = Run(
        settings=presets.fit(chosen.settings, train),
        config=chosen.training,
        train=train,
        valid=valid,
        facts=_facts(preset, data, description, assignments, precision, chosen),
        folder=out,
    )
    if training_seconds is not None:
        run.facts["command"] += f" --training-seconds {training_seconds:g}"
    start = checkpoints.load(init) if init else None
    if start:
        run.facts["init"] = _origin(start)
        run.facts["command"] += " --init START"
    avf_sources.make_folder(out)
    group = Group(device)
    try:
        progress = _run(
            run,
            start,
            group,
            stop=stopper(max_minutes),
            seconds=training_seconds or math.inf,
            precision=precision,
            tensorboard=tensorboard,
        )
    finally:
        group.close()
    if group.leads:
        result = _finish(run, progress)
        click.echo(json.dumps(result) if as_json else _sentence(result))


def _run(
    run: Run,
    start: checkpoints.Checkpoint | None,
    group: Group,
    *,
    stop: Callable[[], bool],
    seconds: float,
    precision: Literal["float32", "bfloat16"],
    tensorboard: bool,
) -> state.Progress:
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    console = Console(stderr=True, quiet=not group.leads)
    torch.set_float32_matmul_precision("medium" if precision == "bfloat16" else "highest")
    try:
        with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
            listener: Listener = Several()
            if group.leads:
                shown = ProgressBar(bar, run.config.epochs, batches_per_epoch(run.train, run.config))
                others = [TensorBoard(run.folder)] if tensorboard else []
                listener = Several(Metrics(run.folder), shown, *others)
            filter = configuration.build(run.settings)
            if start:
                checkpoints.start_from(filter, start)
            else:
                filter.model.begin(run.train)
            trainer = Trainer(run, filter.to(group.device), listener, precision=precision, group=group)
            if trainer.resume():
                bar.console.print(f"resuming {run.folder} at epoch {trainer.progress.epoch + 1}")
            return trainer.train(stop=stop, seconds=seconds)
    finally:
        torch.set_float32_matmul_precision("highest")


def stopper(max_minutes: float | None) -> Callable[[], bool]:
    """True once the time is up, or SIGINT or SIGTERM has come; a second Ctrl-C is the ordinary one."""
    deadline = time.monotonic() + 60.0 * max_minutes if max_minutes else float("inf")
    stopped = []

    def on_signal(number: int, frame: object) -> None:
        stopped.append(number)
        signal.signal(number, signal.default_int_handler)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return lambda: bool(stopped) or time.monotonic() > deadline


def _finish(run: Run, progress: state.Progress) -> dict[str, Any]:
    """Write result.json and curve.png; gives the result."""
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
    best, curve = None, None
    if progress.best is not None:
        best = checkpoints.load(run.folder)
        result["valid"] = evaluate(best.filter, run.valid).as_dict()
        curve = plots.learning_curve(progress.history, title=str(run.facts["preset"]))
    results.write(run.folder, {**result, "history": progress.history}, best, curve=curve)
    if not progress.finished:
        click.echo("stopped before the end: the same command goes on from here", err=True)
    return result


def _sentence(result: dict[str, Any]) -> str:
    """The result, for people."""
    done = f"{result['epochs']} epochs, {result['updates']} updates ({result['skipped']} skipped)"
    if result["best_valid_free_energy"] is None:
        return f"{done}; not validated yet"
    best = f"best F {result['best_valid_free_energy']:.3f} nats per step, at epoch {result['best_epoch']}"
    return f"{done}; {best}: {result['run']}"


def _origin(start: checkpoints.Checkpoint) -> dict[str, Any]:
    """Where a run starts: the commands behind it, oldest first, and the updates of all of them."""
    before = start.card.get("init", {"commands": [], "updates": 0})
    return {
        "commands": [*before["commands"], start.card["command"]],
        "updates": before["updates"] + start.card["updates"],
    }


def _facts(
    preset: str,
    data: Source,
    description: Description,
    assignments: tuple[str, ...],
    precision: str,
    chosen: Preset,
) -> dict[str, Any]:
    facts = data.as_card()
    reading = [f"--data-option {shlex.quote(f'{k}={json.dumps(v)}')}" for k, v in data.options.items()]
    kind = [f"--data-kind {data.kind}"] if data.kind else []
    changes = [f"--set {shlex.quote(text)}" for text in assignments]
    words = ["avf train", preset, f"--data {facts['name']}", *kind, *reading, "--out OUT", *changes]
    if precision != "bfloat16":
        words.append(f"--precision {precision}")
    observed: dict[str, Any] = {} if description.modality == "series" else {"modality": description.modality}
    if description.modality == "audio":
        observed["sample_rate"] = description.rate
    return {
        "preset": preset,
        "data": facts,
        **observed,
        "split": f"train; selected on {description.selection}",
        "command": " ".join(words),
        "seed": chosen.training.seed,
        "training": vars(chosen.training),
        "torch": torch.__version__,
    }
