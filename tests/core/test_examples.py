"""The examples of the library run, and what they print is so. Those of the client are in tests/clients."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHORT = {"sequences": 200, "steps": 4, "trial": 1, "updates": 40, "srnn-sequences": 2, "srnn-steps": 2, "converged": 5}
PROCEDURES = [("gradient: Adam", n) for n in (1, 5, 20, 100)] + [("AVF", n) for n in (1, 2, 5)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Compare, cut short."""
    return example("compare_inference.py", *(f"--{name}={size}" for name, size in SHORT.items()), *arguments)


def example(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example with no terminal attached."""
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What `--json` prints."""
    result = run("--json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.long
@pytest.mark.parametrize(("name", "first", "second"), [("lgssm", "exact", "exact"), ("srnn", "best", "direct")])
def test_every_procedure_has_its_figures(report: dict[str, Any], name: str, first: str, second: str) -> None:
    """The reference first, then direct, gradient with 1, 5, 20 and 100 iterations, AVF with 1, 2 and 5."""
    rows = report[name]["rows"]
    assert [(row["procedure"], row["iterations"]) for row in rows[-7:]] == PROCEDURES
    assert rows[0]["procedure"].startswith(first)
    assert rows[1]["procedure"].startswith(second)
    assert rows[-8]["procedure"].startswith("direct")
    assert (rows[0]["above"], rows[0]["above_error"]) == (0.0, 0.0)
    for row in rows:
        assert row["free_energy"] - rows[0]["free_energy"] == pytest.approx(row["above"], abs=1e-6)
        assert row["milliseconds"] > 0.0
        assert row["milliseconds_together"] > 0.0


@pytest.mark.long
def test_nothing_is_better_than_the_exact_figures(report: dict[str, Any]) -> None:
    """Evidence below the optima, the optima below all that is found, within 3 standard errors; AVF well below Adam."""
    section = report["lgssm"]
    exact, rows = section["exact"], section["rows"]
    full, mean_field = exact["optimum, full covariance"], exact["optimum, mean-field"]
    assert exact["evidence"] < full < mean_field
    assert abs(rows[0]["free_energy"] - full) < 3.0 * rows[0]["error"]
    assert abs(rows[1]["above"] - (mean_field - full)) < 3.0 * rows[1]["above_error"]
    for row in rows[1:]:
        assert row["above"] > -3.0 * row["above_error"], row["procedure"]
        assert row["free_energy"] > exact["evidence"], row["procedure"]
    by_name = {(row["procedure"], row["iterations"]): row["above"] for row in rows}
    assert by_name["AVF", 5] < 0.5 * by_name["gradient: Adam", 5]
    assert by_name["gradient: Adam", 100] < by_name["gradient: Adam", 20] < by_name["gradient: Adam", 1]


def test_data_that_is_none_is_told(tmp_path: Path) -> None:
    """In one line, with exit code 1."""
    result = run("--sequences=10", "--updates=1", "--data", str(tmp_path / "none.npz"))
    assert result.returncode == 1
    assert "none.npz" in result.stderr
    assert "Traceback" not in result.stderr


def rolls(path: Path) -> None:
    """Two sequences of chords, held for four frames each: C, F, G and A minor, of keys 21 to 108."""
    chords = np.array([[48, 64, 67, 72], [53, 65, 69, 72], [55, 62, 67, 71], [57, 64, 69, 72]])
    notes = np.zeros((48, 88), np.uint8)
    np.put_along_axis(notes, np.tile(np.repeat(chords, 4, axis=0), (3, 1)) - 21, 1, axis=1)
    split = {"bits": np.packbits(notes, axis=1), "offsets": np.array([0, 16, 48])}
    np.savez(path, **{f"{name}_{key}": split[key] for name in ("valid", "test") for key in split})


def test_particles_have_what_one_sampled_past_lacks(tmp_path: Path) -> None:
    """The exact filter is numpy's Kalman filter; one past is far from it, 256 particles are not; notes are averaged."""
    rolls(tmp_path / "rolls.npz")
    short = ("--json", "--sequences=20", "--steps=60", "--music", str(tmp_path / "rolls.npz"))
    result = example("honest_beliefs.py", *short)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    one, many, exact, numpy = (found["beliefs"][name] for name in ("K=1", "K=256", "kalman", "Kalman, numpy"))
    assert exact == pytest.approx(numpy, rel=1e-9)
    assert one["rmse"] > 1.3 * numpy["rmse"]
    assert one["nats"] > numpy["nats"] + 0.5
    assert one["velocity"] < numpy["velocity"] - 0.2
    assert max(one["latent"], one["observation"], one["at_prior_mean"]) < 80.0
    assert many["rmse"] == pytest.approx(numpy["rmse"], rel=0.03)
    assert many["nats"] == pytest.approx(numpy["nats"], abs=0.02)
    for covered in (many["latent"], many["observation"]):
        assert 88.0 < covered < 92.0
    at_mean, few, most = (row["nats"] for row in found["notes"])
    assert most < few < at_mean


def test_music_that_is_none_is_told(tmp_path: Path) -> None:
    """In one line, with exit code 1."""
    result = example("honest_beliefs.py", "--music", str(tmp_path / "none.npz"))
    assert result.returncode == 1
    assert result.stderr.startswith("honest_beliefs: ")
    assert "none.npz" in result.stderr
    assert "Traceback" not in result.stderr
