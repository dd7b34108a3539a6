"""`avf compare`: two checkpoints on the same data, paired: which is ahead, by how much, and may it be chance?"""

import json
import sys

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from avf_core import checkpoints
from avf_core.analysis.comparison import Comparison, compare
from avf_core.commands.options import data_options, threads_option
from avf_core.data import Sequences, Source
from avf_core.errors import DataError

MOST_SEQUENCES = 10  # that are shown, those that differ most


@click.command(name="compare")
@click.argument("first")
@click.argument("second")
@data_options
@click.option("--split", default="test", show_default=True, help="Which part of the data set.")
@click.option("--sequences", "count", type=click.IntRange(min=2), help="Only the first so many. [default: all]")
@click.option("--iterations", type=click.IntRange(min=0), help="Inference iterations of both. [default: each its own]")
@click.option("--seeds", type=click.IntRange(min=1), default=4, show_default=True, help="Passes, each on new noise.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise, which both share.")
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with every sequence.")
def command(
    first: str,
    second: str,
    data: Source,
    split: str,
    count: int | None,
    iterations: int | None,
    seeds: int,
    seed: int,
    as_json: bool,
) -> None:
    """Filter the sequences of a split by FIRST and SECOND, and print by how many nats per step FIRST's F is below.

    Both are names of the zoo, or folders. The standard error and the p-values (Student's t; signs of sequences
    flipped) are over sequences, paired.

    \b
    avf compare srnn-jsb srnn-jsb-direct --data jsb_chorales.npz
    avf compare runs/a runs/b --data weather.csv --split valid --seeds 8 --json
    """
    pair = [checkpoints.load(name) for name in (first, second)]
    read = [data.like(checkpoint.card.get("data")) for checkpoint in pair]
    if read[0] != read[1]:
        raise DataError(
            f"{first} and {second} read {data.path} in different ways ({_way(read[0])}; {_way(read[1])}): "
            "they compare on the same numbers only; say how to read it by --data-kind and --data-option"
        )
    loaded: list[Sequences] = [
        source.load(split, observation_size=checkpoint.filter.model.observation.size)[:count]
        for source, checkpoint in zip(read, pair, strict=True)
    ]
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("filtering", total=None)
        found = compare(
            pair[0].filter,
            pair[1].filter,
            loaded[0],
            iterations=iterations,
            seeds=seeds,
            seed=seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        named = {name: {"model": one.name, "digest": one.digest} for name, one in zip(("a", "b"), pair, strict=True)}
        click.echo(json.dumps({**named, "data": data.place.name, "split": split, "seed": seed, **found.as_dict()}))
        return
    Console().print(_figures(found, first, second, split))
    Console().print(_sequences(found))


def _way(source: Source) -> str:
    return f"kind {source.kind or 'not said'}, options {json.dumps(dict(source.options), default=str)}"


def _figures(found: Comparison, first: str, second: str, split: str) -> Table:
    table = Table(title=f"{first} less {second}, {split} split: {found.sequences} sequences, {found.steps} steps")
    table.add_column("free energy, nats per step, pooled")
    table.add_column("", justify="right")
    table.add_row(first, f"{found.first:.4f}")
    table.add_row(second, f"{found.second:.4f}")
    table.add_row("difference, ± over sequences", f"{found.difference:+.4f} ± {found.standard_error:.4f}")
    if found.noise_error is not None:
        table.add_row(f"  its error over noise, {found.seeds} passes", f"{found.noise_error:.4f}")
    table.add_row(f"p, Student's t ({found.t:.2f})", f"{found.p_t:.3g}")
    table.add_row("p, signs flipped", f"{found.p_flips:.3g}")
    return table


def _sequences(found: Comparison) -> Table:
    table = Table(title="sequences that differ most, nats per step")
    for heading in ("sequence", "steps", "first", "second", "difference"):
        table.add_column(heading, justify="right")
    rows = sorted(found.by_sequence, key=lambda pair: -abs(pair.difference))[:MOST_SEQUENCES]
    for row in rows:
        figures = (f"{row.first:.3f}", f"{row.second:.3f}", f"{row.difference:+.3f}")
        table.add_row(str(row.sequence), str(row.steps), *figures)
    return table
