"""`avf models`: what is told of each checkpoint, with no digit that its errors do not allow."""

import json

import pytest
from click.testing import CliRunner

from avf_core import checkpoints
from avf_core.commands import models

pytestmark = pytest.mark.slow


def test_figures_have_the_digits_that_their_errors_allow() -> None:
    """F as its card says it, with its error over sequences; the JSON holds all of it, and the preset has none."""
    card = checkpoints.read_card(checkpoints.ZOO / "srnn-speech-small")
    found = card["test"]
    assert 0.2 <= found["noise_error"] < 2.0  # so that one decimal is what it allows
    printed = CliRunner().invoke(models.command, [], env={"COLUMNS": "200"}).output
    (line,) = [row for row in printed.splitlines() if row.split()[:1] == ["srnn-speech-small"] and "±" in row]
    assert f"{found['free_energy_pooled']:,.1f} ± " in line
    rows = json.loads(CliRunner().invoke(models.command, ["--json"]).output)["models"]
    by_form = {row["form"]: row for row in rows if row["name"] == "srnn-speech-small"}
    assert by_form["zoo"]["test_free_energy"] == found["free_energy_pooled"]
    assert by_form["zoo"]["test_noise_error"] == found["noise_error"]
    assert by_form["zoo"]["test_standard_error"] == found["standard_error"]
    assert "test_free_energy" not in by_form["preset"]
