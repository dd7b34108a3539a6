"""`avf calibrate`: what is normal for a model, by data of one's own, against which served surprise is judged."""

import json
import sys
from typing import Any, get_args

import avf_sources
import click
import numpy as np
from rich.console import Console
from rich.progress import Progress

from avf_core import checkpoints
from avf_core.analysis.conditional import By, ConditionalReference, measured_scores
from avf_core.analysis.sign_reference import SignReference, scores_and_signs
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.commands.options import data_options, threads_option
from avf_core.data import Source
from avf_core.errors import CheckpointError

LEVELS = (0.5, 0.9, 0.99)
Reference = ReferenceDistribution | ConditionalReference | SignReference


@click.command(name="calibrate")
@click.argument("run")
@data_options
@click.option("--split", help="Which part of the data. [default: the one that models are selected on]")
@click.option("--by", type=click.Choice(list(get_args(By))), help="Circumstances that have a reference each.")
@click.option("--signs", is_flag=True, help="Judge by what steps are like, too, as they go on.")
@click.option("--iterations", type=click.IntRange(min=0), help="Inference iterations. [default: the model's]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the filter's noise.")
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    run: str,
    data: Source,
    split: str | None,
    by: By | None,
    signs: bool,
    iterations: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Write into RUN, a checkpoint's folder, what is normal for it: the free energies of these data.

    Surprise is a p-value against that, in the place of what training had measured. With --by there is a reference for
    each hour of weekdays and weekends, for each fifth of the expected levels, or for each regime, where 100 steps or
    more had it. With --signs steps are judged by their latents, or what else the model listens to, averaged over a few
    of them, beside what they cost: a steady tone costs little, and its latent is like no other.

    \b
    avf calibrate runs/weather --data normal_days.csv --data-option time=time
    avf calibrate runs/weather --data normal_days.csv --data-option time=time --by hour
    """
    if by and signs:
        raise click.UsageError("--by and --signs are two ways to judge a step: say one of them")
    folder = checkpoints.find(run)
    if folder.is_relative_to(checkpoints.ZOO.resolve()):
        raise CheckpointError(f"{run} is a model of the zoo, which is shared: copy its folder, and calibrate the copy")
    checkpoint = checkpoints.load(run)
    source = data.like(checkpoint.card.get("data"))
    part = split or source.describe().selection
    sequences = source.load(part, observation_size=checkpoint.filter.model.observation.size)
    found = _fitted(checkpoint, sequences, by, signs, iterations=iterations, seed=seed)
    reference = {"split": part, "score": "free_energy", "data": source.as_card(), **found.as_dict()}
    card = json.dumps({**checkpoint.card, "reference": reference}, indent=2) + "\n"
    files = avf_sources.read_set(folder, checkpoints.FILES)
    avf_sources.replace_set(folder, {**files, checkpoints.CARD: card})
    if as_json:
        click.echo(json.dumps({"model": checkpoint.name, "reference": reference}))
        return
    whole = found if isinstance(found, ReferenceDistribution) else found.whole
    shown = ", ".join(f"{level:g}: {whole.quantile(level):.4f}" for level in LEVELS)
    click.echo(f"{checkpoint.name}: free energy of {whole.count} steps of {part}, in nats, by quantile: {shown}")
    if isinstance(found, ConditionalReference):
        click.echo(f"by {found.by}: {len(found.parts)} references; elsewhere that of all steps")


def _fitted(
    checkpoint: checkpoints.Checkpoint, sequences: list[np.ndarray], by: By | None, signs: bool, **options: Any
) -> Reference:
    """What is normal of these sequences, by scores alone, by circumstance, or by signs; with a bar."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("filtering", total=None)

        def listen(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        filter = checkpoint.filter
        if signs:
            heard = scores_and_signs(filter, sequences, progress=listen, **options)
            return SignReference.fit(filter.model.listened, *heard)
        if by is not None:
            return ConditionalReference.fit(by, *measured_scores(filter, sequences, by, progress=listen, **options))
        scores = step_scores(filter, sequences, progress=listen, **options)
        return ReferenceDistribution.fit([score for score in scores if len(score)])
