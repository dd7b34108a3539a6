"""`avf evaluate`: the free energy of a checkpoint on a data set, every frame scored; and what can be said beyond it."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from avf_core import checkpoints
from avf_core.analysis import units
from avf_core.analysis.bounds import THRESHOLDS, Kind, bound
from avf_core.analysis.calibration import calibrate
from avf_core.analysis.evaluation import DRAWS, evaluate
from avf_core.analysis.monitoring import monitor
from avf_core.analysis.operating import Curve, curve
from avf_core.analysis.predictive import predictive
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.analysis.verdict import Verdict, judge
from avf_core.checkpoints import Checkpoint
from avf_core.commands import evaluation_tables
from avf_core.commands.options import data_options, threads_option
from avf_core.data import Sequences, Source
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter

FIRST = "free energy"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be measured, as the options below say it."""

    iterations: int | None
    seed: int
    passes: int | None
    draws: int
    kind: Kind | None
    particles: int
    repeats: int
    monitored: bool
    calibrated: bool
    referred: bool
    memory: int
    judged: bool
    curved: bool


@click.command(name="evaluate")
@click.option("--model", required=True, help="A checkpoint's name in the zoo, or its folder.")
@data_options
@click.option("--split", default="test", show_default=True, help="Which part of the data set.")
@click.option("--sequences", "count", type=click.IntRange(min=1), help="Only the first so many. [default: all]")
@click.option("--iterations", type=click.IntRange(min=0), help="Inference iterations. [default: the model's]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the filter's noise.")
@click.option("--passes", type=click.IntRange(min=1), help="Over the data, on new noise. [default: 2, more for few]")
@click.option("--draws", type=click.IntRange(min=0), default=DRAWS, show_default=True, help="That F averages over.")
@click.option("--bound", "kind", type=click.Choice(list(THRESHOLDS)), help="A tighter bound too, by many samples.")
@click.option("--particles", type=click.IntRange(min=1), default=64, show_default=True, help="Samples of --bound.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Of --bound, on new noise.")
@click.option("--monitor", "monitored", is_flag=True, help="KL by latent, active units, amortisation gap.")
@click.option("--calibration", "calibrated", is_flag=True, help="Coverage, ranks and CRPS of predictions.")
@click.option("--reference", "referred", is_flag=True, help="The distribution of the free energy of a step.")
@click.option("--memory", type=click.IntRange(min=0), default=0, help="Steps that --reference is conditional on.")
@click.option("--baselines", "judged", is_flag=True, help="Beside textbook predictors, in the same units.")
@click.option("--curve", "curved", is_flag=True, help="F against milliseconds, by iterations and samples.")
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str, data: Source, split: str, count: int | None, as_json: bool, **asked: Any) -> None:
    """Filter the sequences of a split and print their free energy in nats per step.

    Errors over sequences say what other data of the kind would give. The error over noise is half of what another
    --seed may move the figure by, in 99 of 100 cases; figures have the digits that it allows. For both, the data are
    filtered two times or more, and a step's reconstruction is the mean over --draws of its posterior.

    --baselines fits independent Gaussians, persistence and a vector autoregression to the train split, and says where
    the filter is behind them.

    --bound fivo (a particle filter) and --bound iw (importance weights over whole sequences) estimate -log p from
    above, closer than the free energy does, with standard errors over sequences.

    \b
    avf evaluate --model srnn-jsb --data jsb_chorales.npz --split test
    avf evaluate --model srnn-jsb --data jsb_chorales.npz --split test --bound fivo --particles 64 --json
    """
    how, checkpoint = Asked(**asked), checkpoints.load(model)
    filter, source = checkpoint.filter, data.like(checkpoint.card.get("data"))
    sequences = source.load(split, observation_size=filter.model.observation.size)[:count]
    for text in units.warnings(checkpoint.settings, source.describe().channels, sequences):
        click.echo(f"warning: {text}", err=True)
    torch.manual_seed(how.seed)
    found = {}
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        for name, measure in measures(how, checkpoint, source).items():
            found[name] = measure(filter, sequences, progress=_listener(bar, name))
    first = found.pop(FIRST)
    if as_json:
        named = {"model": checkpoint.name, "digest": checkpoint.digest, "split": split, "seed": how.seed}
        click.echo(json.dumps({**named, **first.as_dict(), **{name: part.as_dict() for name, part in found.items()}}))
        return
    Console().print(evaluation_tables.figures(checkpoint.name, split, first))
    for name, part in found.items():
        Console().print(evaluation_tables.OF[name](part))


def measures(asked: Asked, checkpoint: Checkpoint, source: Source) -> dict[str, Callable[..., Any]]:
    """What is measured of a filter on sequences, by name: free energy and predictions, and what was asked beside."""
    common: dict[str, Any] = {"iterations": asked.iterations, "seed": asked.seed}
    samples: dict[str, Any] = {"kind": asked.kind, "particles": asked.particles, "repeats": asked.repeats}
    wanted = {
        FIRST: partial(evaluate, passes=asked.passes, draws=asked.draws, **common),
        "predictions": partial(predictive, **common),
        "bound": asked.kind and partial(bound, **samples, **common),
        "monitor": asked.monitored and partial(monitor, **common),
        "calibration": asked.calibrated and partial(calibrate, **common),
        "reference": asked.referred and partial(_fit_reference, memory=asked.memory, **common),
        "baselines": asked.judged and partial(_judge, source=source, seed=asked.seed),
        "curve": asked.curved and partial(_take_curve, settings=checkpoint.settings),
    }
    return {name: measure for name, measure in wanted.items() if callable(measure)}


def _judge(filter: Filter, sequences: Sequences, *, source: Source, **options: Any) -> Verdict:
    if filter.model.observation.low != -np.inf:
        raise ConfigurationError("--baselines are of real numbers, and this model's observations have a range")
    train, valid = source.load("train"), source.load(source.describe().selection)
    return judge(filter, train, valid, sequences, **options)


def _fit_reference(filter: Filter, sequences: Sequences, *, memory: int, **options: Any) -> ReferenceDistribution:
    return ReferenceDistribution.fit(step_scores(filter, sequences, **options), memory=memory)


def _take_curve(filter: Filter, sequences: Sequences, *, settings: Any, progress: Callable[[int, int], None]) -> Curve:
    return Curve(points=curve(filter, settings, sequences, progress=progress))


def _listener(bar: Progress, name: str) -> Callable[[int, int], None]:
    task = bar.add_task(name, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)
