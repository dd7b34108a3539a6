"""`avf models`: the checkpoints that ship with the library, and the presets that can be trained."""

import json
from collections.abc import Mapping
from typing import Any

import click
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from avf_core import checkpoints
from avf_core.configuration import build
from avf_core.training import presets
from avf_core.training.model_card import said

FIGURES = {
    "free_energy": "free_energy_pooled",
    "standard_error": "standard_error",
    "noise_error": "noise_error",
}
"""Figures of the reported split, by their names in the list."""
LEGEND = """x, z: sizes of observation and latent. Parameters, in millions: of the model,
and of its inference. F: free energy on the reported split, nats per step, ± over
sequences, with as many digits as another seed of the filter's noise leaves."""


@click.command(name="models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """List the checkpoints of the zoo and the presets, with sizes and parameter counts.

    \b
    avf models
    avf models --json
    """
    rows = [_checkpoint(name) for name in checkpoints.available()]
    rows += [_preset(name) for name in presets.names()]
    if as_json:
        click.echo(json.dumps({"models": rows}))
        return
    Console().print(_table("Checkpoints", [row for row in rows if row["form"] == "zoo"]))
    Console().print(_table("Presets, for `avf train`", [row for row in rows if row["form"] == "preset"]))
    click.echo(LEGEND)


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("name", "model, inference", "x, z", "parameters", "F"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        millions = f"{row['model_parameters'] / 1e6:.2f} + {row['inference_parameters'] / 1e6:.2f}"
        sizes = f"{row['observation_size']}, {row['latent_size']}"
        table.add_row(row["name"], f"{row['model']}, {row['inference']}", sizes, millions, _told(row))
    return table


def _checkpoint(name: str) -> dict[str, Any]:
    checkpoint = checkpoints.load(name)
    test = checkpoint.card.get("test", {})
    figures = {f"test_{key}": test.get(name) for key, name in FIGURES.items()}
    return {**_sizes(name, "zoo", dict(checkpoint.settings)), **figures}


def _told(row: Mapping[str, Any]) -> str:
    """F with its error over sequences, and the digits that the filter's noise leaves."""
    found = {name: row.get(f"test_{key}") for key, name in FIGURES.items()}
    return said(found, "free_energy_pooled", "standard_error") if found["free_energy_pooled"] is not None else ""


def _preset(name: str) -> dict[str, Any]:
    return _sizes(name, "preset", presets.get(name).settings)


def _sizes(name: str, form: str, settings: dict[str, Any]) -> dict[str, Any]:
    with torch.device("meta"):  # sizes without numbers
        built = build(settings)
    return {
        "name": name,
        "form": form,
        "model": settings["model"]["kind"],
        "inference": settings["inference"]["kind"],
        "observation_size": built.model.observation.size,
        "latent_size": built.model.latent_size,
        "model_parameters": sum(p.numel() for p in built.model.parameters()),
        "inference_parameters": sum(p.numel() for p in built.inference.parameters()),
    }
