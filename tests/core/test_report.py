"""The page of results says what the records say, and stands in the docs as they give it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avf_core import checkpoints, data
from avf_core.commands.options import key_values
from avf_core.errors import TrainingError
from avf_core.reproduction import (
    entries,
    gains,
    pairs,
    plots,
    records,
    report,
    tables,
    textbooks,
    zoo_report,
)
from avf_core.training.model_card import readable

DOCS = Path(__file__).parents[2] / "docs"


def figures(free_energy: float, iterations: int = 0) -> dict[str, Any]:
    return {
        "free_energy_pooled": free_energy,
        "free_energy_sequence_mean": free_energy - 0.05,
        "free_energy_without_first_frame": free_energy + 0.01,
        "reconstruction": free_energy - 1.5,
        "kl": 1.5,
        "steps": 4725,
        "sequences": 77,
        "iterations": iterations,
        "free_energy_by_iteration": [1.25 * free_energy, *[free_energy] * iterations],
        "improvement": 0.2,
    }


def made(name: str, role: str, *, test: float, seed: int = 1, iterations: int = 0, **changes: Any) -> dict[str, Any]:
    """A record as `records.record` gives them, with figures that were thought up."""
    split = {"sequences": 77, "steps": 4725, "mean_inverse_length": 0.018295371, "sha256": "0"}
    points = [{"iterations": n, **figures(test + 0.1 / (n + 1))} for n in (0, 1, iterations)] if iterations else []
    return {
        "format": records.FORMAT,
        "table": "music",
        "quick": False,
        "entry": {"name": name, "group": "jsb", "role": role, "seed": seed, "start": f"jsb-start-{seed}"},
        "commands": ["avf train a --out OUT", f"avf train {name} --data jsb_chorales.npz --out OUT --init START"],
        "data": {"name": "jsb_chorales.npz", "splits": {"test": split}},
        "selection": "valid",
        "reported": "test",
        "training": {"epochs": 340},
        "epochs": 340,
        "finished": True,
        "updates_before": 300,
        "updates_in_all": 1800,
        "seconds_in_all": 600.0,
        "curve": {"updates": [75, 150, 225], "free_energy": [9.0, 8.0, 7.5]},
        "valid": figures(test - 0.07, iterations),
        "test": figures(test, iterations),
        "test_by_iterations": points,
        "bound": None,
        **changes,
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of records: two seeds of baseline and AVF, and a curve."""
    bound = {"kind": "fivo", "particles": 128, "pooled": 6.789}
    for record in (
        made("jsb-baseline-1", "baseline", test=7.25),
        made("jsb-baseline-2", "baseline", test=7.35, seed=2),
        made("jsb-avf-1", "avf", test=7.0, iterations=5, bound=bound),
        made("jsb-avf-2", "avf", test=7.2, seed=2, iterations=5),
        made("jsb-curve-8", "curve", test=6.9, iterations=8),
        made("jsb-curve-1", "curve", test=7.4, iterations=1),
    ):
        records.write(tmp_path / "results" / "music" / f"{record['entry']['name']}.json", record)
    (tmp_path / "results" / "what_paid.md").write_text("## What paid\n\nPatience.\n")
    return tmp_path / "results"


def test_the_page_in_the_docs_is_what_the_records_give() -> None:
    """`avf reproduce --report` would change nothing."""
    assert (DOCS / "results.md").read_text() == report.page(DOCS / "results")


def test_seeds_are_averaged_with_their_spread(results: Path) -> None:
    """7.25 and 7.35 are 7.30 ± 0.08 (rounded up); differences are of one seed; minutes and updates are those in all."""
    page = report.page(results)
    assert "| baseline, direct inference | 2 | **7.30 ± 0.08** | 7.25 ± 0.08 | 7.31 ± 0.08 |" in page
    assert "| AVF, 5 iterations | 2 | **7.10 ± 0.15** |" in page
    assert "| 1.50 ± 0.00 | 7.03 ± 0.15 | 340 of 340 | 1800 | 10 |" in page
    assert "AVF less its baseline, pooled: -0.250, -0.150 (seeds 1, 2)" in page
    assert "6.789 for `jsb-avf-1`, 0.211 below its free energy of 7.000" in page
    assert page.endswith("## What paid\n\nPatience.\n")


def test_fair_arms_are_told_with_where_they_begin(results: Path) -> None:
    """Other tables leave their starts out."""
    start = made("jsb-start-1", "start", test=7.5)
    records.write(results / "music" / "jsb-start-1.json", start)
    assert "where all arms begin" not in report.page(results)
    entry = {**start["entry"], "group": "arms-jsb"}
    records.write(results / "arms" / "jsb-start-s1.json", start | {"table": "arms", "entry": entry})
    assert "| direct inference, where all arms begin | 1 | **7.50** |" in report.page(results)


