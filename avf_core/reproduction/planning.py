"""What `avf reproduce` will do, decided before anything is done: which entries, in which order, and how far each is.

A run's folder has, beside what `avf train` writes, `entry.json`: the entry it is of, the seconds spent, and whether it
is trained. The law: what a folder holds of the same entry is gone on with; of another one, or damaged, it is refused.
"""

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import avf_sources

from avf_core import checkpoints
from avf_core.errors import AvfError, TrainingError
from avf_core.reproduction import measurements, records, sensor_sets, sensors, tables
from avf_core.reproduction.entries import Entry
from avf_core.training import result
from avf_core.training import state as run_state
from avf_core.training.listeners import METRICS

To = Literal["train", "go on", "score", "nothing", "refused"]
GOES_ON = (*checkpoints.FILES, *run_state.FILES, METRICS)
"""What a run takes from the one that it goes on with."""
OLD = ".old"
"""The ending of a run that is being deleted."""
LEAST_MINUTES = 0.01  # what a run is told whose time is up: it saves and writes its result


@dataclass(frozen=True, kw_only=True)
class Where:
    """The table, and where things are: all data, the runs, and the records.

    `again`: what was trained before is trained anew. `missing`: entries with a record are left alone. `stretch`: runs
    have so many times the minutes of the table. `as_they_stand`: what has begun is recorded, and nothing is trained.
    """

    table: str
    root: Path
    out: Path
    results: Path
    threads: int = 1
    missing: bool = False
    again: bool = False
    stretch: float = 1.0
    as_they_stand: bool = False
    quick: bool = False

    def folder(self, name: str) -> Path:
        """The folder of a run."""
        return self.out / (f"{self.table}-quick" if self.quick else self.table) / name


@dataclass(frozen=True, kw_only=True)
class State:
    """How far the run in a folder is; `seconds` are the wall clock's, of all its parts."""

    entry: Entry
    seconds: float = 0.0
    trained: bool = False

    def save(self, folder: Path) -> None:
        """Write it to the folder."""
        records.write(folder / "entry.json", asdict(self))

    @classmethod
    def of(cls, folder: Path, entry: Entry) -> "State":
        """The state of a folder, of `entry` as it is now.

        Raises TrainingError where it holds another run, or one of a newer version, and CheckpointError where the last
        save of a run is damaged.
        """
        path = folder / "entry.json"
        if not path.exists():
            return cls(entry=entry)
        try:
            found = json.loads(path.read_text())
            before = Entry.of(found["entry"], path)
            state = cls(entry=entry, seconds=float(found["seconds"]), trained=bool(found["trained"]))
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path} is damaged ({error!r}): delete the folder, or give another --out") from error
        if not before.same_run(entry):
            raise TrainingError(
                f"{folder} holds {before.preset} with {' '.join(before.changes)} (seed {before.seed}), which is not "
                f"what {entry.name} is now: give --again to train it anew, or another --out"
            )
        return replace(state, seconds=max(state.seconds, _saved_seconds(folder)))


@dataclass(frozen=True, kw_only=True)
class Step:
    """An entry, what is to be done for it, and why."""

    entry: Entry
    to: To
    reason: str


def _saved_seconds(folder: Path) -> float:
    """Those of a run's last save: all that is known of a part whose queue was killed."""
    saved = run_state.reached(folder)
    return 0.0 if saved is None else saved.seconds


def plan(entries: Sequence[Entry], table: Sequence[Entry], where: Where, *, listed: bool = False) -> list[Step]:
    """What to do for the chosen entries, starts first; starts that are not at hand are added. Nothing is changed yet.

    Raises TrainingError where a folder holds another run, unless `where.again`, and CheckpointError where one is
    damaged; of a plan that is only `listed`, such steps are `refused`, with what to do as their reason.
    """
    there = [e for e in entries if where.missing and _has_record(e, where, listed=listed)]
    wanted = [e for e in entries if e not in there]
    needed = {one.name: one for entry in wanted for one in tables.needed(entry, table)}
    starts = {name for entry in table for name in entry.waits_for}

    def step(entry: Entry) -> Step:
        try:
            asked = entry in wanted
            return _wanted(entry, where, others_start=entry.name in starts) if asked else _start(entry, where)
        except AvfError as error:
            if not listed:
                raise
            return Step(entry=entry, to="refused", reason=str(error))

    steps = [step(entry) for entry in needed.values()]
    return steps + [Step(entry=e, to="nothing", reason="its record is there") for e in there if e.name not in needed]


