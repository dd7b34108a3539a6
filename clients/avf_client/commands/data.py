"""`avf data`: what is in a file, before it is streamed or trained on."""

from dataclasses import asdict
from typing import Any

import click
from avf_sources import _profile
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avf_client.commands.common import json_option, write_json
from avf_client.commands.reading import reading_options, take

MOST_CHANNELS = 50
"""So many are shown; JSON has all."""


@click.group()
def command() -> None:
    """Say what is in a file of data.

    \b
    avf data describe sensors.csv --time when
    """


@command.command("describe")
@click.argument("file")
@reading_options
@json_option
def describe_command(file: str, kind: str | None, as_json: bool, **options: Any) -> None:
    """Say what is understood of FILE: rows, sequences, channels, times, and what looks odd.

    FILE is whatever `avf stream` reads; most is said of tables (.csv, .tsv, .parquet, .feather).

    \b
    avf data describe sensors.csv --time when --group station
    avf data describe sensors.parquet --json | jq .warnings
    """
    found = _profile.profile(file, take(options), kind=kind)
    if as_json:
        write_json(asdict(found))
        return
    console = Console()
    console.print(_head(found))
    console.print(_channels(found))
    for mark, texts in (("note", found.remarks), ("warning", found.warnings)):
        for text in texts:
            console.print(f"{mark}: {text}", markup=False, highlight=False, soft_wrap=True)


def _head(found: _profile.Profile) -> Table:
    table = Table(title=Text(found.name), title_justify="left", box=None, show_header=False)
    table.add_row("rows", f"{found.rows}")
    table.add_row("sequences", f"{found.sequences}")
    if found.times is not None:
        table.add_row("step of time, median", f"{found.times.step:g} s")
        table.add_row("steps that are others", f"{found.times.uneven:.1%}")
    return table


def _channels(found: _profile.Profile) -> Table:
    more = len(found.channels) - MOST_CHANNELS
    caption = f"and {more} channels more: --json has them" if more > 0 else None
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    for title in ("channel", "unit"):
        table.add_column(title)
    for title in ("min", "median", "max", "missing"):
        table.add_column(title, justify="right")
    for each in found.channels[:MOST_CHANNELS]:
        values = ("" if value is None else f"{value:.6g}" for value in (each.minimum, each.median, each.maximum))
        table.add_row(Text(each.name), Text(each.unit or ""), *values, f"{each.missing:.1%}")
    return table
