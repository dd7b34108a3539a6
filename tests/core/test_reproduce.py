"""`avf reproduce`: tables are sound, plans say what will be done, and the queue does it, stops and goes on."""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from avf_client.commands import cli

from avf_core import checkpoints, configuration, data
from avf_core.analysis.evaluation import evaluate
from avf_core.commands.options import key_values
from avf_core.errors import ConfigurationError, DataError, TrainingError
from avf_core.reproduction import (
    planning,
    quick,
    records,
    tables,
)
from avf_core.reproduction.entries import Entry
from avf_core.reproduction.planning import State, Where
from avf_core.reproduction.running import Queue, Task
from avf_core.training import presets
from avf_core.training.config import Preset

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

ROLLS = "music/jsb_chorales.npz"
START = Entry(
    name="tiny-start", group="tiny", role="start", preset="srnn-jsb-best-direct", data=ROLLS, seed=3, minutes=5.0
)
BASELINE = replace(START, name="tiny-baseline", role="baseline")
AVF = replace(START, name="tiny-avf", role="avf", preset="srnn-jsb-best", start="tiny-start", particles=128)
BROKEN = replace(START, name="tiny-broken", role="bound", changes=("model.keys=88",))
AFTER = replace(AVF, name="tiny-after", start="tiny-broken")
TINY = (AVF, START, BASELINE, BROKEN, AFTER)


@dataclass(frozen=True, kw_only=True)
class Done:
    """A table that went through the command: where it was told to be, its exit code and what it printed."""

    root: Path
    out: Path
    code: int
    printed: str


def make_rolls(root: Path) -> None:
    """A small piano-roll file where the JSB chorales lie."""
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "valid", "test"):
        arrays[f"{split}_bits"] = np.packbits((generator.random((200, 88)) > 0.95).astype(np.uint8), axis=1)
        arrays[f"{split}_offsets"] = np.arange(0, 201, 20)
    (root / ROLLS).parent.mkdir(parents=True)
    np.savez(root / ROLLS, **arrays)  # type: ignore[arg-type]


def reproduce(*arguments: object) -> tuple[int, str]:
    """`avf reproduce tiny`: its exit code, and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = cli.run(["reproduce", "tiny", *map(str, arguments)])
    return code, printed.getvalue()


@pytest.fixture(scope="module", autouse=True)
def tiny_table() -> Iterator[None]:
    """A table of these tests beside the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tables.TABLES, "tiny", TINY)
        yield


