"""References by circumstance: p-values that are uniform in each, and `avf calibrate`, which writes them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import stats

from avf_core import checkpoints, configuration
from avf_core.analysis.conditional import By, ConditionalReference, measured_scores
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.commands.calibrate import command
from avf_core.data import Source
from avf_core.errors import CheckpointError, ConfigurationError, DataError

pytestmark = pytest.mark.slow
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
LINEAR = {
    "model": {"kind": "lgssm", "observation_size": 2, "latent_size": 2},
    "inference": {"kind": "kalman"},
}
READING = ("--data-option", "time=time", "--data-option", "group=day")
REGIMES = {"model": {"kind": "switching", "observation_size": 2, "regimes": 2}, "inference": {"kind": "forward"}}


def run_of(folder: Path, settings: dict[str, Any], **card: Any) -> Path:
    """A checkpoint's folder."""
    torch.manual_seed(0)
    checkpoints.save(folder, filter=configuration.build(settings), settings=settings, card=card)
    return folder


def table(path: Path, *, rows: int = 6000, seed: int = 0) -> Path:
    """Ten-minute rows of two channels, three times as wild by day as by night; each day is a sequence."""
    draw = np.random.default_rng(seed)
    lines = ["time,day,a,b"]
    for t in range(rows):
        now = BEGIN + timedelta(minutes=10 * t)
        wild = 3.0 if 8 <= now.hour < 20 else 1.0
        a, b = wild * draw.normal(size=2)
        lines.append(f"{now:%Y-%m-%dT%H:%M:%SZ},d{t // 144:03d},{a},{b}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_p_values_are_uniform_in_every_circumstance() -> None:
    """By day and by night, of new scores; those of one reference for all are not."""
    draw = np.random.default_rng(0)

    def made(count: int) -> tuple[np.ndarray, np.ndarray]:
        place = draw.integers(0, 2, count).astype(float)
        return draw.normal(size=count) + 6.0 * place, place

    reference = ConditionalReference.fit("regime", *made(4000))
    scores, place = made(4000)
    p, pooled = reference.p_values(scores, place), reference.whole.p_values(scores)
    for each in (0.0, 1.0):
        assert stats.kstest(p[place == each], "uniform").statistic < 0.05
        assert stats.kstest(pooled[place == each], "uniform").statistic > 0.1
    np.testing.assert_array_equal(reference.p_values(scores, np.full(4000, np.nan)), pooled)
    again = ConditionalReference.from_dict(json.loads(json.dumps(reference.as_dict())))
    np.testing.assert_allclose(again.p_values(scores, place), p)


def test_circumstances_of_few_steps_are_judged_among_all() -> None:
    """Under 100 scores make no reference; levels are told apart at the data's own fifths."""
    scores, place = np.random.default_rng(1).normal(size=1000), np.zeros(1000)
    place[:50] = 1.0
    reference = ConditionalReference.fit("regime", scores, place)
    assert set(reference.parts) == {0}
    np.testing.assert_array_equal(reference.p_values(scores[:50], place[:50]), reference.whole.p_values(scores[:50]))
    levels = np.arange(1000.0)
    by_level = ConditionalReference.fit("level", scores, levels)
    np.testing.assert_allclose(by_level.edges, [199.8, 399.6, 599.4, 799.2])
    assert {place: part.count for place, part in by_level.parts.items()} == dict.fromkeys(range(5), 200)


@pytest.mark.parametrize(("by", "settings"), [("hour", LINEAR), ("level", LINEAR), ("regime", REGIMES)])
def test_calibrate_writes_what_is_normal(tmp_path: Path, by: By, settings: dict[str, Any]) -> None:
    """The reference of the card is that of the data's scores, by circumstance; the weights stay as they were."""
    run, data = run_of(tmp_path / "run", settings), table(tmp_path / "normal.csv")
    weights = (run / checkpoints.WEIGHTS).read_bytes()
    options = ["--data", str(data), *READING, "--split", "train", "--by", by, "--json"]
    result = CliRunner().invoke(command, [str(run), *options])
    assert result.exit_code == 0, result.output
    assert (run / checkpoints.WEIGHTS).read_bytes() == weights
    card = checkpoints.read_card(run)["reference"]
    assert json.loads(result.stdout)["reference"] == card
    found = ConditionalReference.from_dict(card)
    filter = checkpoints.load(run).filter
    sequences = Source(path=str(data), options={"time": "time", "group": "day"}).load("train", observation_size=2)
    scores, measured = measured_scores(filter, sequences, by)
    np.testing.assert_allclose(scores, np.concatenate(step_scores(filter, sequences)))
    expected = ConditionalReference.fit(by, scores, measured)
    np.testing.assert_allclose(found.p_values(scores, measured), expected.p_values(scores, measured))
    if by == "hour":
        assert set(found.parts) <= set(range(48))
        day, night = (found.parts[hour].quantile(0.5) for hour in (12, 3))
        assert day > night + 1.0


def test_calibrate_without_circumstances(tmp_path: Path) -> None:
    """One reference of all steps, of the split that models are selected on."""
    run, data = run_of(tmp_path / "run", LINEAR), table(tmp_path / "normal.csv")
    result = CliRunner().invoke(command, [str(run), "--data", str(data), *READING])
    assert result.exit_code == 0, result.output
    card = checkpoints.read_card(run)["reference"]
    assert card["score"] == "free_energy"
    assert ReferenceDistribution.from_dict(card).count == card["count"] > 100


def test_what_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    """No regimes, no times; and the models that ship with the library are not written to."""
    result = CliRunner().invoke(command, ["srnn-jsb", "--data", str(table(tmp_path / "any.csv", rows=9))])
    assert isinstance(result.exception, CheckpointError)
    assert "copy its folder" in str(result.exception)
    run = run_of(tmp_path / "run", LINEAR)
    filter, xs = checkpoints.load(run).filter, [np.zeros((5, 2), dtype=np.float32)]
    with pytest.raises(ConfigurationError, match="no regimes"):
        measured_scores(filter, xs, "regime")
    with pytest.raises(DataError, match="nothing of time"):
        measured_scores(filter, xs, "hour")
    with pytest.raises(DataError, match="no conditional reference"):
        ConditionalReference.from_dict({"by": "moon"})
