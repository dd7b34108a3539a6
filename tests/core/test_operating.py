"""Operating points: what a curve says of a point is what a filter at that point does, and the knee is on the curve."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from avf_core import checkpoints, configuration
from avf_core.analysis.evaluation import evaluate
from avf_core.analysis.operating import Point, Worth, at, candidates, curve, first, knee
from avf_core.commands.evaluate import command
from avf_core.errors import CheckpointError, DataError
from avf_core.training import curve as cards
from avf_core.training.model_card import point_of

SETTINGS: dict[str, Any] = {
    "model": {
        "kind": "srnn",
        "observation_size": 3,
        "likelihood": "bernoulli",
        "hidden_size": 6,
        "latent_size": 4,
        "prior_widths": [6],
        "decoder_widths": [6],
    },
    "inference": {"kind": "iterative", "iterations": 4, "samples": 8, "antithetic": True, "units": 6},
}


def sequences(count: int = 3) -> list[np.ndarray]:
    """Rolls of three keys."""
    return list((np.random.default_rng(0).random((count, 12, 3)) > 0.7).astype(np.float32))


def test_candidates_go_from_what_is_configured_down() -> None:
    """Fewer iterations, fewer samples, growing ones; pairs stay pairs, and no point comes twice."""
    found = candidates(SETTINGS)
    assert len(found) == len(set(found))
    assert Point(iterations=4, samples=8) in found
    assert Point(iterations=1, samples=8) in found
    assert Point(iterations=4, samples=(2, 2, 4, 8)) in found
    for point in found:
        assert point.iterations is not None
        samples = point.samples if isinstance(point.samples, tuple) else (point.samples,)
        assert point.iterations <= 4
        assert all(count is not None and count % 2 == 0 and count <= 8 for count in samples)
    assert [point.particles for point in candidates({"inference": {"kind": "direct"}})] == [1, 2, 4, 8]


def test_a_point_is_worth_what_its_filter_does() -> None:
    """F is that of `evaluate` of a filter that was configured so, with the same weights."""
    torch.manual_seed(0)
    filter = configuration.build(SETTINGS).eval()
    points = [Point(iterations=4, samples=8), Point(iterations=2, samples=(2, 4))]
    for worth in curve(filter, SETTINGS, sequences(), points=points):
        said = {**SETTINGS["inference"], "iterations": worth.point.iterations, "samples": worth.point.samples}
        own = configuration.build({**SETTINGS, "inference": said}).eval()
        own.load_state_dict(filter.state_dict())
        assert worth.free_energy == evaluate(own, sequences(), passes=1).free_energy_pooled
        assert min(worth.ms_1, worth.ms_64) > 0.0
        assert at(filter, SETTINGS, worth.point).inference.iterations == worth.point.iterations


@given(st.lists(st.tuples(st.floats(1.0, 9.0), st.floats(0.01, 9.0)), min_size=1, max_size=8), st.floats(0.0, 1.0))
def test_the_knee_is_the_fastest_of_those_that_cost_little(figures: list[tuple[float, float]], near: float) -> None:
    """No faster point is as near to the best; without anything allowed it is a best one."""
    found = [Worth(point=Point(iterations=1), free_energy=f, ms_1=ms, ms_64=ms) for f, ms in figures]
    best = min(f for f, _ in figures)
    chosen = knee(found, near=near, relative=0.0)
    assert chosen.free_energy <= best + near
    assert not [w for w in found if w.ms_64 < chosen.ms_64 and w.free_energy <= best + near]
    assert knee(found, near=0.0, relative=0.0).free_energy == best


def test_a_curve_is_of_the_first_sequences_and_of_one_at_least() -> None:
    """However long that is; of none there is no curve."""
    assert len(first(sequences(5))) == 5
    assert [len(one) for one in first([np.zeros((6000, 3)), np.zeros((10, 3))])] == [6000]
    assert [len(one) for one in first([np.zeros((10, 3)), np.zeros((6000, 3)), np.zeros((5, 3))])] == [10]
    with pytest.raises(DataError, match="no sequences"):
        first([])


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A checkpoint, beside the data that its card says it is of."""
    torch.manual_seed(0)
    np.save(tmp_path / "rolls.npy", np.concatenate(sequences()))
    card = {"data": {"name": "rolls.npy", "kind": "array", "options": {"length": 12}}}
    checkpoints.save(tmp_path / "small", filter=configuration.build(SETTINGS), settings=SETTINGS, card=card)
    return tmp_path / "small"


def test_evaluate_prints_the_curve(shipped: Path) -> None:
    """In JSON, and as a table, the fastest point first."""
    words = ["--model", str(shipped), "--data", str(shipped.parent / "rolls.npy"), "--split", "train", "--curve"]
    run = CliRunner()
    points = json.loads(run.invoke(command, [*words, "--json"], catch_exceptions=False).stdout)["curve"]["points"]
    assert len(points) == len(candidates(SETTINGS))
    assert [point["ms_64"] for point in points] == sorted(point["ms_64"] for point in points)
    assert "4 x 2, 2, 4, 8" in run.invoke(command, words, catch_exceptions=False).stdout


def told(folder: Path, operating: Any) -> checkpoints.Checkpoint:
    """The checkpoint, whose card says so."""
    (folder / "card.json").write_text(json.dumps({"operating": operating}))
    return checkpoints.load(folder)


def test_a_checkpoint_is_run_at_the_point_of_its_card(shipped: Path) -> None:
    """Its digest, and what it was trained with, stay: beliefs of one point are read at another."""
    before = checkpoints.load(shipped)
    after = told(shipped, {"iterations": 2, "samples": [2, 8]})
    assert (before.filter.inference.iterations, after.filter.inference.iterations) == (4, 2)
    assert after.filter.inference.config.samples == (2, 8)
    assert (before.digest, before.settings) == (after.digest, after.settings)
    assert point_of({"iterations": 2, "samples": [2, 8]}) == cards.configured(
        after.settings, {"iterations": 2, "samples": [2, 8]}
    )


@pytest.mark.parametrize("said", [["iterations"], {"units": 3}, {"iterations": 0}, {"samples": [3]}])
def test_what_is_no_point_is_refused(shipped: Path, said: Any) -> None:
    """With what was found."""
    with pytest.raises(CheckpointError):
        told(shipped, said)