@pytest.fixture(scope="module")
def done(shapes_unchecked: None, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The whole table, cut down, two runs side by side."""
    folder = tmp_path_factory.mktemp("reproduce")
    make_rolls(folder / "root")
    code, printed = reproduce("--data", folder / "root", "--out", folder / "out", "--quick", "--jobs", 2)
    return Done(root=folder / "root", out=folder / "out", code=code, printed=printed)


def record_of(done: Done, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((done.out / "results" / "tiny" / f"{name}.json").read_text())
    return found


# --- the whole way


def test_every_entry_is_trained_evaluated_and_recorded(done: Done) -> None:
    """The record's figures are those of the checkpoint, its hash that of the data, and it names no path."""
    there = sorted(path.stem for path in (done.out / "results" / "tiny").glob("*.json"))
    assert there == ["tiny-avf", "tiny-baseline", "tiny-start"]
    found = json.loads((done.out / "results" / "tiny" / "tiny-avf.json").read_text())
    assert str(done.out.parent) not in json.dumps(found)
    checkpoint = checkpoints.load(done.out / "tiny-quick" / "tiny-avf")
    cut = done.out / "tiny-quick" / "data" / ROLLS
    test = data.load(cut, "test")
    assert found["test"] == evaluate(checkpoint.filter, test).as_dict()
    digest = hashlib.sha256()
    for roll in test:
        digest.update(b"(12, 88) <f4\n" + roll.tobytes())
    assert found["data"]["splits"]["test"]["sha256"] == digest.hexdigest()
    assert (found["selection"], found["reported"], found["entry"]["seed"], found["training"]["seed"]) == (
        "valid", "test", 3, 3,
    )  # fmt: skip
    assert [point["iterations"] for point in found["test_by_iterations"]] == [0, 1, 5, 10]
    assert found["test_by_iterations"][1]["free_energy_pooled"] == pytest.approx(
        evaluate(checkpoint.filter, test, iterations=1).free_energy_pooled
    )
    assert found["bound"]["particles"] == quick.PARTICLES
    assert found["curve"]["updates"] == [2, 4]
    assert len(found["log"]) >= 2


def test_a_start_counts_among_the_updates_of_what_starts_from_it(done: Done) -> None:
    """Four updates of its own, and those of the start to its best validation; both commands are kept."""
    found, start = record_of(done, "tiny-avf"), record_of(done, "tiny-start")
    assert found["updates_in_all"] == 4 + start["updates_to_best"]  # type: ignore[operator]
    assert found["seconds_in_all"] == pytest.approx(found["seconds"] + start["seconds"], abs=0.11)  # type: ignore[operator]
    first, second = found["commands"]  # type: ignore[misc]
    assert first.startswith("avf train srnn-jsb-best-direct --data jsb_chorales.npz --out OUT --set")  # type: ignore[has-type]
    assert second.endswith("--init START")  # type: ignore[has-type]


def test_an_entry_that_fails_stops_no_other(done: Done) -> None:
    """It is named with its reason, so is what would have started from it, and the exit code says so."""
    assert done.code == 1
    assert "2 of 5 entries failed" in done.printed
    assert "tiny-broken: avf: avf_core.models.srnn has no keys" in done.printed
    assert "tiny-after: its start tiny-broken failed" in done.printed
    assert "Traceback" not in done.printed


def test_the_commands_are_printed_as_a_user_would_type_them(done: Done) -> None:
    """And are the first line of each log."""
    log = (done.out / "tiny-quick" / "tiny-avf" / "log.txt").read_text()
    typed = log.splitlines()[0].removeprefix("$ ")
    assert typed in done.printed
    assert typed.startswith(f"avf train srnn-jsb-best --data {done.out}")
    assert f"--init {done.out / 'tiny-quick' / 'tiny-start'} --max-minutes 2 --threads 1" in typed


def test_the_page_is_written_from_the_records(done: Done) -> None:
    """With its plots, and with a warning that the figures are of cut-down runs."""
    page = (done.out / "results.md").read_text()
    assert "their figures mean nothing" in page
    assert f"{record_of(done, 'tiny-avf')['test']['free_energy_pooled']:.3f}" in page  # type: ignore[index]
    assert (done.out / "images" / "results-tiny.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_there_is_not_done_again(done: Done) -> None:
    """With --missing nothing is begun; the records stay as they are."""
    before = record_of(done, "tiny-avf")
    common = ["--data", done.root, "--out", done.out, "--quick", "--missing"]
    code, printed = reproduce(*common, "--only", "tiny-[!ab]*", "--only", "tiny-avf", "--only", "tiny-base*")
    assert (code, printed.count("its record is there")) == (0, 3)
    assert "avf train" not in printed
    assert record_of(done, "tiny-avf") == before


# --- stopping and going on


class Silent:
    """A display that shows nothing."""

    def began(self, task: Task, typed: str) -> None: ...

    def changed(self, task: Task, log: Path) -> None: ...

    def looked(self, tasks: object) -> None: ...


def run_queue(where: Where, entry: Entry, stop: Callable[[], int]) -> Queue:
    queue = Queue(planning.plan([entry], [entry], where), [entry], where, Silent())
    assert queue.run(jobs=1, stop=stop) == []
    return queue


def test_a_stopped_queue_goes_on_where_it_was(done: Done, tmp_path: Path) -> None:
    """Stopped after a validation it saves, and is no record yet; the same queue finishes the same run."""
    many = ("training.epochs=60", "training.validate_every=1", "training.patience=100")
    short = quick.shorten(replace(BASELINE, name="tiny-long"))
    kept = tuple(c for c in short.changes if c.split("=")[0] not in {m.split("=")[0] for m in many})
    entry = replace(short, changes=(*kept, *many))
    where = Where(table="tiny", root=done.out / "tiny-quick" / "data", out=tmp_path, results=tmp_path / "results")
    folder = where.folder("tiny-long")
    first = run_queue(where, entry, lambda: int((folder / "metrics.jsonl").exists()))
    assert (first.tasks[0].stage, first.interrupted) == ("stopped", True)
    state = State.of(folder, entry)
    assert state.seconds > 0.0
    assert not state.trained
    assert not where.results.exists()
    epochs = json.loads((folder / "run.json").read_text())["progress"]["epoch"]
    assert 0 < epochs < 60
    (step,) = planning.plan([entry], [entry], where)
    assert step.to == "go on"
    second = run_queue(where, entry, lambda: 0)
    assert second.tasks[0].stage == "done"
    found = json.loads((where.results / "tiny" / "tiny-long.json").read_text())
    assert (found["finished"], found["epochs"], found["curve"]["epoch"]) == (True, 60, list(range(1, 61)))
    assert found["wall_seconds"] > state.seconds
    assert "resuming" in (folder / "log.txt").read_text()


def test_a_run_that_goes_on_with_another_is_that_run_with_more_epochs(done: Done, tmp_path: Path) -> None:
    """The same weights as in one go; its updates and its minutes include those that it took over."""

    def lasting(name: str, epochs: int, **changes: str) -> Entry:
        short = quick.shorten(replace(BASELINE, name=name))
        kept = tuple(change for change in short.changes if not change.startswith("training.epochs"))
        return replace(short, changes=(*kept, f"training.epochs={epochs}"), **changes)  # type: ignore[arg-type]

    table = (lasting("first", 2), lasting("whole", 4, goes_on="first"), lasting("alone", 4))
    where = Where(table="tiny", root=done.out / "tiny-quick" / "data", out=tmp_path, results=tmp_path / "results")
    queue = Queue(planning.plan(table[1:], table, where), table, where, Silent())
    assert [task.name for task in queue.tasks] == ["first", "whole", "alone"]
    assert queue.run(jobs=1, stop=lambda: 0) == []
    weights = [(where.folder(name) / "weights.safetensors").read_bytes() for name in ("whole", "alone")]
    assert weights[0] == weights[1]
    whole, alone, first = (records.load(where.results, "tiny")[i] for i in (2, 0, 1))
    assert whole["updates_in_all"] == alone["updates_in_all"] == 2 * first["updates_in_all"]
    assert whole["curve"]["epoch"] == [1, 2, 3, 4]
    assert whole["seconds_in_all"] >= first["seconds_in_all"]
    assert [entry.name for entry in tables.ancestry(table[1], table)] == []
    last = lasting("last", 4, start="whole")
    assert [entry.name for entry in tables.requirements(last, (*table, last))] == ["first", "whole"]
    assert [entry.name for entry in tables.ancestry(last, (*table, last))] == ["whole"]


# --- plans


def where_in(folder: Path, **changes: object) -> Where:
    return replace(Where(table="tiny", root=folder, out=folder / "runs", results=folder / "results"), **changes)  # type: ignore[arg-type]


def test_a_plan_puts_starts_first_and_adds_those_that_are_missing(tmp_path: Path) -> None:
    """What was not asked for is done only because others start from it, and not where it is at hand."""
    where = where_in(tmp_path)
    steps = planning.plan([AVF, BASELINE], TINY, where)
    assert [(s.entry.name, s.to) for s in steps] == [
        ("tiny-start", "train"), ("tiny-avf", "train"), ("tiny-baseline", "train"),
    ]  # fmt: skip
    State(entry=START, seconds=60.0, trained=True).save(where.folder("tiny-start"))
    State(entry=AVF, seconds=90.0).save(where.folder("tiny-avf"))
    steps = planning.plan([AVF], TINY, where)
    assert [(s.entry.name, s.to) for s in steps] == [("tiny-start", "nothing"), ("tiny-avf", "go on")]
    assert steps[1].reason == "stopped after 1.5 minutes"
    again = planning.plan([AVF], TINY, replace(where, again=True))
    assert [(s.entry.name, s.to) for s in again] == [("tiny-start", "nothing"), ("tiny-avf", "train")]
    planning.begin_anew(again, where)
    assert where.folder("tiny-start").exists()
    assert not where.folder("tiny-avf").exists()


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    """Unless it is to be trained anew; other limits are no other run."""
    where = where_in(tmp_path)
    State(entry=BASELINE).save(where.folder("tiny-baseline"))
    other = replace(BASELINE, changes=("training.epochs=7",))
    with pytest.raises(TrainingError, match=r"holds srnn-jsb-best-direct with .* give --again"):
        planning.plan([other], [other], where)
    assert planning.plan([other], [other], replace(where, again=True))[0].to == "train"
    longer = replace(BASELINE, minutes=44.0, particles=3)
    assert planning.plan([longer], [longer], where)[0].to == "train"
    (where.folder("tiny-baseline") / "entry.json").write_text("{}")
    with pytest.raises(TrainingError, match="damaged"):
        planning.plan([BASELINE], [BASELINE], where)


def test_a_record_of_other_settings_is_missing(done: Done, tmp_path: Path) -> None:
    """`--missing` leaves alone what was trained as the table says now, and nothing else."""
    results = done.out / "results"
    entry = quick.shorten(AVF)
    assert records.is_there(results, "tiny", entry)
    assert not records.is_there(results, "tiny", replace(entry, seed=4))
    where = where_in(tmp_path, results=results, missing=True)
    assert [s.to for s in planning.plan([entry], [quick.shorten(e) for e in TINY], where)] == ["nothing"]


def test_what_is_left_of_the_minutes_is_what_a_resumed_run_gets(tmp_path: Path) -> None:
    """And where none are left, as few as end it."""
    assert planning.command(BASELINE, where_in(tmp_path), minutes=12.5)[-4:] == [
        "--max-minutes", "12.5", "--threads", "1",
    ]  # fmt: skip
    assert planning.command(BASELINE, where_in(tmp_path), minutes=-3.0)[-3] == "0.01"


# --- tables


LIMITS = {"music": 45.0, "speech": 90.0, "video": 90.0, "paper": 240.0, "arms": 240.0}  # minutes of one run
FITTED = "sensors"  # the table of `avf fit`, which has tests of its own


@pytest.mark.parametrize("name", list(LIMITS))
def test_tables_are_sound(name: str) -> None:
    """Names are unique, starts are there, presets know every change, and no run is over its time."""
    table = tables.get(name)
    assert len({entry.name for entry in table}) == len(table)
    for entry in table:
        assert entry.minutes <= LIMITS[name]
        assert entry.group in tables.GROUPS
        tables.ancestry(entry, table)
        preset = presets.override(presets.get(entry.preset), key_values(entry.changes, "--set"))
        direct, either = {"direct"}, {"direct", "iterative"}
        kinds = {"baseline": direct, "same": direct, "time": direct, "ships": either, "no-latent": {"deterministic"}}
        kinds["start"] = either | {"deterministic"}
        assert preset.inference["kind"] in kinds.get(entry.role, {"iterative"})
    beside = {"same", "time"} if name == "arms" else {"baseline"}
    assert {"avf"} | beside <= {entry.role for entry in table}


@pytest.mark.parametrize("name", sorted({*LIMITS} - {"arms"}))
def test_avf_has_no_more_updates_than_its_baseline(name: str) -> None:
    """Epochs of the same clips and batches, those of the start included; and the same model."""

    def preset_of(entry: Entry) -> Preset:
        return presets.override(presets.get(entry.preset), key_values(entry.changes, "--set"))

    table = tables.get(name)
    for avf in (entry for entry in table if entry.role == "avf"):
        (baseline,) = (e for e in table if (e.role, e.group, e.seed) == ("baseline", avf.group, avf.seed))
        found, fair = preset_of(avf), preset_of(baseline)
        behind = sum(preset_of(start).training.epochs for start in tables.ancestry(avf, table))
        assert found.training.epochs + behind <= fair.training.epochs
        assert found.training.batch_size == fair.training.batch_size
        assert found.model == fair.model


def test_a_start_that_is_in_no_table_is_refused() -> None:
    """So is a circle."""
    with pytest.raises(ConfigurationError, match="no entry before it"):
        tables.ancestry(AVF, [AVF])
    circle = replace(START, start="tiny-avf")
    with pytest.raises(ConfigurationError, match="no entry before it"):
        tables.ancestry(AVF, [AVF, circle])


def test_a_cut_set_is_the_beginning_of_the_whole_one(tmp_path: Path) -> None:
    """The first steps of the first sequences of each split."""
    make_rolls(tmp_path / "root")
    path = quick.cut(ROLLS, root=tmp_path / "root", folder=tmp_path / "cut")
    for split in ("train", "valid", "test"):
        whole, found = data.load(tmp_path / "root" / ROLLS, split), data.load(path, split)
        assert len(found) == quick.SEQUENCES
        for a, b in zip(whole, found, strict=False):
            np.testing.assert_array_equal(a[: quick.STEPS], b)
    with pytest.raises(DataError, match="no file or folder"):
        quick.cut("speech/none", root=tmp_path / "root", folder=tmp_path / "cut")


@pytest.mark.parametrize("name", ["speech", "video", "paper"])
def test_every_preset_of_a_table_can_be_cut_down(name: str) -> None:
    """The small nets are of the preset's own model, and far smaller."""
    for entry in tables.get(name):
        short = quick.shorten(entry)
        preset = presets.override(presets.get(short.preset), key_values(short.changes, "--set"))
        filter = configuration.build(preset.settings)
        assert sum(parameter.numel() for parameter in filter.parameters()) < 200_000
        assert preset.training.epochs == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["tiny"], "give a TABLE, and --data"),
        (["--data", "."], "give a TABLE, and --data"),
        (["poems", "--data", "."], "no table 'poems'; there are music"),
        (["tiny", "--data", ".", "--only", "huge*"], "no entry matches huge*"),
        (["tiny", "--data", ".", "--quick", "--results", "r"], "leave out --results"),
        (["tiny", "--data", "nowhere"], "does not exist"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is begun."""
    assert cli.run(["reproduce", *arguments]) in (1, 2)
    assert word in capsys.readouterr().err


def test_every_table_is_looked_at_here() -> None:
    """A new one has its limit of minutes above."""
    assert tables.TABLES.keys() == {*LIMITS, FITTED, "tiny"}


def test_a_list_says_what_would_be_done(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And does nothing."""
    assert cli.run(["reproduce", "music", "--list", "--only", "jsb-avf-2", "--out", str(tmp_path / "o")]) == 0
    printed = capsys.readouterr().out
    assert "jsb-start-2" in printed
    assert "others start from it" in printed
    assert not (tmp_path / "o").exists()
