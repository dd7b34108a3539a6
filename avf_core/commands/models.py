"""`avf models`: the checkpoints that ship with the library, and the presets that can be trained."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from avf_core import checkpoints
from avf_core.configuration import build
from avf_core.training import presets


@click.command(name="models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """List the checkpoints of the zoo and the presets, with sizes and parameter counts."""
    rows = [_checkpoint(name) for name in checkpoints.available()]
    rows += [_preset(name) for base in presets.PRESETS for name in (base, base + presets.DIRECT)]
    if as_json:
        click.echo(json.dumps({"models": rows}))
        return
    table = Table(caption="x, z: sizes of observation and latent. F: test free energy, nats per step.")
    table.add_column("name", no_wrap=True)
    for heading in ("", "model", "inference", "x", "z", "parameters", "F"):
        table.add_column(heading)
    for row in rows:
        counts = f"{row['model_parameters']:,} + {row['inference_parameters']:,}"
        test = row.get("test_free_energy")
        sizes = str(row["observation_size"]), str(row["latent_size"])
        figure = f"{test:.3f}" if test is not None else ""
        table.add_row(row["name"], row["form"], row["model"], row["inference"], *sizes, counts, figure)
    Console().print(table)


def _checkpoint(name: str) -> dict[str, Any]:
    checkpoint = checkpoints.load(name)
    test = checkpoint.card.get("test", {}).get("free_energy_pooled")
    return {**_sizes(name, "checkpoint", dict(checkpoint.settings)), "test_free_energy": test}


def _preset(name: str) -> dict[str, Any]:
    return _sizes(name, "preset", presets.get(name).settings)


def _sizes(name: str, form: str, settings: dict[str, Any]) -> dict[str, Any]:
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
