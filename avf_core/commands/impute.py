"""`avf impute`: fill what is missing in a sequence, given what was observed up to the same step."""

import json
from pathlib import Path
from typing import Any

import avf_sources
import click
import numpy as np
import torch
from jaxtyping import Bool
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from avf_core.analysis.calibration import crps
from avf_core.analysis.forecasting import Imputation, impute
from avf_core.commands.options import archive_name, filtering_options
from avf_core.commands.picking import LEVELS, Picked, picking, rounded
from avf_core.errors import DataError

Ranges = list[range] | None
"""Indices, the ends included; None for all."""


def hidden_option(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[tuple[Ranges, Ranges]]:
    """Steps and dimensions of each STEPS, STEPS:DIMENSIONS or :DIMENSIONS, which are lists such as 3,10-20."""
    found = []
    for value in values:
        steps, _, dimensions = value.partition(":")
        try:
            found.append((_ranges(steps), _ranges(dimensions)))
        except ValueError as error:
            raise click.BadParameter(f"{value!r}: write 10-20, 10-20:3,5 or :40-47", ctx=ctx, param=param) from error
    return found


@click.command(name="impute")
@picking
@click.option(
    "--hide",
    "hidden",
    multiple=True,
    callback=hidden_option,
    metavar="STEPS:DIMENSIONS",
    help="Take as missing, from 0, ends included: 10-20, 10-20:3,5 or :40-47. Again for more.",
)
@click.option("--paths", type=click.IntRange(min=2), default=100, show_default=True, help="Sample paths.")
@click.option(
    "--fill",
    type=click.Choice(["mean", "median", "sample"]),
    default="mean",
    show_default=True,
    help="What stands in the gaps of the filled sequence.",
)
@filtering_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH.npz|PATH.npy",
    help="Write the filled sequence; as .npz with mean and quantiles. Beside it a picture (.png).",
)
def command(
    picked: Picked,
    hidden: list[tuple[Ranges, Ranges]],
    paths: int,
    fill: str,
    iterations: int | None,
    seed: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Fill what is missing in a sequence: NaN in the data, and what --hide names.

    Each gap gets samples, a mean and quantiles, given what was observed up to the same step. Hidden values that are
    known are compared with what was filled in.

    \b
    avf impute --model srnn-jsb --data jsb_chorales.npz --hide 10-20 --hide :40-47 --out filled.npz
    """
    if out is not None and out.suffix not in (".npz", ".npy"):
        raise click.BadParameter(f"{out} ends neither in .npz nor in .npy", param_hint="--out")
    observed = picked.observed & ~_mask(picked, hidden)
    if bool(observed.all()):
        raise DataError(f"{picked.title} has nothing missing: name what to hide with --hide, say --hide 10-20")
    seeds = torch.tensor([seed])
    found = impute(
        picked.checkpoint.filter,
        picked.xs[:, None],
        observed[:, None],
        seeds=seeds,
        inputs=picked.drive.inputs,
        dt=picked.drive.dt,
        paths=paths,
        iterations=iterations,
    )
    filled = _filled(found, fill)
    record = _record(picked, observed, found) | {"fill": fill, "seed": seed}
    if out is not None:
        _write(out, picked, observed, found, filled)
    if as_json:
        click.echo(json.dumps(record | ({} if out is not None else {"filled": rounded(filled)})))
    else:
        _print(picked, record)


def _ranges(text: str) -> Ranges:
    if not text:
        return None
    ranges = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        found = range(int(first), int(last if dash else first) + 1)
        if not found:
            raise ValueError(part)
        ranges.append(found)
    return ranges


def _mask(picked: Picked, hidden: list[tuple[Ranges, Ranges]]) -> Bool[Tensor, "time observation"]:
    mask = torch.zeros_like(picked.observed)
    for steps, dimensions in hidden:
        rows, columns = (_chosen(r, n) for r, n in zip((steps, dimensions), mask.shape, strict=True))
        mask |= rows[:, None] & columns
    return mask


def _chosen(ranges: Ranges, size: int) -> Bool[Tensor, " size"]:
    chosen = torch.full((size,), ranges is None)
    for found in ranges or []:
        if found.stop > size:
            raise DataError(f"--hide names {found.stop - 1}, but the last one is {size - 1}")
        chosen[found.start : found.stop] = True
    return chosen


def _filled(found: Imputation, fill: str) -> Tensor:
    if fill == "sample":
        return found.samples[:, 0, 0]
    return found.quantiles([0.5])[0, :, 0] if fill == "median" else found.mean[:, 0]


def _record(picked: Picked, observed: Bool[Tensor, "time observation"], found: Imputation) -> dict[str, Any]:
    """Figures of the gaps; those of errors over the gaps whose values are known, None without any."""
    known = picked.observed & ~observed
    truth, samples = picked.xs[known], found.samples[:, 0].transpose(1, 2)[known]
    low, high = (quantile[:, 0][known] for quantile in found.quantiles([0.05, 0.95]))
    scores = crps(samples[..., None], truth[:, None])[:, 0] if len(truth) else None
    return {
        **picked.named(),
        "paths": int(found.samples.shape[2]),
        "missing": int((~observed).sum()),
        "known": int(known.sum()),
        "mean_absolute_error": float((found.mean[:, 0][known] - truth).abs().mean()) if len(truth) else None,
        "crps": float(scores.mean()) if scores is not None else None,
        "coverage_90": float(((low <= truth) & (truth <= high)).double().mean()) if len(truth) else None,
    }


def _write(
    out: Path, picked: Picked, observed: Bool[Tensor, "time observation"], found: Imputation, filled: Tensor
) -> None:
    from avf_core.commands import plots  # matplotlib is slow to import, and of another extra

    quantiles, mean = found.quantiles(LEVELS)[:, :, 0].numpy(), found.mean[:, 0].numpy()
    arrays = {
        "filled": filled.numpy(),
        "observed": observed.numpy(),
        "mean": mean,
        "levels": np.array(LEVELS),
        "quantiles": quantiles,
    }
    alone = out.suffix == ".npy"
    content = avf_sources.array_file(filled.numpy()) if alone else avf_sources.archive_file(arrays)
    picture = plots.imputation(
        xs=picked.xs.numpy(),
        observed=observed.numpy(),
        quantiles=quantiles,
        mean=mean,
        title=picked.title,
    )
    name = out.name if alone else archive_name(out)
    avf_sources.replace_set(out.parent, {name: content, out.with_suffix(".png").name: picture})


def _print(picked: Picked, record: dict[str, Any]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(f"{picked.title}: {record['steps']} steps, {record['paths']} paths", no_wrap=True)
    table.add_column("", justify="right")
    table.add_row("values filled", str(record["missing"]))
    table.add_row("  of them known, and hidden", str(record["known"]))
    names = {
        "mean_absolute_error": "mean absolute error of the mean",
        "crps": "CRPS",
        "coverage_90": "within the 90 % interval",
    }
    for key, name in names.items():
        if record[key] is not None:
            table.add_row(name, f"{record[key]:.4g}")
    Console().print(table)
