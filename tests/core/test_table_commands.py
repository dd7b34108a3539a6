"""Training and evaluating on tables, as a user does: the card names the channels, and evaluation asks for them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from avf_core.commands import evaluate, train
from avf_core.errors import DataError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

SMALL = ["model.hidden_size=8", "model.latent_size=4", "model.prior_widths=[8]", "model.decoder_widths=[8]"]
SMALL += ["training.clip_length=6", "training.phi_steps=clip", "inference.units=8", "training.epochs=1"]


def write(path: Path, columns: dict[str, np.ndarray]) -> Path:
    """A table of these columns."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(columns), *np.stack(list(columns.values()), axis=1).tolist()])
    return path


def energy(model: Path, data: Path) -> float:
    """What `avf evaluate` gives."""
    asked = ["--model", str(model), "--data", str(data), "--json"]
    found = json.loads(CliRunner().invoke(evaluate.command, asked, catch_exceptions=False).stdout)
    return float(found["free_energy_pooled"])


def test_a_model_of_a_table_knows_its_channels(tmp_path: Path) -> None:
    """The same free energy where columns stand in another order; a column that is absent is named."""
    keys = (np.random.default_rng(0).random((88, 200)) > 0.9).astype(int)
    columns = {f"key {i}": row for i, row in enumerate(keys)}
    straight = write(tmp_path / "x.csv", columns)
    swapped = write(tmp_path / "y.csv", {"more": keys[0], **dict(reversed(columns.items()))})
    out = tmp_path / "run"
    settings = [word for text in SMALL for word in ("--set", text)]
    words = ["paper-jsb", "--data", straight, "--data-option", "length=20", "--out", out, *settings, "--json"]
    assert CliRunner().invoke(train.command, [*map(str, words)], catch_exceptions=False).exit_code == 0
    card = json.loads((out / "card.json").read_text())["data"]
    assert (card["kind"], card["channels"]) == ("tables", list(columns))
    assert energy(out, swapped) == energy(out, straight)
    del columns["key 7"]
    with pytest.raises(DataError, match="no column 'key 7', a channel that is expected"):
        energy(out, write(tmp_path / "z.csv", columns))
