"""Fair arms: one start, AVF's schedule and AVF's time, and what the page says of the paired tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from avf_core.commands.options import key_values
from avf_core.reproduction import arms_report, planning, report, tables
from avf_core.reproduction.arms import ARMS
from avf_core.reproduction.planning import Where
from avf_core.reproduction.standing import standing, told
from avf_core.training import presets
from avf_core.training.learner import Learner
from avf_core.training.parallel import Group
from tests.core.pairs import make
from tests.support.training import make_run, never, trainer_of

SHIPPED = Path(__file__).parents[2] / "docs" / "results"


def test_all_arms_of_a_seed_begin_at_one_start() -> None:
    """And there are five seeds on the chorales, three on Nottingham and speech, one elsewhere."""
    starts: dict[tuple[str, int], set[str]] = {}
    for entry in ARMS:
        if entry.role != "start":
            assert entry.start is not None
            starts.setdefault((entry.group, entry.seed), set()).add(entry.start)
    assert all(len(found) == 1 for found in starts.values())
    seeds = {group: sum(name == group for name, _ in starts) for group, _ in starts}
    assert (seeds["arms-jsb"], seeds["arms-nottingham"], seeds["arms-srnn"]) == (5, 3, 3)
    assert set(seeds.values()) == {5, 3, 1}
    assert len({entry.name for entry in ARMS}) == len(ARMS)


def test_direct_inference_with_avfs_schedule_has_it() -> None:
    """Every setting of training that is not of lengths or of update models."""
    by_name = {entry.name: entry for entry in ARMS}
    avf, same = (by_name[f"jsb-{arm}-s1"] for arm in ("avf", "same"))
    trained = presets.override(presets.get(same.preset), key_values(same.changes, "--set")).training
    assert same.preset == f"{avf.preset}-direct"
    for key in ("theta_rate", "learning_rate_decay", "average_decay", "weight_decay", "clip_norm", "transpose"):
        assert getattr(trained, key) == getattr(presets.get(avf.preset).training, key)


@pytest.mark.parametrize("entry", [one for one in ARMS if one.seed == 1], ids=lambda entry: entry.name)
def test_every_arm_has_a_schedule_that_its_procedure_takes(entry: Any) -> None:
    """AVF's, too, where direct inference has it."""
    preset = presets.override(presets.get(entry.preset), key_values(entry.changes, "--set"))
    filter = make("srnn-direct" if entry.preset.endswith("-direct") else "srnn-learned_sgd")
    learner = Learner(filter, preset.training, precision="float32", group=Group())
    assert learner.config.epochs > 0


def test_an_arm_with_avfs_time_waits_for_it_and_is_told_its_seconds(tmp_path: Path) -> None:
    """Those that AVF's run has saved, of the processor."""
    by_name = {entry.name: entry for entry in ARMS}
    entry = by_name["jsb-time-0-s1"]
    assert entry.waits_for == ("jsb-start-s1", "jsb-avf-s1")
    assert [one.name for one in tables.needed(entry, ARMS)] == ["jsb-start-s1", "jsb-avf-s1", "jsb-time-0-s1"]
    where = Where(table="arms", root=tmp_path, out=tmp_path / "runs", results=tmp_path / "results")
    folder = where.folder("jsb-avf-s1")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"progress": {"epoch": 40, "seconds": 575.94}}')
    words = planning.command(entry, where, minutes=3.0)
    assert words[words.index("--training-seconds") + 1] == "575.9"
    assert "--training-seconds" not in planning.command(by_name["jsb-same-s1"], where, minutes=3.0)


def test_a_run_is_at_its_end_with_the_epoch_in_which_its_seconds_are_up(tmp_path: Path) -> None:
    """Validated and finished there; without a limit it goes through all epochs."""
    limited = trainer_of(make_run(tmp_path / "a", epochs=9, validate_every=9)).train(stop=never, seconds=1e-9)
    assert (limited.epoch, limited.finished, len(limited.history)) == (1, True, 1)
    whole = trainer_of(make_run(tmp_path / "b", epochs=3, validate_every=3)).train(stop=never)
    assert (whole.epoch, whole.finished) == (3, True)


def test_an_arm_that_its_time_ends_is_told_by_time(tmp_path: Path) -> None:
    """Epochs and minutes, and not of how many: there is no such number."""
    entry = next(one for one in ARMS if one.name == "jsb-time-0-s1")
    where = Where(table="arms", root=tmp_path, out=tmp_path / "runs", results=tmp_path / "results")
    folder = where.folder(entry.name)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"progress": {"epoch": 40, "seconds": 600.0}}')
    assert told(standing(entry, where)) == "40 epochs by time, 10 min; no record yet"
    known = json.loads((SHIPPED / "music" / "jsb-baseline-1.json").read_text())
    timed = {**known, "entry": {**known["entry"], "time_of": "jsb-avf-s1"}}
    assert "| 340 of 340 |" in report.row("whole", [known])
    assert "| 340, by time |" in report.row("timed", [timed])


