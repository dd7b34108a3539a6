"""`avf evaluate`: the free energy of a checkpoint on a data set, every frame scored."""

import json
import sys

import click
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from avf_core import checkpoints
from avf_core.commands.options import data_options
from avf_core.data import Source
from avf_core.evaluation import Evaluation, evaluate


@click.command(name="evaluate")
@click.option("--model", required=True, help="A checkpoint's name in the zoo, or its folder.")
@data_options
@click.option("--split", default="test", show_default=True, help="Which part of the data set.")
@click.option("--iterations", type=click.IntRange(min=0), help="Inference iterations. [default: the model's]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the filter's noise.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str, data: Source, split: str, iterations: int | None, seed: int, as_json: bool) -> None:
    """Filter every sequence of a split and print its free energy in nats per step."""
    checkpoint = checkpoints.load(model)
    size = checkpoint.filter.model.observation.size
    sequences = data.like(checkpoint.card.get("data")).load(split, observation_size=size)
    torch.manual_seed(seed)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("filtering", total=None)
        result = evaluate(
            checkpoint.filter,
            sequences,
            iterations=iterations,
            seed=seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        named = {"model": checkpoint.name, "digest": checkpoint.digest, "split": split, "seed": seed}
        click.echo(json.dumps({**named, **result.as_dict()}))
    else:
        _print(checkpoint.name, split, result)


def _print(name: str, split: str, result: Evaluation) -> None:
    table = Table(title=f"{name}, {split} split: {result.sequences} sequences, {result.steps} steps")
    table.add_column("nats per step")
    table.add_column("", justify="right")
    table.add_row("free energy, pooled over steps", f"{result.free_energy_pooled:.4f}")
    table.add_row("free energy, mean over sequences", f"{result.free_energy_sequence_mean:.4f}")
    table.add_row("free energy, without first frames", f"{result.free_energy_without_first_frame:.4f}")
    table.add_row("  of it reconstruction", f"{result.reconstruction:.4f}")
    table.add_row("  of it KL", f"{result.kl:.4f}")
    for iteration, free_energy in enumerate(result.free_energy_by_iteration):
        table.add_row(f"after {iteration} iterations", f"{free_energy:.4f}")
    Console().print(table)
