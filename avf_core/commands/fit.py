"""`avf fit`: from a file of sensors to a filter that can be served, with an honest verdict on it."""

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import avf_sources
import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from avf_core.commands import verdicts
from avf_core.commands.options import key_values, plugin_option, threads_option
from avf_core.commands.train import stopper
from avf_core.data import Sequences, Source, numbers
from avf_core.errors import DataError
from avf_core.reproduction import plots
from avf_core.training import finishing
from avf_core.training.choosing import CANDIDATES, Candidate, Choice, choose
from avf_core.training.clips import batches_per_epoch
from avf_core.training.cycles import cycles
from avf_core.training.listeners import ProgressBar
from avf_core.training.trainer import Listener

FEWEST = 60  # steps to train on
FEWEST_JUDGED = 5  # steps of which anything was observed, of the parts that judge
NO_CALENDAR = "none"
MINUTES = click.FloatRange(min=0.0, min_open=True)


@click.command(name="fit")
@click.argument("file")
@click.option("--time", "time_column", metavar="COLUMN", help="The column that says when.")
@click.option("--group", metavar="COLUMN", help="The column that says which sequence a row is of.")
@click.option("--inputs", metavar="COLUMNS", help="Columns that are not observed but given, with commas between.")
@click.option(
    "--calendar",
    metavar="CYCLES",
    help="Inputs made of the times: some of hour,halfday,weekday,yearday, with commas between, or none. [default: "
    "those by which validation data are forecast better]",
)
@click.option("--ignore", metavar="COLUMNS", help="Columns that are not read, with commas between.")
@click.option("--data-option", "reading", multiple=True, metavar="KEY=VALUE", help="How to read it; docs/data.md.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Its folder. [default: runs/NAME]")
@click.option("--minutes", type=MINUTES, default=10.0, show_default=True, help="By the wall clock, for all of it.")
@click.option("--preset", "names", multiple=True, help=f"Only these. [default: {', '.join(CANDIDATES)}]")
@click.option("--seed", type=int, default=1, show_default=True, help="Of training.")
@plugin_option
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    file: str,
    time_column: str | None,
    group: str | None,
    inputs: str | None,
    calendar: str | None,
    ignore: str | None,
    reading: tuple[str, ...],
    out: Path | None,
    minutes: float,
    names: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Train a filter on FILE, a table or arrays of sensors, and say whether it is any good.

    The first 80 % of the steps are trained on, the next 10 % choose among presets and calibrate, the last 10 % are
    the test. All of it is done within --minutes, on a slow machine with less training. The folder holds the
    checkpoint, which `avf serve` takes, and a page on it: report.md. Ctrl-C saves; the same command goes on.

    \b
    avf fit weather.csv --time time
    avf fit weather.csv --time time --calendar hour,yearday
    avf fit plant.parquet --time when --inputs valve,setpoint --minutes 20
    """
    started = time.monotonic()
    listed = {"inputs": inputs, "calendar": None if calendar == NO_CALENDAR else calendar, "ignore": ignore}
    named: dict[str, Any] = {"time": time_column, "group": group, **{key: _listed(v) for key, v in listed.items()}}
    options = {**{key: value for key, value in named.items() if value}, **key_values(reading, "--data-option")}
    source = Source(path=file, options=options)
    folder = out or Path("runs") / source.place.stem
    splits = _splits(source)
    if calendar is None and (found_cycles := cycles(splits.train, splits.valid)):
        options["calendar"] = list(found_cycles)
        source = Source(path=file, options=options)
        splits = _splits(source)
        click.echo(
            f"the calendar helps, and is an input: {', '.join(found_cycles)} (--calendar none: without)", err=True
        )
    stop = stopper(None)  # the seconds are counted by `choose`
    seconds = max(1.0, 60.0 * minutes - (time.monotonic() - started))
    choice = _choose(splits, folder, names or CANDIDATES, seconds, seed, stop, quiet=as_json)
    if not choice.finished:
        click.echo(f"stopped before the end: the same command goes on from {folder}", err=True)
        return
    words = ["avf fit", shlex.quote(source.place.name), *_words(options), f"--minutes {minutes:g}"]
    curve = plots.learning_curve(choice.progress.history, title=choice.best.name)
    found = finishing.finish(choice, source, splits, folder=folder, command=" ".join(words), curve=curve)
    if as_json:
        click.echo(json.dumps({**found.card, "run": str(folder)}))
        return
    console = Console()
    console.print(verdicts.beside(found.verdict))
    console.print(f"{choice.best.name}, in {folder}: read {folder / finishing.PAGE}", markup=False, highlight=False)
    console.print(f"next: avf serve --model {folder}", markup=False, highlight=False)


def _splits(source: Source) -> finishing.Splits:
    """The three parts of the data. Raises DataError where it is of another kind, or there is too little of it."""
    described = source.describe()
    if described.modality != "series":
        raise DataError(f"{source.path} is {described.modality}, and avf fit is for sensors: `avf train` has presets")
    parts = {}
    for name in ("train", described.selection, described.reported):
        if name not in described.splits:
            raise DataError(f"{source.path} has no split {name!r}: it has {', '.join(described.splits)}")
        parts[name] = source.load(name)
    train, valid, test = parts["train"], parts[described.selection], parts[described.reported]
    steps = sum(len(sequence) for sequence in train)
    if steps < FEWEST:
        raise DataError(f"{source.path} has {steps} steps to train on, expected at least {FEWEST}")
    _check_observed(source, train, "that are trained on", FEWEST)
    _check_observed(source, valid, "that choose and calibrate, after those that are trained on,", FEWEST_JUDGED)
    _check_observed(source, test, "of the test, the last ones,", FEWEST_JUDGED)
    return finishing.Splits(train=train, valid=valid, test=test)


def _check_observed(source: Source, part: Sequences, which: str, fewest: int) -> None:
    """Raise DataError where nothing was measured in most of a part: no figure of it would mean anything."""
    steps = sum(len(sequence) for sequence in part)
    known = sum(int(np.isfinite(numbers(sequence)).any(axis=1).sum()) for sequence in part)
    if known < min(fewest, steps):
        raise DataError(
            f"{source.path}: {known} of the {steps} steps {which} have anything observed, expected at least "
            f"{min(fewest, steps)}: leave out a stretch in which nothing was measured, or name channels that were"
        )


def _choose(
    splits: finishing.Splits, folder: Path, names: tuple[str, ...], seconds: float, seed: int, stop: Any, *, quiet: bool
) -> Choice:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
    avf_sources.make_folder(folder)
    with Progress(*columns, console=Console(stderr=True), disable=quiet or not sys.stderr.isatty()) as bar:

        def listener(candidate: Candidate) -> Listener:
            config = candidate.run.config
            return ProgressBar(bar, config.epochs, batches_per_epoch(candidate.run.train, config), candidate.name)

        return choose(
            splits.train,
            splits.valid,
            folder=folder / "candidates",
            names=names,
            seconds=seconds,
            after=lambda filter: finishing.seconds_to_finish(filter, splits),
            seed=seed,
            listener=listener,
            stop=stop,
        )


def _listed(names: str | None) -> list[str] | None:
    return [name.strip() for name in names.split(",")] if names else None


def _words(options: dict[str, Any]) -> list[str]:
    """The data's options as they are given on the command line."""
    said = []
    for key, value in options.items():
        if key in ("time", "group"):
            said.append(f"--{key} {shlex.quote(str(value))}")
        elif key in ("inputs", "calendar", "ignore"):
            said.append(f"--{key} {shlex.quote(','.join(value))}")
        else:
            said.append(f"--data-option {shlex.quote(f'{key}={json.dumps(value)}')}")
    return said
