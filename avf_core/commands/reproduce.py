"""`avf reproduce`: train and evaluate everything in a table of results; interrupt it and go on later."""

import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from avf_core.errors import AvfError, TrainingError
from avf_core.reproduction import (
    planning,
    quick,
    report,
    tables,
)
from avf_core.reproduction.entries import Entry
from avf_core.reproduction.paper import NOT_AT_HAND
from avf_core.reproduction.planning import Step, Where
from avf_core.reproduction.running import Queue, Task, last_line
from avf_core.reproduction.standing import standing, told

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
MOST_OF_A_LINE = 100
WIDTH = 180  # of a table that goes to a file


@click.command(name="reproduce")
@click.argument("table", required=False)
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="The folder of all data.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default="runs", show_default=True, help="For the runs."
)
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), help="For the records. [default: docs/results]"
)
@click.option("--only", multiple=True, metavar="GLOB", help="Only entries of these names, say 'jsb-*'.")
@click.option("--missing", is_flag=True, help="Leave entries alone that have a record.")
@click.option("--again", is_flag=True, help="Train anew what --out holds of these entries.")
@click.option("--quick", "cut_down", is_flag=True, help="Little data, small nets: does it all work? Records in OUT.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs side by side.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads of each.")
@click.option(
    "--stretch",
    type=click.FloatRange(min=0.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Times the minutes of every run, on a slow machine or one that others use.",
)
@click.option("--as-they-stand", is_flag=True, help="Record what --out holds, how far it may be; train nothing.")
@click.option("--list", "listed", is_flag=True, help="List the entries, how far each is, what would be done; no more.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: what became of every entry.")
@click.option("--report", "report_only", is_flag=True, help="Write the page of results from the records, no more.")
def command(
    table: str | None,
    data: Path | None,
    out: Path,
    results: Path | None,
    only: tuple[str, ...],
    missing: bool,
    again: bool,
    cut_down: bool,
    jobs: int,
    threads: int,
    stretch: float,
    as_they_stand: bool,
    listed: bool,
    as_json: bool,
    report_only: bool,
) -> None:
    """Train and evaluate every entry of TABLE: music, speech, video, sensors, paper or arms.

    Each entry is an `avf train` of its own, which is printed; its record goes to RESULTS/TABLE/NAME.json, and the page
    beside RESULTS is written from all records. What --out holds is gone on with: after Ctrl-C, which saves, the same
    command continues; so does one with more minutes (--stretch) with what was not at its end.

    \b
    avf reproduce music --data DATA --jobs 2 --missing
    avf reproduce music --data DATA --only 'jsb-*' --list
    avf reproduce paper --list
    """
    if report_only:
        page = report.write(results or Path("docs/results"))
        click.echo(json.dumps({"page": str(page)}) if as_json else page)
        return
    if table is None or (data is None and not listed):
        raise click.UsageError("give a TABLE, and --data with the folder of all data")
    if cut_down and results is not None:
        raise click.UsageError("--quick keeps its records in OUT/results: leave out --results")
    where = Where(
        table=table,
        root=data or Path(),
        out=out,
        results=out / "results" if cut_down else results or Path("docs/results"),
        threads=threads,
        missing=missing,
        again=again,
        stretch=stretch,
        as_they_stand=as_they_stand,
        quick=cut_down,
    )
    entries = tables.get(table)
    if cut_down:
        entries = tuple(quick.shorten(entry) for entry in entries)
    steps = planning.plan(tables.choose(entries, only), entries, where, listed=listed)
    if listed and as_json:
        click.echo(json.dumps({"entries": [_listed(step, where) for step in steps], "not_at_hand": _absent(table)}))
        return
    _announce(steps, where, to_stderr=as_json)
    if not listed:
        _reproduce(steps, entries, where, jobs, as_json=as_json)


def _listed(step: Step, where: Where) -> dict[str, Any]:
    """An entry of the list, as JSON; with an `error` where it cannot be told how far it is."""
    about = {"name": step.entry.name, "to": step.to, "reason": step.reason}
    try:
        return {**about, **asdict(standing(step.entry, where))}
    except AvfError as error:
        return {**about, "error": str(error)}


def _so_far(step: Step, where: Where) -> str:
    """How far an entry is, in words; what is wrong where that cannot be told, unless the step says it."""
    try:
        return told(standing(step.entry, where))
    except AvfError as error:
        return "" if str(error) == step.reason else str(error)


def _absent(table: str) -> list[str]:
    """What has no entry, and why."""
    return list(NOT_AT_HAND) if table == "paper" else []


def _reproduce(steps: Sequence[Step], entries: Sequence[Entry], where: Where, jobs: int, *, as_json: bool) -> None:
    if where.quick:
        where = _cut(steps, where)
    planning.begin_anew(steps, where)
    with _display() as display, _signals() as stop:
        queue = Queue(steps, entries, where, display)
        failed = queue.run(jobs=jobs, stop=stop)
    page = report.write(where.results)
    tasks = [{"name": task.name, "stage": task.stage, "error": task.error} for task in queue.tasks]
    click.echo(json.dumps({"page": str(page), "entries": tasks}) if as_json else page)
    if queue.interrupted:
        click.echo("stopped: the same command goes on from here", err=True)
        raise click.Abort
    if failed:
        names = "; ".join(f"{task.name}: {task.error}" for task in failed)
        raise TrainingError(f"{len(failed)} of {len(steps)} entries failed. {names}")


def _cut(steps: Sequence[Step], where: Where) -> Where:
    """Write the cut-down data that trainings need, the data from here on; sensors are cut where they are read."""
    folder = where.folder("data")
    needed = {step.entry.data for step in steps if step.to != "nothing"}
    trained = {entry.data for entry in tables.get(where.table) if entry.command == "train"}
    for data in trained:
        if quick.cut_name(data) in needed and (where.root / data).exists():
            quick.cut(data, root=where.root, folder=folder)
    return dataclasses.replace(where, root=folder) if trained else where


def _announce(steps: Sequence[Step], where: Where, *, to_stderr: bool) -> None:
    """Say what will be done, how far each entry is, and what there is no entry of."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("entry", "to do", "why", "preset", "start", "at most, minutes", "so far"):
        shown.add_column(heading, justify="right" if heading.endswith("minutes") else "left", overflow="fold")
    for step in steps:
        entry = step.entry
        minutes = f"{entry.minutes * where.stretch:g}"
        shown.add_row(entry.name, step.to, step.reason, entry.preset, entry.origin or "", minutes, _so_far(step, where))
    console = Console(width=None if sys.stdout.isatty() else WIDTH, stderr=to_stderr)
    console.print(shown)
    for missing in _absent(where.table):
        console.print(f"not at hand: {missing}", highlight=False, soft_wrap=True)


class Bars:
    """A bar for the queue, and a line for each entry at work; what begins and ends is printed."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.queue = progress.add_task("entries", total=None, line="")
        self.lines: dict[str, TaskID] = {}
        self.logs: dict[str, Path] = {}

    def began(self, task: Task, typed: str) -> None:
        """Print the command."""
        self._print(f"{task.name}: {typed}")

    def changed(self, task: Task, log: Path) -> None:
        """Print how a task ended; its line comes and goes."""
        if task.stage in ("training", "scoring"):
            self.logs[task.name] = log
            if task.name not in self.lines:
                self.lines[task.name] = self.progress.add_task(task.name, total=None, line="")
            return
        self._print(f"{task.name}: {task.stage}{': ' if task.error else ''}{task.error}")
        if task.name in self.lines:
            self.progress.remove_task(self.lines.pop(task.name))

    def looked(self, tasks: Sequence[Task]) -> None:
        """Show the last line of each log."""
        ended = sum(task.stage in ("done", "failed") for task in tasks)
        self.progress.update(self.queue, completed=ended, total=len(tasks))
        for name, shown in self.lines.items():
            self.progress.update(shown, line=last_line(self.logs[name])[:MOST_OF_A_LINE])

    def _print(self, text: str) -> None:
        self.progress.console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _display() -> Iterator[Bars]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        yield Bars(progress)


@contextmanager
def _signals() -> Iterator[Callable[[], int]]:
    """How often a stop was asked for, by Ctrl-C or from outside; a third Ctrl-C is the ordinary one."""
    asked: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield lambda: len(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
