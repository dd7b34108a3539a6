"""Each example runs, as its docstring says."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def example(
    name: str, *arguments: str, cwd: Path = ROOT, python: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run an example with no terminal attached; `python` are options of the interpreter."""
    command = [sys.executable, *python, str(ROOT / "examples" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL, check=False)


def test_every_example_is_tested() -> None:
    """A new example needs a test here, in a module of its own, or in tests/core."""
    core = [ROOT / "tests" / "core" / name for name in ("test_examples.py", "test_examples_events.py")]
    tests = Path(__file__), Path(__file__).with_name("test_act_on_beliefs.py"), *core
    source = "".join(path.read_text() for path in tests)
    for path in (ROOT / "examples").glob("[!_]*.py"):
        assert f'"{path.name}"' in source


def test_quickstart(server: str) -> None:
    """72 frames, each with its free energy."""
    result = example("quickstart.py", server, "tiny")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 72
    assert lines[-1].startswith("frame 72: F = ")


def test_gym_belief() -> None:
    """Cut short: the belief tells of the hidden velocity what ten observations do, and far more than the last two."""
    short = ("--episodes=256", "--epochs=20", "--probes=48")
    result = example("gym_belief.py", "--json", *short, python=("-W", "error"))
    assert result.returncode == 0, result.stderr
    scores = {score["seen"]: score for score in json.loads(result.stdout)["scores"]}
    assert {name: score["features"] for name, score in scores.items()} == {
        "observation": 1,
        "last 2 observations": 2,
        "last 10 observations": 10,
        "belief": 8,
    }
    assert scores["belief"]["low"] > scores["last 2 observations"]["high"] + 0.5
    assert scores["last 2 observations"]["low"] > scores["observation"]["high"]
    assert scores["belief"]["r2"] > scores["last 10 observations"]["r2"] - 0.05
    for score in scores.values():
        assert score["low"] < score["r2"] < score["high"]


def test_gym_belief_tells_wrong_options() -> None:
    """In a line, with exit code 2."""
    result = example("gym_belief.py", "--steps=10")
    assert result.returncode == 2
    assert "--steps must be more than 10" in result.stderr


def test_demo(checkpoint: Path, tmp_path: Path) -> None:
    """The last line is one JSON object; the picture is there; the server is gone."""
    result = example("demo.py", "--model", str(checkpoint), cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert set(report) == {"steps", "mean_free_energy", "model", "server_url", "plot"}
    assert (report["steps"], report["model"]) == (72, "tiny")
    assert (tmp_path / report["plot"]).read_bytes().startswith(b"\x89PNG")
    assert "mean free energy per step" in result.stdout
    assert not alive(server_of(result.stdout))


def test_an_interrupted_demo_stops_its_server(checkpoint: Path, tmp_path: Path) -> None:
    """Ctrl-C in the midst of the stream: exit code 130, and the server is gone."""
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), "--model", str(checkpoint)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if " nats  heard " in line:
                process.send_signal(signal.SIGINT)
                break
        said += process.stdout.read()
    assert process.returncode == 130
    assert "the server is stopped" in said
    assert not alive(server_of(said))


def test_a_demo_without_a_model_says_so(tmp_path: Path) -> None:
    """The server's own words, and exit code 1."""
    result = example("demo.py", "--model", str(tmp_path / "none"), cwd=tmp_path)
    assert result.returncode == 1
    assert "no checkpoint" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def server_of(said: str) -> int:
    """The process that the demo said to have started."""
    return int(next(line for line in said.splitlines() if line.startswith("server ")).rpartition(" ")[2])


def alive(pid: int) -> bool:
    """Whether a process of this id exists."""
    return Path(f"/proc/{pid}").exists()
