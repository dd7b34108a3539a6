"""What the page says of the paper's presets, and of arms whose records have every sequence, by records thought up."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from avf_core.reproduction import arms_report, opening, paper_report, report
from avf_core.reproduction.tables import GROUPS

RESULTS = Path(__file__).parents[2] / "docs" / "results"
KNOWN = json.loads((RESULTS / "music" / "jsb-avf-1.json").read_text())
STEPS = [10] * 30


def run(role: str, seed: int, *, nats: float, finished: bool = True, mean: float = 7.0) -> dict[str, Any]:
    """A record of the table `paper`: `nats` a step on every sequence, but for what sequences differ by."""
    entry = {**KNOWN["entry"], "name": f"jsb-{role}-{seed}", "group": "paper-jsb", "role": role, "seed": seed}
    apart = np.random.default_rng(seed).normal(size=len(STEPS))
    energies = (np.array(STEPS) * nats + apart).tolist()
    return {
        **KNOWN,
        "table": "paper",
        "entry": {**entry, "changes": ["training.epochs=800"]},
        "finished": finished,
        "epochs": 800 if finished else 120,
        "test": {**KNOWN["test"], "free_energy_pooled": nats, "free_energy_sequence_mean": mean},
        "by_sequence": {"energies": energies, "steps": STEPS},
    }


def test_what_came_to_its_end_is_told_beside_the_papers_figure() -> None:
    """By seeds, and of runs at their end only; what did not is told by how far it came."""
    group = [
        run("avf", 1, nats=7.0, mean=6.9),
        run("avf", 2, nats=7.0, mean=7.1),
        run("avf", 3, nats=9.0, mean=9.0, finished=False),
        run("baseline", 1, nats=7.3, mean=7.25),
    ]
    groups = {"paper-jsb": group}
    found = paper_report.reproduced(groups, GROUPS)
    assert found == "JSB chorales, AVF 7.00 (2 seeds; 6.90 there) and its baseline 7.25 (1 seed; 7.05 there)"
    said = paper_report.heading(groups)
    assert "4 of 18 runs have a record; 3 came to their end." in said
    assert "Not at their end: jsb-avf-3 (120 of 800 epochs)." in said
    assert "Not recorded yet: jsb-baseline-2, jsb-baseline-3, nottingham-avf-1," in said
    assert "Not at hand: TIMIT" in said


def test_the_papers_arms_are_tested_as_pairs_where_records_have_every_sequence() -> None:
    """In the section and in the opening; a difference that noise hides is in neither."""
    apart = [run("avf", 1, nats=6.9), run("baseline", 1, nats=7.3)]
    level = [run("avf", 1, nats=7.3), run("baseline", 2, nats=7.3)]
    (avf, baseline, name) = arms_report.tested(apart)[0]
    assert ([one["entry"]["seed"] for one in avf + baseline], name) == ([1, 1], "with its own schedule")
    assert "AVF is ahead; -0.400 (seed 1)." in arms_report.sentence(apart)
    assert arms_report.proven(apart) == ["AVF is ahead of direct inference with its own schedule"]
    assert "As published: JSB chorales, AVF is ahead" in opening.paragraph({"paper-jsb": apart}, GROUPS, [])
    assert arms_report.tested(level) == []
    assert "AVF is ahead" not in opening.paragraph({"paper-jsb": level}, GROUPS, [])
    without = [{key: value for key, value in one.items() if key != "by_sequence"} for one in apart]
    assert arms_report.sentence(without) == ""


@pytest.mark.parametrize("gaps", [[-0.25, -0.15], [-0.05, -0.06, -0.04], [0.1, -0.2, 0.3, 0.4]])
def test_trainings_are_tested_over_seeds(gaps: list[float]) -> None:
    """By Student's t, as scipy has it; so few signs prove nothing when they are flipped."""
    group = [run("avf", seed, nats=7.0 + gap) for seed, gap in enumerate(gaps, 1)]
    group += [run("baseline", seed, nats=7.0) for seed in range(1, len(gaps) + 1)]
    said = report.section("paper-jsb", group)
    expected = scipy.stats.ttest_1samp(gaps, 0.0).pvalue
    assert f"over trainings, p = {expected:.2g} (Student's t) and " in said
    few = (
        2.0 ** (1 - len(gaps))
        == scipy.stats.permutation_test((gaps,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    )
    assert (f"(flipped signs, the least that {len(gaps)} can give): unproven." in said) == few
    assert ("(flipped signs): unproven." in said) == (not few)


@pytest.mark.parametrize("seeds", [2, 5, 8])
def test_arms_of_several_seeds_are_tested_over_trainings_too(seeds: int) -> None:
    """By both tests, with the least that flipped signs of so few can give; from eight on they can prove something."""
    group = [run("avf", seed, nats=6.9 + 0.001 * seed) for seed in range(1, seeds + 1)]
    group += [run("baseline", seed, nats=7.3) for seed in range(1, seeds + 1)]
    said = arms_report.sentence(group)
    gaps = [0.001 * seed - 0.4 for seed in range(1, seeds + 1)]
    assert f"over trainings, p = {scipy.stats.ttest_1samp(gaps, 0.0).pvalue:.2g} (Student's t) and " in said
    assert (f"(flipped signs, the least that {seeds} can give): unproven." in said) == (seeds < 8)
    assert ("(flipped signs): proven." in said) == (seeds == 8)
    short = [*group[:-1], run("baseline", seeds, nats=7.3, finished=False)]
    assert "over trainings" not in arms_report.sentence(short)


def test_one_training_proves_nothing_over_trainings() -> None:
    """Whatever its sequences say."""
    said = report.section("paper-jsb", [run("avf", 1, nats=6.9), run("baseline", 1, nats=7.3)])
    assert "AVF less its baseline, pooled: -0.400 (seed 1); over trainings, one seed proves nothing." in said
