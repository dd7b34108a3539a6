"""Runs on disk that cannot be gone on with: what a newer version wrote is kept, what is damaged is named."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from avf_client.commands import cli

from avf_core.errors import CheckpointError, TrainingError
from avf_core.reproduction import paper, records
from avf_core.reproduction.planning import State, Where
from avf_core.reproduction.standing import standing
from avf_core.training import state as run_state

ENTRY = paper.PAPER[0]


@pytest.fixture
def where(tmp_path: Path) -> Where:
    """An empty place for the paper's table, with a folder for the entry's run."""
    found = Where(table="paper", root=tmp_path, out=tmp_path / "out", results=tmp_path / "results")
    found.folder(ENTRY.name).mkdir(parents=True)
    return found


def entry_of(where: Where) -> object:
    """The state of the entry's folder."""
    return State.of(where.folder(ENTRY.name), ENTRY)


def newer_entry(where: Where) -> str:
    """A state whose entry has a field more."""
    document = {"entry": {**asdict(ENTRY), "optimizer": "adam"}, "seconds": 9000.0, "trained": False}
    (where.folder(ENTRY.name) / "entry.json").write_text(json.dumps(document))
    return "optimizer"


def newer_run(where: Where) -> str:
    """A last save whose counters have one more."""
    State(entry=ENTRY).save(where.folder(ENTRY.name))
    (where.folder(ENTRY.name) / run_state.RUN).write_text(json.dumps({"progress": {"epoch": 3, "restarts": 1}}))
    return "restarts"


def newer_record(where: Where) -> str:
    """A record of an entry that has a field more."""
    record = {"format": records.FORMAT, "entry": {**asdict(ENTRY), "optimizer": "adam"}}
    records.write(where.results / "paper" / f"{ENTRY.name}.json", record)
    return "optimizer"


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (newer_entry, entry_of),
        (newer_run, entry_of),
        (newer_run, lambda where: standing(ENTRY, where)),
        (newer_record, lambda where: standing(ENTRY, where)),
    ],
)
def test_what_a_newer_version_wrote_is_not_called_damaged(
    write: Callable[[Where], str], read: Callable[[Where], object], where: Where
) -> None:
    """The field is named, and what to do; nobody is told to delete what took hours."""
    field = write(where)
    with pytest.raises(TrainingError, match=f"says {field}, which .* a newer one wrote it; go on with that") as raised:
        read(where)
    assert "damaged" not in str(raised.value)
    assert "delete" not in str(raised.value)


@pytest.mark.parametrize("content", ["{", "[]", '{"progress": {"epoch": "three"}}', '{"progress": null}'])
def test_a_damaged_save_is_named_not_counted_as_nothing(content: str, where: Where) -> None:
    """By the plan of a queue, and where it is said how far a run is."""
    State(entry=ENTRY).save(where.folder(ENTRY.name))
    path = where.folder(ENTRY.name) / run_state.RUN
    path.write_text(content)
    for read in (entry_of, lambda where: standing(ENTRY, where)):
        with pytest.raises(CheckpointError, match=r"run\.json is damaged .*: delete the folder, or give another --out"):
            read(where)


def damaged_entry(where: Where) -> str:
    """A state that is none."""
    (where.folder(ENTRY.name) / "entry.json").write_text("{")
    return "delete the folder, or give another --out"


def damaged_run(where: Where) -> str:
    """A last save that was cut."""
    State(entry=ENTRY).save(where.folder(ENTRY.name))
    (where.folder(ENTRY.name) / run_state.RUN).write_text("{")
    return "delete the folder, or give another --out"


def of_another_run(where: Where) -> str:
    """A state of other changes."""
    State(entry=replace(ENTRY, changes=("training.epochs=7",))).save(where.folder(ENTRY.name))
    return "give --again"


@pytest.mark.parametrize("write", [damaged_entry, damaged_run, of_another_run, newer_entry, newer_run])
def test_a_list_names_a_run_that_cannot_be_gone_on_with_and_goes_on(
    write: Callable[[Where], str], where: Where, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do, in words and as JSON; to train it is refused as it was."""
    told = write(where)
    other = next(entry for entry in paper.PAPER if not entry.waits_for and entry.name != ENTRY.name)
    State(entry=other, seconds=90.0).save(where.folder(other.name))
    common = ["reproduce", "paper", "--data", str(where.root), "--out", str(where.out), "--results", str(where.results)]
    assert cli.run([*common, "--list", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["entries"]}
    assert set(listed) == {entry.name for entry in paper.PAPER}
    assert listed[ENTRY.name]["to"] == "refused"
    assert told in listed[ENTRY.name]["reason"]
    assert listed[other.name]["reason"] == "stopped after 1.5 minutes"
    assert cli.run([*common, "--list"]) == 0
    assert "refused" in capsys.readouterr().out
    assert cli.run([*common, "--only", ENTRY.name]) == 1
    said = capsys.readouterr().err
    assert told in " ".join(said.split())
    assert "Traceback" not in said


def test_a_list_names_a_damaged_record_and_goes_on(where: Where, capsys: pytest.CaptureFixture[str]) -> None:
    """Where records count, too, as with --missing."""
    field = newer_record(where)
    common = ["reproduce", "paper", "--list", "--json", "--out", str(where.out), "--results", str(where.results)]
    for further in ([], ["--missing"]):
        assert cli.run([*common, *further]) == 0
        listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["entries"]}
        assert set(listed) == {entry.name for entry in paper.PAPER}
        assert field in listed[ENTRY.name]["error"]
