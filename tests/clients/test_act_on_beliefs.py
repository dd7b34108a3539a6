"""The example that goes from an environment to an agent runs, keeps its runs, and tells what they came to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def test_an_agent_is_made_from_an_environment(tmp_path: Path) -> None:
    """Cut short: a filter is fitted and an agent learns; what was made before is read, and not made again."""
    short = ("--steps=1024", "--episodes=8", "--updates=2", f"--results={tmp_path}")
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "act_on_beliefs.py"), *short],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert result.returncode == 0, result.stderr
        (run,) = json.loads((tmp_path / "table.json").read_text())
        assert (run["task"], run["sees"], run["steps"], len(run["returns"])) == ("cartpole", "belief", 1024, 24)
        assert "| CartPole-v1 | belief | 1 |" in result.stdout
    assert "update 0" not in result.stderr