def test_a_row_says_how_far_its_runs_came(results: Path) -> None:
    """The least and the most of the seeds, of the epochs that they have."""
    records.write(results / "music" / "jsb-avf-2.json", made("jsb-avf-2", "avf", test=7.2, seed=2, epochs=85))
    assert "| 85 to 340 of 340 | 1800 | 10 |" in report.page(results)


def test_what_of_the_paper_has_no_run_is_said_above_its_table(results: Path) -> None:
    """The data that are licensed or absent."""
    entry = {"name": "jsb-avf-1", "group": "paper-jsb", "role": "avf", "seed": 1, "start": None}
    records.write(results / "paper" / "jsb-avf-1.json", made("jsb-avf-1", "avf", test=9.0, table="paper", entry=entry))
    page = report.page(results)
    assert page.index("## The paper, as published") < page.index("Not at hand: TIMIT") < page.index("As published: JSB")


def test_iterations_in_training_are_in_order(results: Path) -> None:
    """A row for each number of iterations, and what inference took off the prior's free energy."""
    page = report.page(results)
    assert page.index("| 1 | 7.330 | 7.400 | 20.0 % |") < page.index("| 8 | 6.830 | 6.900 | 20.0 % |")
    assert "20.0 % with 1, 20.0 % with 5, 20.0 % with 8" in page


def test_commands_name_their_runs(results: Path) -> None:
    """And where they start."""
    assert (
        "avf train jsb-avf-2 --data jsb_chorales.npz --out runs/jsb-avf-2 --init runs/jsb-start-2"
        in report.page(results).splitlines()
    )


def test_commands_that_differ_by_seed_and_seconds_are_told_once(results: Path) -> None:
    """With what both were, in the order of the seeds; a number that is no seed stays, and so does a lone command."""
    for seed, seconds in ((1, "81.5"), (2, "79.0"), (12, "80.1")):
        typed = f"avf train a --out OUT --set x.rate=3e-{seed} --set training.seed={seed} --training-seconds {seconds}"
        alike = typed.replace(f"3e-{seed}", "3e-1")
        records.write(
            results / "music" / f"jsb-bound-{seed}.json",
            made(f"jsb-bound-s{seed}", "bound", test=7.0, seed=seed, commands=[f"{alike} --init START"]),
        )
        records.write(
            results / "music" / f"other-{seed}.json",
            made(f"other-{seed}", "bound", test=7.0, seed=seed, commands=[typed]),
        )
    lines = report.page(results).splitlines()
    told = lines.index("# SEED = 1, 12, 2; SECONDS = 81.5, 80.1, 79.0")
    assert lines[told + 1] == (
        "avf train a --out runs/jsb-bound-sSEED --set x.rate=3e-1 --set training.seed=SEED "
        "--training-seconds SECONDS --init runs/jsb-start-SEED"
    )
    assert sum("x.rate=3e-1 " in line for line in lines) == 2  # and the one of the others
    assert [line for line in lines if "x.rate=3e-12" in line] == [
        "avf train a --out runs/other-12 --set x.rate=3e-12 --set training.seed=12 --training-seconds 80.1"
    ]


def test_errors_are_told_of_a_role_from_the_least_to_the_most(results: Path) -> None:
    """A figure once where all have it, and a name once where there is one run."""
    for seed, noise in ((1, 0.008), (2, 0.002), (3, 0.005)):
        found = {**figures(7.0), "standard_error": 0.1, "noise_error": noise}
        run = made(f"jsb-bound-{seed}", "bound", test=7.0, seed=seed) | {"test": found}
        records.write(results / "music" / f"jsb-bound-{seed}.json", run)
    alone = made("chorales", "ships", test=5.3) | {
        "test": {**figures(5.3), "standard_error": 0.12, "noise_error": 4e-5}
    }
    records.write(results / "music" / "chorales.json", alone)
    assert (
        "Errors of pooled figures: jsb-bound-1 to jsb-bound-3 ± 0.1 over sequences, 0.002 to 0.008 over noise; "
        "chorales ± 0.12 over sequences, 4e-05 over noise.\n" in report.page(results)
    )


