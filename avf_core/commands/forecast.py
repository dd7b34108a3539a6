"""`avf forecast`: what comes next in a sequence, by sample paths of a checkpoint's model."""

import json
from pathlib import Path
from typing import Any

import avf_sources
import click
import numpy as np
import torch
from jaxtyping import Float
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from avf_core.analysis.calibration import crps
from avf_core.analysis.forecasting import Forecast, forecast
from avf_core.commands.options import archive_name, filtering_options
from avf_core.commands.picking import LEVELS, Picked, picking, rounded
from avf_core.errors import DataError
from avf_core.trees import take

SHOWN = 4  # dimensions in the table
BINARY = (0.0, 1.0)


@click.command(name="forecast")
@picking
@click.option("--at", type=click.IntRange(min=0), help="After so many steps. [default: `horizon` steps before the end]")
@click.option("--horizon", type=click.IntRange(min=1), default=16, show_default=True, help="Steps ahead.")
@click.option("--paths", type=click.IntRange(min=2), default=100, show_default=True, help="Sample paths.")
@click.option(
    "--particles",
    "count",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Weighted samples of the past that the paths start from; 1 is the online filter's own.",
)
@filtering_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH.npz",
    help="Write the paths, and beside them the figures (.json) and a picture (.png).",
)
def command(
    picked: Picked,
    at: int | None,
    horizon: int,
    paths: int,
    count: int,
    iterations: int | None,
    seed: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Filter the start of a sequence, forecast what follows, and compare with what came.

    The figures are mean, deviation and quantiles of each number at each step, and the CRPS of what came, the mean
    absolute error of a distribution, in the observation's unit.

    \b
    avf forecast --model srnn-jsb --data jsb_chorales.npz --at 32 --horizon 16 --out forecast.npz
    """
    if out is not None and out.suffix != ".npz":
        raise click.BadParameter(f"{out} does not end in .npz", param_hint="--out")
    start = max(0, len(picked.xs) - horizon) if at is None else at
    if start > len(picked.xs):
        raise DataError(f"{picked.title} has {len(picked.xs)} steps: --at {start} lies behind its end")
    found = _forecast(picked, start, horizon, paths, count, iterations, seed)
    record = _record(picked, start, found)
    record |= {"particles": count, "seed": seed}
    if out is not None:
        _write(out, picked, start, found, record)
    if as_json:
        click.echo(json.dumps(record))
    else:
        _print(picked, start, found, record)


@torch.no_grad()
def _forecast(
    picked: Picked, start: int, horizon: int, paths: int, count: int, iterations: int | None, seed: int
) -> Forecast:
    filter = picked.checkpoint.filter
    belief = filter.spread(torch.tensor([seed]), particles=count)
    for t, (x, observed) in enumerate(zip(picked.xs[:start], picked.observed[:start], strict=True)):
        mask, now = None if bool(observed.all()) else observed[None], take(picked.drive, t)
        belief, _ = filter.step(belief, x[None], observed=mask, inputs=now.inputs, dt=now.dt, iterations=iterations)
    ahead = picked.driven(start, horizon)
    return forecast(filter, belief, horizon=horizon, paths=paths, inputs=ahead.inputs, dt=ahead.dt)


def _truth(picked: Picked, start: int, horizon: int) -> Float[Tensor, "horizon observation"]:
    """What came; NaN where that is not known."""
    truth = picked.xs.new_full((horizon, picked.xs.shape[1]), float("nan"))
    came = picked.xs[start : start + horizon]
    truth[: len(came)] = came
    return truth


def _record(picked: Picked, start: int, found: Forecast) -> dict[str, Any]:
    horizon, _, paths, _ = found.paths.shape
    truth = _truth(picked, start, horizon)
    scores = crps(found.paths[:, 0], truth).numpy()
    known = ~np.isnan(scores)
    return {
        **picked.named(),
        "at": start,
        "horizon": horizon,
        "paths": paths,
        "levels": list(LEVELS),
        "mean": rounded(found.mean[:, 0]),
        "deviation": rounded(found.variance[:, 0].sqrt()),
        "quantiles": rounded(found.quantiles(LEVELS)[:, :, 0]),
        "truth": rounded(truth),
        "crps": [float(s[k].mean()) if k.any() else None for s, k in zip(scores, known, strict=True)],
    }


def _write(out: Path, picked: Picked, start: int, found: Forecast, record: dict[str, Any]) -> None:
    from avf_core.commands import plots  # matplotlib is slow to import, and of another extra

    horizon = len(found.paths)
    levels = found.quantiles(LEVELS)[:, :, 0].numpy()
    truth = _truth(picked, start, horizon).numpy()
    past, mean = picked.xs[:start].numpy(), found.mean[:, 0].numpy()
    arrays = {
        "paths": found.paths[:, 0].numpy(),
        "mean": mean,
        "variance": found.variance[:, 0].numpy(),
        "levels": np.array(LEVELS),
        "quantiles": levels,
        "past": past,
        "truth": truth,
    }
    picture = plots.forecast(past=past, truth=truth, mean=mean, quantiles=levels, title=picked.title)
    files: dict[str, bytes | str] = {
        archive_name(out): avf_sources.archive_file(arrays),
        out.with_suffix(".json").name: json.dumps(record) + "\n",
        out.with_suffix(".png").name: picture,
    }
    avf_sources.replace_set(out.parent, files)


def _print(picked: Picked, start: int, found: Forecast, record: dict[str, Any]) -> None:
    observation = picked.checkpoint.filter.model.observation
    binary = (observation.low, observation.high) == BINARY and bool(((found.paths == 0) | (found.paths == 1)).all())
    table = Table(box=box.SIMPLE_HEAD, title=f"{picked.title}, after {start} steps: {record['paths']} paths")
    table.add_column("step", justify="right")
    if binary:
        table.add_column("likeliest ones: index and probability")
        table.add_column("came")
    else:
        for dimension in range(min(SHOWN, observation.size)):
            table.add_column(f"{dimension}: median (5 to 95 %), came", no_wrap=True)
    table.add_column("CRPS", justify="right")
    truth = _truth(picked, start, len(found.paths)).numpy()
    low, _, middle, _, high = found.quantiles(LEVELS)[:, :, 0].numpy()
    for h, score in enumerate(record["crps"]):
        if binary:
            cells = [_likeliest(found.mean[h, 0].numpy()), " ".join(map(str, np.flatnonzero(truth[h] == 1.0)))]
        else:
            shown = range(min(SHOWN, observation.size))
            cells = [
                f"{middle[h, d]:.3g} ({low[h, d]:.3g} to {high[h, d]:.3g}), {_said(float(truth[h, d]))}" for d in shown
            ]
        table.add_row(str(start + h), *cells, "" if score is None else f"{score:.4g}")
    Console().print(table)


def _likeliest(probability: np.ndarray) -> str:
    order = np.argsort(-probability, kind="stable")[: SHOWN + 1]
    return "  ".join(f"{d} {probability[d]:.2f}" for d in order)


def _said(value: float) -> str:
    return "?" if np.isnan(value) else f"{value:.3g}"
