"""`avf reproduce paper`: presets as published, and a list that says how far each run came."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from avf_client.commands import cli

from avf_core.reproduction import paper, planning, records, tables
from avf_core.reproduction.entries import Entry
from avf_core.reproduction.planning import State, Where
from avf_core.reproduction.standing import Standing, standing, told
from avf_core.training import presets, result
from avf_core.training import state as run_state

ENTRY = paper.PAPER[0]


@pytest.fixture
def where(tmp_path: Path) -> Where:
    """A place where nothing was run."""
    return Where(table="paper", root=tmp_path, out=tmp_path / "runs", results=tmp_path / "results")


def ran(where: Where, *, epochs: int, seconds: float, trained: bool = False, finished: bool = False) -> None:
    """Leave what a run of so many epochs leaves."""
    folder = where.folder(ENTRY.name)
    State(entry=ENTRY, seconds=seconds, trained=trained).save(folder)
    progress = {"epoch": epochs, "seconds": 0.9 * seconds}
    (folder / run_state.RUN).write_text(json.dumps({"progress": progress}))
    result.write(folder, {"finished": finished}, None, curve=None)


def test_the_table_has_every_preset_of_the_paper_and_its_baseline() -> None:
    """From random weights, with nothing changed but how often is validated; JSB with three seeds."""
    published = {name for name in presets.names() if name.startswith("paper-")}
    assert {entry.preset for entry in paper.PAPER} == published
    assert {entry.seed for entry in paper.PAPER if entry.group == "paper-jsb"} == {1, 2, 3}
    for entry in paper.PAPER:
        assert entry.origin is None
        assert [change.partition("=")[0] for change in entry.changes] == ["training.validate_every"]
        assert entry.preset.endswith("-direct") == (entry.role == "baseline")


@pytest.mark.parametrize(
    ("preset", "epochs", "batch", "clip", "iterations", "annealed"),
    [
        ("paper-vrnn-speech", 700, 64, 40, 2, 0),
        ("paper-srnn-speech", 1000, 64, 40, 1, 50),
        ("paper-srnn-speech-direct", 1000, 64, 40, 0, 20),
        ("paper-piano", 800, 16, 25, 1, 50),
        ("paper-muse", 800, 16, 25, 1, 50),
        ("paper-nottingham", 800, 16, 25, 1, 50),
        ("paper-jsb", 800, 16, 25, 5, 50),
        ("paper-actions", 100, 20, 20, 1, 0),
    ],
)
def test_presets_are_those_of_appendix_b(
    preset: str, epochs: int, batch: int, clip: int, iterations: int, annealed: int
) -> None:
    """Lengths, clips, iterations and annealing as printed; each run goes to its end."""
    found = presets.get(preset)
    schedule = found.training
    assert (schedule.epochs, schedule.batch_size, schedule.clip_length) == (epochs, batch, clip)
    assert (found.inference.get("iterations", 0), schedule.kl_anneal_epochs) == (iterations, annealed)
    assert schedule.kl_anneal == "linear"
    assert schedule.patience > epochs


def test_how_far_a_run_came_is_read_from_its_last_save(where: Where) -> None:
    """And from its record, where that is further."""
    assert standing(ENTRY, where) == Standing(epochs=0, of=800, minutes=0.0, free_energy=None)
    assert told(standing(ENTRY, where)) == "nothing yet"
    ran(where, epochs=200, seconds=600.0)
    assert told(standing(ENTRY, where)) == "200 of 800 epochs (25%), 9 min; no record yet"
    recorded(where, ENTRY, epochs=400)
    assert told(standing(ENTRY, where)) == "400 of 800 epochs (50%), 20 min; F 8.500"
    ran(where, epochs=600, seconds=2000.0)
    assert told(standing(ENTRY, where)) == "600 of 800 epochs (75%), 30 min; F 8.500"
    recorded(where, replace(ENTRY, changes=("training.epochs=7",)), epochs=7)
    assert standing(ENTRY, where).free_energy is None


def recorded(where: Where, entry: Entry, *, epochs: int) -> None:
    """Write the part of a record that is looked at."""
    found = {"format": records.FORMAT, "entry": vars(entry), "epochs": epochs, "seconds": 1200.0}
    path = where.results / where.table / f"{ENTRY.name}.json"
    records.write(path, {**found, "test": {"free_energy_pooled": 8.5}})


def test_the_list_says_what_is_missing(where: Where, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries that were not begun, how far others are, and the data that are not at hand."""
    ran(where, epochs=200, seconds=600.0)
    common = ["reproduce", "paper", "--list", "--out", str(where.out), "--results", str(where.results)]
    assert cli.run(common) == 0
    printed = capsys.readouterr().out
    assert "200 of 800 epochs (25%), 9 min; no record yet" in printed
    assert printed.count("nothing yet") == len(paper.PAPER) - 1
    assert "not at hand: KTH" in printed
    assert cli.run([*common, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["entries"][0] == {
        "name": "jsb-avf-1", "to": "go on", "reason": "stopped after 10.0 minutes",
        "epochs": 200, "of": 800, "minutes": 9.0, "free_energy": None,
    }  # fmt: skip
    assert len(listed["not_at_hand"]) == 2


def step_of(where: Where, entry: Entry = ENTRY, table: tuple[Entry, ...] = paper.PAPER) -> str:
    (step,) = planning.plan([entry], table, where)
    return step.to


def test_a_run_whose_time_was_up_goes_on_when_it_has_more(where: Where) -> None:
    """Not one at its end, nor one that others started from: these would be of another start."""
    ran(where, epochs=200, seconds=60.0 * ENTRY.minutes, trained=True)
    assert step_of(where) == "score"
    assert step_of(replace(where, stretch=2.0)) == "go on"
    after = replace(ENTRY, name="after", start=ENTRY.name)
    assert step_of(replace(where, stretch=2.0), table=(ENTRY, after)) == "score"
    ran(where, epochs=800, seconds=60.0 * ENTRY.minutes, trained=True, finished=True)
    assert step_of(replace(where, stretch=2.0)) == "score"


def test_runs_are_recorded_as_they_stand(where: Where) -> None:
    """What has begun is evaluated, what has not is left."""
    standing_still = replace(where, as_they_stand=True)
    assert step_of(standing_still) == "nothing"
    ran(where, epochs=200, seconds=600.0)
    assert step_of(standing_still) == "score"
    assert step_of(where) == "go on"


def test_a_run_whose_queue_was_killed_is_not_trained_anew(where: Where) -> None:
    """The queue had written no seconds yet; the run's own save says that it had begun."""
    ran(where, epochs=200, seconds=600.0)
    State(entry=ENTRY).save(where.folder(ENTRY.name))
    (step,) = planning.plan([ENTRY], tables.get("paper"), where)
    assert (step.to, step.reason) == ("go on", "stopped after 9.0 minutes")
    planning.begin_anew([step], where)
    assert (where.folder(ENTRY.name) / run_state.RUN).exists()
