"""`avf publish`: a run becomes a folder that another machine can serve: checkpoint, card, and a page."""

import json
from pathlib import Path
from typing import Any

import avf_sources
import click
import torch

from avf_core import checkpoints
from avf_core.analysis.evaluation import evaluate
from avf_core.analysis.predictive import predictive, recalibrate
from avf_core.checkpoints import Checkpoint
from avf_core.commands.options import plugin_option, threads_option
from avf_core.data import Source
from avf_core.errors import TrainingError
from avf_core.training import result
from avf_core.training.finishing import PAGE, reference_on
from avf_core.training.model_card import about, limits, parameters, readable

README = "README.md"


@click.command(name="publish")
@click.argument("run")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to make.")
@click.option("--data", "path", help="The data of the run, to measure again what is normal for it and how good it is.")
@click.option("--half", is_flag=True, help="Weights in half precision: half as large.")
@plugin_option
@threads_option
def command(run: str, to: Path, path: str | None, half: bool) -> None:
    """Make of RUN, a folder of `avf fit` or `avf train`, a folder that another machine can serve.

    It holds weights, settings, card and a page, and nothing of how training went. A run of `avf train` does not know
    what is normal for it, and so has no surprise where it is served: with --data it learns that.

    \b
    avf publish runs/weather --to models/weather
    avf publish runs/jsb --to models/jsb --data jsb_chorales.npz
    """
    checkpoint = result.best(run)
    if to.exists() and any(to.iterdir()):
        raise TrainingError(f"{to} is not empty: give --to a folder that is to be made")
    card = dict(checkpoint.card) if path is None else _measured(checkpoint, Source(path=path))
    dtype = torch.float16 if half else torch.promote_types(checkpoint.filter.model.dtype, torch.float32)
    files = checkpoints.written(filter=checkpoint.filter, settings=checkpoint.settings, card=card, dtype=dtype)
    avf_sources.replace_set(to, {**files, README: _page(checkpoints.find(run), to.name, card)})
    if "reference" not in card:
        click.echo(
            "what is normal for it is not known, and its surprise will not be: give --data to measure it", err=True
        )
    click.echo(f"{to}: avf serve --model {to}")


def _measured(checkpoint: Checkpoint, given: Source) -> dict[str, Any]:
    """The card with recalibration, reference and figures, on the splits that training selects and reports on."""
    source = given.like(checkpoint.card.get("data"))
    described, filter = source.describe(), checkpoint.filter
    size = filter.model.observation.size
    valid = source.load(described.selection, observation_size=size)
    test = source.load(described.reported, observation_size=size)
    filter.recalibration = recalibrate(filter, valid)
    normal = reference_on(checkpoint, valid)
    return {
        **checkpoint.card,
        "data": source.as_card(),
        "splits": [described.selection, described.reported],
        "valid": evaluate(filter, valid).as_dict(),
        "test": evaluate(filter, test).as_dict(),
        "recalibration": filter.recalibration and filter.recalibration.as_dict(),
        "predictions": predictive(filter, test).as_dict(),
        "parameters": parameters(filter),
        "about": about(described),
        "limits": limits(described),
        **({"reference": {"split": described.selection, **normal}} if normal is not None else {}),
    }


def _page(run: Path, name: str, card: dict[str, Any]) -> str:
    """The page of the run, where it has one; else its card."""
    report = run / PAGE
    if report.is_file():
        return report.read_text(encoding="utf-8")
    shown = {key: value for key, value in card.items() if key != "reference"}
    return f"# {name}\n\n```json\n{readable(json.loads(json.dumps(shown)))}\n```\n"
