"""`avf evaluate`: the free energy of a checkpoint on a data set, every frame scored; and what can be said beyond it."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from avf_core import checkpoints
from avf_core.analysis import student, units
from avf_core.analysis.bounds import (
    THRESHOLDS,
    Bound,
    Kind,
    bound,
)
from avf_core.analysis.calibration import Calibration, calibrate
from avf_core.analysis.evaluation import DRAWS, Evaluation, evaluate
from avf_core.analysis.monitoring import Monitoring, monitor
from avf_core.analysis.operating import Curve, curve
from avf_core.analysis.predictive import Predictive, predictive
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.analysis.verdict import Verdict, judge
from avf_core.commands.options import data_options, threads_option
from avf_core.commands.verdicts import beside
from avf_core.data import Sequences, Source
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter


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
def command(
    model: str,
    data: Source,
    split: str,
    count: int | None,
    iterations: int | None,
    seed: int,
    passes: int | None,
    draws: int,
    kind: Kind | None,
    particles: int,
    repeats: int,
    monitored: bool,
    calibrated: bool,
    referred: bool,
    memory: int,
    judged: bool,
    curved: bool,
    as_json: bool,
) -> None:
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
    checkpoint = checkpoints.load(model)
    filter, source = checkpoint.filter, data.like(checkpoint.card.get("data"))
    sequences = source.load(split, observation_size=filter.model.observation.size)[:count]
    for text in units.warnings(checkpoint.settings, source.describe().channels, sequences):
        click.echo(f"warning: {text}", err=True)
    torch.manual_seed(seed)
    common: dict[str, Any] = {"iterations": iterations, "seed": seed}
    wanted: dict[str, Callable[..., Any]] = {"free energy": partial(evaluate, passes=passes, draws=draws, **common)}
    wanted["predictions"] = partial(predictive, **common)
    if kind is not None:
        wanted["bound"] = partial(bound, kind=kind, particles=particles, repeats=repeats, **common)
    if monitored:
        wanted["monitor"] = partial(monitor, **common)
    if calibrated:
        wanted["calibration"] = partial(calibrate, **common)
    if referred:
        wanted["reference"] = partial(_fit_reference, memory=memory, **common)
    if judged:
        wanted["baselines"] = partial(_judge, source=source, seed=seed)
    if curved:
        wanted["curve"] = partial(_take_curve, settings=checkpoint.settings)
    found = {}
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        for name, measure in wanted.items():
            found[name] = measure(filter, sequences, progress=_listener(bar, name))
    first = found.pop("free energy")
    if as_json:
        named = {"model": checkpoint.name, "digest": checkpoint.digest, "split": split, "seed": seed}
        click.echo(json.dumps({**named, **first.as_dict(), **{name: part.as_dict() for name, part in found.items()}}))
        return
    Console().print(_figures(checkpoint.name, split, first))
    tables: dict[str, Callable[[Any], Table]] = {
        "predictions": _predictions,
        "bound": _bound,
        "monitor": _monitor,
        "calibration": _calibration,
        "reference": _reference,
        "baselines": beside,
        "curve": _curve,
    }
    for name, part in found.items():
        Console().print(tables[name](part))


def _judge(filter: Filter, sequences: Sequences, *, source: Source, **options: Any) -> Verdict:
    if filter.model.observation.low != -np.inf:
        raise ConfigurationError("--baselines are of real numbers, and this model's observations have a range")
    train, valid = source.load("train"), source.load(source.describe().selection)
    return judge(filter, train, valid, sequences, **options)


def _fit_reference(filter: Filter, sequences: Sequences, *, memory: int, **options: Any) -> ReferenceDistribution:
    return ReferenceDistribution.fit(step_scores(filter, sequences, **options), memory=memory)


def _take_curve(filter: Filter, sequences: Sequences, *, settings: Any, progress: Callable[[int, int], None]) -> Curve:
    return Curve(points=curve(filter, settings, sequences, progress=progress))


def _curve(found: Curve) -> Table:
    rows = [(str(w.point), f"{w.free_energy:.4f}  {w.ms_1:8.3f} ms  {w.ms_64:8.4f} ms") for w in found.points]
    return _table("What the time of a step is worth", rows, heading="point: nats per step, ms of a row alone, of 64")


def _listener(bar: Progress, name: str) -> Callable[[int, int], None]:
    task = bar.add_task(name, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def _table(title: str, rows: Sequence[tuple[str, str]], *, heading: str = "nats per step") -> Table:
    table = Table(title=title)
    table.add_column(heading)
    table.add_column("", justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _figures(name: str, split: str, result: Evaluation) -> Table:
    return _table(f"{name}, {split} split: {result.sequences} sequences, {result.steps} steps", rows_of(result))


def rows_of(result: Evaluation) -> list[tuple[str, str]]:
    """What is printed of an evaluation: figures with as many digits as noise allows, errors over sequences beside."""
    by = result.noise_error if result.noise_error is not None else result.standard_error
    several = result.standard_error is not None
    rows = [
        ("free energy, pooled over steps", student.told(result.free_energy_pooled, result.standard_error, by=by)),
        (
            "free energy, mean over sequences",
            student.told(result.free_energy_sequence_mean, result.sequence_mean_error, by=by),
        ),
        ("free energy, without first frames", student.told(result.free_energy_without_first_frame, None, by=by)),
        ("  of it reconstruction", student.told(result.reconstruction, None, by=by)),
        ("  of it KL", student.told(result.kl, None, by=by)),
    ]
    energies = enumerate(result.free_energy_by_iteration)
    rows += [(f"after {i} iterations", student.told(energy, None, by=by)) for i, energy in energies]
    if result.noise_error is not None:
        rows.append((f"error over noise, {result.passes} passes", f"{result.noise_error:.2g}"))
    return [*rows, ("± is over sequences", "")] if several else rows


def _predictions(found: Predictive) -> Table:
    rows = []
    if found.coverage is not None:
        pairs = zip(found.levels, found.coverage, strict=True)
        rows += [(f"within the {level:.0%} band", f"{covered:.1%}") for level, covered in pairs]
        rows.append(("within mean +- 1.645 deviations", f"{found.band_90:.1%}"))
    if found.calibration_error is not None:
        rows.append(("expected calibration error", f"{found.calibration_error:.4f}"))
    if found.likely_error is not None:
        rows.append(("  of probabilities above 0.1", f"{found.likely_error:.4f}"))
    return _table(f"predictions as they are served, {found.samples} samples", rows, heading="one step ahead")


def _bound(found: Bound) -> Table:
    rows = [
        ("-log p at most, pooled over steps", _with_error(found.pooled, found.standard_error)),
        ("-log p at most, mean over sequences", _with_error(found.sequence_mean, found.sequence_mean_error)),
        ("effective sample size, mean", f"{found.effective:.1f}"),
        ("steps after which was resampled", f"{found.resampled:.1%}"),
    ]
    if found.monte_carlo_error is not None:
        rows.insert(1, (f"  error over {found.repeats} repeats", f"{found.monte_carlo_error:.4f}"))
    return _table(f"{found.kind} bound, {found.particles} particles; error over sequences", rows)


def _monitor(seen: Monitoring) -> Table:
    largest = sorted(seen.kl_by_dimension, reverse=True)[:5]
    rows = [
        ("latent dimensions", str(seen.units)),
        ("  with KL above 0.01", str(seen.informed_units)),
        ("  active (variance of the mean above 0.01)", str(seen.active_units)),
        ("largest KL of a dimension", ", ".join(f"{kl:.3f}" for kl in largest)),
    ]
    rows += [
        (f"gain over the prior, {i + 1} iterations", f"{gain:.4f}") for i, gain in enumerate(seen.gain_by_iteration)
    ]
    if seen.gap is not None:
        rows.append((f"amortisation gap, {seen.gap_steps} steps", _with_error(seen.gap, seen.gap_error)))
    return _table("latents and inference", rows)


def _calibration(ranks: Calibration) -> Table:
    rows = [
        (f"within the {level:.0%} interval", f"{covered:.1%}")
        for level, covered in zip(ranks.levels, ranks.coverage, strict=True)
    ]
    rows += [
        ("ranks in tenths, per cent", " ".join(f"{100 * n / ranks.values:.1f}" for n in ranks.rank_histogram)),
        ("p-value of uniform ranks", f"{ranks.uniformity:.3g}"),
        ("CRPS, mean over values", f"{ranks.crps:.5g}"),
    ]
    return _table(f"predictions by {ranks.particles} particles", rows, heading="one step ahead")


def _reference(reference: ReferenceDistribution) -> Table:
    wanted = (0.05, 0.25, 0.5, 0.75, 0.95)
    values = np.interp(wanted, reference.levels, reference.values)
    rows = [(f"{level:.0%} of steps below", f"{value:.3f}") for level, value in zip(wanted, values, strict=True)]
    return _table(f"free energy of {reference.count} steps", rows, heading="nats")


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.4f}" if error is None else f"{value:.4f} +- {error:.4f}"
