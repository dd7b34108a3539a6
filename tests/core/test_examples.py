"""The examples of the library run, and what they print is so. Those of the client are in tests/clients."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHORT = {"sequences": 200, "steps": 4, "trial": 1, "updates": 40, "srnn-sequences": 2, "srnn-steps": 2, "converged": 5}
PROCEDURES = [("gradient: Adam", n) for n in (1, 5, 20, 100)] + [("AVF", n) for n in (1, 2, 5)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Compare, cut short."""
    sizes = [f"--{name}={size}" for name, size in SHORT.items()]
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "compare_inference.py"), *sizes, *arguments]
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