def begin_anew(steps: Sequence[Step], where: Where) -> None:
    """Delete the runs that are trained from the beginning."""
    for step in steps:
        folder = where.folder(step.entry.name)
        if step.to == "train" and (folder / "entry.json").exists():
            old = folder.with_name(f".{folder.name}{OLD}")
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)  # in one move: half of a run would be gone on with
            shutil.rmtree(old)


def begin(entry: Entry, where: Where) -> State:
    """The state of an entry's run, whose folder is made where there is none: with what it goes on with.

    Raises TrainingError where the folder holds another run.
    """
    folder = where.folder(entry.name)
    state = State.of(folder, entry)
    if entry.goes_on is not None and not (folder / "entry.json").exists():
        before = where.folder(entry.goes_on)
        avf_sources.replace_set(folder, avf_sources.read_set(before, GOES_ON))
        told = measurements.read(before / "entry.json", ("seconds",), f"give {entry.goes_on} with --again")
        state = replace(state, seconds=float(told["seconds"]))
    state.save(folder)
    return state


def command(entry: Entry, where: Where, *, minutes: float) -> list[str]:
    """The arguments of `avf` that train an entry."""
    if entry.command == "fit":
        return sensors.command(entry, _data(entry, where), where)
    words = ["train", entry.preset, "--data", str(_data(entry, where)), "--out", str(where.folder(entry.name))]
    for change in (*entry.changes, f"training.seed={entry.seed}"):
        words += ["--set", change]
    if entry.precision != "bfloat16":
        words += ["--precision", entry.precision]
    if entry.start is not None:
        words += ["--init", str(where.folder(entry.start))]
    if entry.time_of is not None:
        words += ["--training-seconds", f"{_saved_seconds(where.folder(entry.time_of)):.1f}"]
    return [*words, "--max-minutes", f"{max(minutes, LEAST_MINUTES):g}", "--threads", str(where.threads)]


def as_typed(arguments: Sequence[str]) -> str:
    """The command as a user would type it."""
    return f"avf {shlex.join(arguments)}"


def trained(entry: Entry, table: Sequence[Entry], where: Where, *, seconds: float) -> records.Trained:
    """The run of an entry, to be recorded."""
    return records.Trained(
        table=where.table,
        entry=entry,
        folder=where.folder(entry.name),
        behind=tuple(where.folder(start.name) for start in tables.ancestry(entry, table)),
        data=_data(entry, where),
        wall_seconds=seconds,
        quick=where.quick,
    )


def _data(entry: Entry, where: Where) -> Path:
    """What an entry is trained on."""
    if entry.command == "fit":
        return sensor_sets.prepare(entry.data, root=where.root, folder=where.folder("data"), short=where.quick)
    return where.root / entry.data


def _has_record(entry: Entry, where: Where, *, listed: bool) -> bool:
    """Whether its record is there; of a list, one that is damaged is none, and told by how far the entry is."""
    try:
        return records.is_there(where.results, where.table, entry)
    except AvfError:
        if not listed:
            raise
        return False


def _wanted(entry: Entry, where: Where, *, others_start: bool) -> Step:
    folder = where.folder(entry.name)
    absent = sensor_sets.absent(entry.data, where.root) if entry.command == "fit" else None
    if absent is not None:
        return Step(entry=entry, to="nothing", reason=f"left out: {absent}")
    if where.again:
        return Step(entry=entry, to="train", reason="anew" if folder.exists() else "new")
    state = State.of(folder, entry)
    if state.trained and (others_start or where.as_they_stand or not _has_more_to_do(state, where)):
        return Step(entry=entry, to="score", reason="trained before")
    if state.seconds:
        stopped = f"stopped after {state.seconds / 60:.1f} minutes"
        return Step(entry=entry, to="score" if where.as_they_stand else "go on", reason=stopped)
    if where.as_they_stand:
        return Step(entry=entry, to="nothing", reason="not begun")
    return Step(entry=entry, to="train", reason="new")


def _has_more_to_do(state: State, where: Where) -> bool:
    """Whether a run that ended has epochs left, as its time was up, and minutes left, as it has more of them now."""
    if state.seconds >= 60.0 * (state.entry.minutes * where.stretch - LEAST_MINUTES):
        return False
    try:
        return not result.read(where.folder(state.entry.name))["finished"]
    except TrainingError:
        return False


def _start(entry: Entry, where: Where) -> Step:
    """An entry that was not asked for, or has its record, and that another one starts from."""
    step = _wanted(entry, replace(where, again=False), others_start=True)
    if step.to == "score":
        return replace(step, to="nothing", reason="trained before; others start from it")
    return replace(step, reason=f"{step.reason}; others start from it")
