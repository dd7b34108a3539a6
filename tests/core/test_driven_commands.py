"""Inputs and times by the commands, as a user does: a table's columns train a linear model, and are asked for after."""

import csv
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from avf_core.commands import evaluate, forecast, impute, smooth, train
from avf_core.errors import DataError, InputError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

SETTINGS = ["model.timed=true", "training.epochs=2", "training.clip_length=10", "training.validate_every=2"]


def run(command: click.Command, *words: object) -> dict[str, Any]:
    """What a command says as JSON."""
    done = CliRunner().invoke(command, [*map(str, words), "--json"], catch_exceptions=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two channels that an input pushes, at uneven times, with a missing number."""
    draw = np.random.default_rng(0)
    times, valve = np.cumsum(draw.integers(1, 4, 200)), draw.normal(size=200)
    level = np.cumsum(valve)
    rows = [[t, level[i], 2.0 * level[i] if i != 30 else "", valve[i]] for i, t in enumerate(times)]
    with (tmp_path / "plant.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["when", "level", "flow", "valve"], *rows])
    return tmp_path / "plant.csv"


def test_a_table_with_inputs_and_times_goes_through_all_commands(table: Path, tmp_path: Path) -> None:
    """Trained, evaluated, forecast under the inputs that came, filled, looked back on; the card asks for columns."""
    out = tmp_path / "run"
    options = [word for text in ('inputs=["valve"]', "time=when", "length=40") for word in ("--data-option", text)]
    settings = [word for text in SETTINGS for word in ("--set", text)]
    assert np.isfinite(run(train.command, "lgssm", "--data", table, *options, "--out", out, *settings)["valid"]["kl"])
    card, config = (json.loads((out / name).read_text()) for name in ("card.json", "config.json"))
    assert (card["data"]["channels"], card["data"]["inputs"]) == (["level", "flow"], ["valve"])
    assert config["model"]["input_size"] == 1
    assert config["model"]["usual_dt"] == 2.0
    chosen = ["--model", out, "--data", table]
    assert np.isfinite(run(evaluate.command, *chosen, "--split", "test")["free_energy_pooled"])
    assert len(run(forecast.command, *chosen, "--at", 10, "--horizon", 4, "--particles", 2)["mean"]) == 4
    assert run(impute.command, *chosen, "--hide", "3-5", "--paths", 5)["missing"] >= 6
    back = run(smooth.command, *chosen, "--lag", 3, "--particles", 8)
    assert np.shape(back["mean"])[0] == back["steps"]
    assert np.isfinite(back["deviation"]).all()
    with pytest.raises(DataError, match="go 2 steps less far"):
        run(forecast.command, *chosen, "--at", 15, "--horizon", 7)
    bare = tmp_path / "bare.npy"
    np.save(bare, np.zeros((50, 2)))
    with pytest.raises(InputError, match="takes 1 inputs a step, but none were given"):
        run(evaluate.command, "--model", out, "--data", bare)
