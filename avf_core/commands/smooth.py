"""`avf smooth`: look back on a sequence: the posterior of every latent, given what was observed later."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import avf_sources
import click
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from avf_core.analysis.looking_back import Smoothed, smooth
from avf_core.commands.options import archive_name, filtering_options
from avf_core.commands.picking import Picked, picking, rounded
from avf_core.particles import MOST

ALL = "all"
SHOWN = 6  # numbers of the latent in the table
MOMENTS = ("mean", "deviation", "filtered_mean", "filtered_deviation")


def lag_option(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """A number of steps; None for all."""
    if value == ALL:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r}: write a number of steps from 1 up, or all", ctx=ctx, param=param)
    return int(value)


@click.command(name="smooth")
@picking
@click.option(
    "--lag",
    default=ALL,
    show_default=True,
    callback=lag_option,
    metavar="STEPS|all",
    help="What is observed so many steps later is known; all for the whole sequence.",
)
@click.option(
    "--particles",
    "count",
    type=click.IntRange(min=2, max=MOST),
    default=256,
    show_default=True,
    help="Weighted samples of the past; kalman needs none.",
)
@filtering_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH.npz|PATH.csv",
    help="Write the moments of every step. Beside them a picture (.png).",
)
def command(
    picked: Picked,
    lag: int | None,
    count: int,
    iterations: int | None,
    seed: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Look back on a sequence: mean and deviation of the latent of every step, given what was observed later.

    Exact for models with the procedure kalman. Of all others, the samples of the past are those that resampling left:
    how many different ones they are is said for every step, and a shorter lag has more of them.

    \b
    avf smooth --model my-run --data plant.csv --lag 20 --out smoothed.csv
    """
    if out is not None and out.suffix not in (".npz", ".csv"):
        raise click.BadParameter(f"{out} ends neither in .npz nor in .csv", param_hint="--out")
    found = smooth(
        picked.checkpoint.filter,
        picked.xs[:, None],
        seeds=torch.tensor([seed]),
        lag=lag,
        particles=count,
        observed=None if bool(picked.observed.all()) else picked.observed[:, None],
        inputs=picked.drive.inputs,
        dt=picked.drive.dt,
        iterations=iterations,
    )
    if out is not None:
        _write(out, picked, found)
    if as_json:
        exact = found.effective_ancestors is None
        click.echo(json.dumps(_record(picked, found) | {"particles": None if exact else count, "seed": seed}))
    else:
        _print(picked, found)


def _moments(found: Smoothed) -> dict[str, torch.Tensor]:
    """What is said of the one sequence, by name: (time, latent), and of ancestors (time)."""
    moments = {name: getattr(found, name)[:, 0] for name in MOMENTS}
    ancestors = found.effective_ancestors
    return moments if ancestors is None else moments | {"effective_ancestors": ancestors[:, 0]}


def _record(picked: Picked, found: Smoothed) -> dict[str, Any]:
    said = {name: rounded(values) for name, values in _moments(found).items()}
    return {**picked.named(), "lag": found.lag, "effective_ancestors": None, **said}


def _write(out: Path, picked: Picked, found: Smoothed) -> None:
    from avf_core.commands import plots  # matplotlib is slow to import, and of another extra

    moments = {name: values.numpy() for name, values in _moments(found).items()}
    picture = plots.smoothing(**{name: moments[name] for name in MOMENTS}, title=f"{picked.title}, lag {found.lag}")
    files: dict[str, bytes | str] = {out.with_suffix(".png").name: picture}
    if out.suffix == ".csv":
        files[out.name] = _table(found)
    else:
        files[archive_name(out)] = avf_sources.archive_file(moments)
    avf_sources.replace_set(out.parent, files)


def _table(found: Smoothed) -> str:
    """A line for every step."""
    columns = {
        f"{name}_{d}" if values.ndim > 1 else name: column
        for name, values in _moments(found).items()
        for d, column in enumerate(values.reshape(len(values), -1).T.tolist())
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", *columns])
    writer.writerows([step, *row] for step, row in enumerate(zip(*columns.values(), strict=True)))
    return text.getvalue()


def _print(picked: Picked, found: Smoothed) -> None:
    """What looking back adds, on average over the steps: a line for each number of the latent, and one for all."""
    moments = _moments(found)
    moved = (moments["mean"] - moments["filtered_mean"]).square().mean(0).sqrt()
    table = Table(box=box.SIMPLE_HEAD, title=f"{picked.title}: {len(picked.xs)} steps, lag {found.lag}")
    for name in ("latent", "deviation filtered", "looking back", "means moved by (RMS)"):
        table.add_column(name, justify="right")
    figures = torch.stack([moments["filtered_deviation"].mean(0), moments["deviation"].mean(0), moved], dim=1)
    for d, row in enumerate(figures[:SHOWN].tolist()):
        table.add_row(str(d), *(f"{value:.4g}" for value in row))
    if len(figures) > SHOWN:
        table.add_row(f"all {len(figures)}", *(f"{value:.4g}" for value in figures.mean(0).tolist()))
    console = Console()
    console.print(table)
    if found.effective_ancestors is not None:
        least = float(found.effective_ancestors.min())
        console.print(f"Effective ancestors: at least {least:.1f}. Where these are few, deviations are too small.")