def run(role: str, seed: int, energies: np.ndarray, valid: float = 1.0) -> dict[str, Any]:
    """A record, thought up."""
    by_sequence = {"energies": energies.tolist(), "steps": [10] * len(energies)}
    return {
        "entry": {"role": role, "seed": seed, "name": role},
        "valid": {"free_energy_pooled": valid},
        "by_sequence": by_sequence,
        "finished": True,
        "epochs": 40,
        "training": {"epochs": 40},
    }


def test_the_best_of_a_search_by_selection_stands_for_it() -> None:
    """One of each seed, of its start, too: further training may be none; of other arms all."""
    runs = [run("time", seed, np.zeros(3), valid) for seed, valid in ((2, 5.0), (1, 7.0), (1, 6.0), (2, 5.5))]
    assert arms_report.arm(runs, "time") == [runs[2], runs[0]]
    starts = [run("start", seed, np.zeros(3), valid) for seed, valid in ((1, 6.5), (2, 4.5), (3, 1.0))]
    assert arms_report.arm([*runs, *starts], "time") == [runs[2], starts[1]]
    same = [run("same", 1, np.zeros(3))] * 2
    assert arms_report.arm([*runs, *same], "same") == same


def test_arms_are_tested_as_pairs_over_sequences() -> None:
    """The means over seeds, by scipy's paired t; a difference that is none is unproven."""
    generator = np.random.default_rng(0)
    base = generator.normal(70.0, 5.0, (2, 20))
    avf = [run("avf", seed, base[seed - 1] - 1.0 + generator.normal(0.0, 0.1, 20)) for seed in (1, 2)]
    other = [run("same", seed, base[seed - 1]) for seed in (1, 2)]
    said = arms_report.sentence([*avf, *other])
    assert "AVF is ahead" in said
    assert "(seed 1)" in said
    assert "(seed 2)" in said
    first = np.mean([one["by_sequence"]["energies"] for one in avf], 0)
    expected = scipy.stats.ttest_rel(first, base.mean(0)).pvalue
    assert f"p = {expected:.2g} (Student's t)" in said
    assert "unproven" in arms_report.sentence([run("avf", 1, base[0]), run("same", 1, generator.permutation(base[0]))])
    assert arms_report.sentence(avf) == ""


def test_all_arms_stand_in_one_table() -> None:
    """Each group once: what is proven, what is not, and an arm that is not there yet."""
    base = np.random.default_rng(0).normal(70.0, 5.0, 30)
    apart = np.random.default_rng(1).normal(0.0, 1.0, 30)
    groups = {
        "one": [run("avf", 1, base), run("same", 1, base + 3.0 + apart), run("time", 1, base + apart - apart.mean())],
        "two": [run("avf", seed, base) for seed in (1, 2)] + [run("same", seed, base - 3.0 + apart) for seed in (1, 2)],
    }
    rows = arms_report.heading(groups, {"one": "Fair arms: rolls", "two": "Fair arms: frames"}).splitlines()
    _, label, seeds, same, time, _ = rows[-2].split("|")
    assert (label, seeds) == (" rolls ", " 1 ")
    assert same.endswith("AVF is ahead ")
    assert time.endswith("unproven ")
    _, label, seeds, same, time, _ = rows[-1].split("|")
    assert (label, seeds, time) == (" frames ", " 2 ", " – ")
    assert same.endswith("direct inference is ahead ")


def test_trainings_that_are_not_at_their_end_tell_nothing_of_methods() -> None:
    """The difference and how far each came are told, and no arm is ahead; a run with all its epochs is at its end."""
    energies = np.random.default_rng(0).normal(70.0, 5.0, 20)
    short = run("avf", 1, energies + 1.0) | {"finished": False, "epochs": 7}
    group = [short, run("baseline", 1, energies)]
    said = arms_report.sentence(group)
    assert "avf 7 of 40 epochs, baseline 40 of 40 epochs" in said
    assert "ahead" not in said
    assert arms_report.proven(group) == []
    assert arms_report.proven([short | {"epochs": 40}, group[1]]) == [
        "direct inference with its own schedule is ahead of AVF"
    ]


@pytest.mark.parametrize("entry", ARMS, ids=lambda entry: entry.name)
def test_every_entry_is_one_that_can_be_trained(entry: Any) -> None:
    """Its preset is there, and takes its changes."""
    assert presets.override(presets.get(entry.preset), key_values(entry.changes, "--set")).training.epochs > 0