def test_the_page_and_its_plots_are_written_beside_the_records(results: Path) -> None:
    """A plot for each group, and every image of the page is there."""
    path = report.write(results)
    assert path == results.parent / "results.md"
    assert path.read_text() == report.page(results)
    for name in ("jsb",):
        assert (results.parent / "images" / f"results-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_no_record_is_named(results: Path) -> None:
    """Of another format, or no JSON at all."""
    path = results / "music" / "x.json"
    for text in ('{"format": "other"}', "[]", "no"):
        path.write_text(text)
        with pytest.raises(TrainingError, match=r"x\.json is no record"):
            report.page(results)


def test_the_papers_figures_are_divided_by_the_frames_that_were_scored() -> None:
    """A model that spends 6.9 nats on every frame is printed by the authors' protocol as less, and set right here."""
    lengths = np.array([25, 61, 160, 32])
    printed = np.mean([6.9 * (length - 1) / length for length in lengths])
    assert entries.divided_rightly(float(printed), float(np.mean(1.0 / lengths))) == pytest.approx(6.9)


@pytest.mark.parametrize(
    ("group", "file", "expected"),
    [
        ("jsb", "jsb_chorales", 6.90),
        ("piano", "piano_midi", 8.14),
        ("muse", "musedata", 6.02),
        ("nottingham",) * 2 + (3.14,),
    ],
)
def test_the_papers_figures_on_the_real_arrays(group: str, file: str, expected: float, data_dir: Path) -> None:
    """As they were worked out by hand for each test split."""
    test = data.load(data_dir / "music" / f"{file}.npz", "test")
    inverse = float(np.mean([1.0 / len(sequence) for sequence in test]))
    paper = tables.GROUPS[group].paper
    assert paper is not None
    assert entries.divided_rightly(paper[1], inverse) == pytest.approx(expected, abs=0.005)


def test_floors_are_those_of_independent_notes(data_dir: Path) -> None:
    """The first floor of each set, from the training marginals (with one imagined note on and off), to 0.02."""
    files = {"jsb": "jsb_chorales", "piano": "piano_midi", "muse": "musedata", "nottingham": "nottingham"}
    for group, file in files.items():
        train, test = (np.concatenate(data.load(data_dir / "music" / f"{file}.npz", s)) for s in ("train", "test"))
        p = (train.sum(0) + 1.0) / (len(train) + 2.0)
        bits = -(test * np.log(p) + (1.0 - test) * np.log(1.0 - p)).sum(1).mean()
        floors = tables.GROUPS[group].floors
        assert floors[0][1] == pytest.approx(bits, abs=0.02)


def test_json_is_readable(tmp_path: Path) -> None:
    """Lists of numbers take a line; the value is the same."""
    value = {"a": [1.5, 2.0, -3e-9], "b": {"c": ["x y", "[1,  2]"], "d": []}, "e": [[1, 2], [3]]}
    text = readable(value)
    assert json.loads(text) == value
    assert '"a": [ 1.5, 2.0, -3e-09 ]' in text


def test_iteration_counts_reach_twice_those_trained() -> None:
    """With none, one and the trained number always among them, and few in between."""
    for trained in range(1, 40):
        counts = records.iteration_counts(trained)
        assert {0, 1, trained, 2 * trained} <= set(counts)
        assert counts == sorted(set(counts))
        assert len(counts) <= 9


def test_a_learning_curve_is_drawn_at_any_scale() -> None:
    """Energies of speech are below -1000 nats."""
    history = [
        {"updates": n, "valid": {"free_energy_pooled": f, "kl": 3.0, "free_energy_by_iteration": [f + 200.0, f]}}
        for n, f in ((10, 5000.0), (20, -900.0), (30, -1100.0), (40, -1110.0))
    ]
    assert plots.learning_curve(history, title="speech").startswith(b"\x89PNG")


def test_entries_of_all_tables_say_what_they_change() -> None:
    """Each change is KEY=VALUE of one of the three sections; of what `avf fit` makes, one of its options."""
    for table in tables.TABLES.values():
        assert all(change.startswith("--") for entry in table if entry.command == "fit" for change in entry.changes)
        for entry in (one for one in table if one.command == "train"):
            assert all(key.split(".")[0] in ("model", "inference", "training") for key in key_values(entry.changes, ""))


def test_sensors_of_the_zoo_are_told_beside_predictors_with_their_tests() -> None:
    """Each verdict of a card, whose difference in nats has the p-value that is told."""
    told = [line for line in zoo_report.section().splitlines() if " nats per step ahead of " in line]
    names = [name for name in checkpoints.available() if "verdict" in checkpoints.read_card(checkpoints.ZOO / name)]
    assert len(told) == len(names) >= 2
    for line, name in zip(told, names, strict=True):
        tested = checkpoints.read_card(checkpoints.ZOO / name)["verdict"]["test"]
        assert line.startswith(f"- `{name}`: ")
        assert f"(p = {max(tested['p_t'], tested['p_flips']):.2g})" in line


def test_checkpoints_stand_among_textbooks_and_codecs() -> None:
    """The fewest nats first; one that loses to a textbook is named the paper's kind."""
    said = [{"data": "crowd16k", "split": "valid", "by": "a textbook", "nats per step": 1100.0}]
    rows = [line for line in zoo_report.beside(said).splitlines() if line.startswith("| crowd16k")]
    names = [row.split(" | ")[1] for row in rows]
    assert names[:3] == ["`speech-avf`", "`speech`", "a textbook"]
    assert "`srnn-speech-small`, which reproduces the paper's kind" in names[3:]
    nats = [float(row.split(" | ")[2].rstrip(" |").replace(",", "")) for row in rows]
    assert nats == sorted(nats)


def paired(name: str, p_t: float, p_flips: float, difference: float = -0.03) -> dict[str, Any]:
    """What `avf compare --json` prints."""
    return {
        "a": {"model": name},
        "b": {"model": "other"},
        "data": "rolls.npz",
        "split": "test",
        "sequences": 77,
        "difference": difference,
        "standard_error": 0.011,
        "p_t": p_t,
        "p_flips": p_flips,
    }


def test_only_what_both_tests_prove_is_called_ahead(results: Path) -> None:
    """In the table, and in the paragraph that the page begins with."""
    assert pairs.verdict(paired("x", 0.001, 0.002)) == "x is ahead"
    assert pairs.verdict(paired("x", 0.001, 0.002, difference=0.5)) == "other is ahead"
    assert pairs.verdict(paired("x", 0.001, 0.02)) == pairs.verdict(paired("x", 0.2, 0.001)) == "unproven"
    for found in (paired("one", 0.001, 0.002), paired("two", 0.3, 0.3)):
        records.write(results / "pairs" / f"{found['a']['model']}.json", found)
    page = report.page(results)
    assert "| one | other | rolls.npz, test | 77 | -0.030 ± 0.011 | 0.001 | 0.002 | one is ahead |" in page
    assert "one is ahead of other. All other differences" in page[: page.index("## How to read")]
    assert "two is ahead" not in page


def test_the_page_begins_with_what_was_reproduced_beaten_and_not_tried(results: Path) -> None:
    """Runs at their end are counted; direct inference under the same recipe is told beside."""
    entry = {"name": "jsb-avf-1", "group": "paper-jsb", "role": "avf", "seed": 1, "start": None}
    run = made("jsb-avf-1", "avf", test=9.0, table="paper", entry=entry, finished=False)
    records.write(results / "paper" / "jsb-avf-1.json", run)
    first = report.page(results).split("## How to read")[0]
    assert "1 of 18 runs have a record, and 0 of these came to the end" in first
    assert "JSB chorales 7.05 (direct 7.25; paper's AVF 6.90)" in first
    assert "nothing of AVF" not in first
    assert "**Not tried:** TIMIT" in first


def test_no_percentage_is_of_a_prior_that_a_few_frames_rule(results: Path) -> None:
    """Then what is left is told beside the best textbook of the same data; elsewhere the median, where there is one."""
    run = made("jsb-avf-1", "avf", test=7.0, iterations=5)
    assert gains.share(run) == pytest.approx(20.0)
    ruled = {**run, "test": {**run["test"], "free_energy_by_iteration": [210_000.0, 7.0], "improvement": 0.99}}
    assert gains.share(ruled) is None
    assert gains.share({**ruled, "test": {**ruled["test"], "median_improvement": 0.995}}) is None
    assert gains.share({**run, "test": {**run["test"], "median_improvement": 0.3}}) == pytest.approx(30.0)
    curve = {**ruled, "entry": {**run["entry"], "role": "curve"}}
    assert "99" not in gains.sentence([ruled], [("FLAC", 9.0)]) + gains.curve_table([curve], [("FLAC", 9.0)])
    assert "-2.000 nats beside FLAC" in gains.sentence([ruled], [("FLAC", 9.0)])
    assert "| -2.000 |" in gains.curve_table([curve], [("FLAC", 9.0)])


def test_textbooks_stand_in_the_tables_of_their_data(results: Path) -> None:
    """Those of the group and those that were measured on the same split, the fewest nats first."""
    rows = [
        {"data": "jsb_chorales.npz", "split": "test", "by": "a codec", "nats per step": 8.0},
        {"data": "jsb_chorales.npz", "split": "valid", "by": "another split", "nats per step": 1.0},
    ]
    found = textbooks.of(tables.GROUPS["jsb"], "jsb_chorales.npz", "test", rows)
    assert [nats for _, nats in found] == sorted(nats for _, nats in found)
    assert ("a codec", 8.0) in found
    assert "another split" not in dict(found)
    records.write(results / "textbooks.json", {"rows": rows})
    page = report.page(results)
    assert "| a codec | | 8.00 |" in page
    assert "| persistence: a Markov chain a note | | 10.48 |" in page
