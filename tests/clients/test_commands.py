"""`avf sessions`, `avf bench` and `avf completion`: results for people and programs, exit codes, errors in one line."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from avf_client import AsyncClient, Client
from avf_client.commands import cli, common, load
from avf_client.core import keys
from avf_client.core.addresses import is_this_machine
from click.shell_completion import ShellComplete

X = np.eye(88)[:6]


@pytest.fixture(scope="module")
def client(checkpoint: Path, gaussian: Path) -> Iterator[Client]:
    """A client of a server with a key, in this process."""
    with Client.local(checkpoint, gaussian) as made:
        yield made


@pytest.fixture(autouse=True)
def environment(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the server and the key in the environment."""
    monkeypatch.setenv("AVF_SERVER", client.base_url)
    monkeypatch.setenv("AVF_API_KEY", client.api_key.reveal() if client.api_key else "")


def avf(*arguments: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    """What `avf` writes: the value of its JSON where that was asked for, else its text, or its errors."""
    assert cli.run(list(arguments)) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    if code:
        return captured.err
    return json.loads(captured.out) if "--json" in arguments else captured.out


def test_sessions_are_listed_shown_and_ended(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """In words and in JSON; after their end they are gone."""
    assert avf("sessions", "list", capsys=capsys) == "no open sessions\n"
    with client.session("tiny", durability="group") as session, client.session("gaussian") as other:
        estimates = session.steps(X)
        listed = avf("sessions", "list", "--json", capsys=capsys)
        assert [each["session"]["id"] for each in listed] == [other.id, session.id]
        assert "tiny" in avf("sessions", "list", capsys=capsys)
        shown = avf("sessions", "show", session.id, "--steps", "2", "--json", capsys=capsys)
        assert shown["session"]["next_seq"] == 7
        assert [step["seq"] for step in shown["steps"]] == [5, 6]
        assert shown["steps"][1]["free_energy"] == pytest.approx(estimates[-1].free_energy)
        assert "last steps" in avf("sessions", "show", session.id, capsys=capsys)
        assert avf("sessions", "end", session.id, other.id, "--json", capsys=capsys) == {
            "ended": [session.id, other.id]
        }
        assert avf("sessions", "list", "--json", capsys=capsys) == []


def test_an_unknown_session_is_told_after_the_others_are_ended(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 1."""
    session = client.session("tiny")
    assert "unknown-session" in avf("sessions", "end", "nobody", session.id, capsys=capsys, code=1)
    assert client.sessions() == []


@pytest.mark.parametrize("via", ["stream", "http"])
def test_a_bench_counts_what_was_answered(via: str, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """All steps of all sessions, which end afterwards; percentiles are in order."""
    options = ("--model", "tiny", "--sessions", "3", "--steps", "4", "--rate", "200", "--via", via)
    result = avf("bench", *options, "--durability", "none", "--json", capsys=capsys)
    assert (result["answered"], result["failed_sessions"], result["via"]) == (12, 0, via)
    assert 0.0 < result["p50_ms"] <= result["p90_ms"] <= result["p99_ms"] <= result["max_ms"]
    assert result["steps_per_second"] == pytest.approx(12 / result["seconds"])
    assert client.sessions() == []


def test_a_bench_of_real_numbers_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """A table."""
    assert "p99 ms" in avf("bench", "--model", "gaussian", "--sessions", "1", "--steps", "2", capsys=capsys)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--server", "http://192.0.2.1:8000"], 1, "add --yes"),
        (["--server", "127.0.0.1:8000", "--yes"], 1, "no server's address"),
        (["--sessions", "1000", "--steps", "100000"], 1, "more than 1000000"),
        ([], 1, "choose one with --model: gaussian, tiny"),
        (["--model", "large"], 1, "no model 'large'"),
        (["--sessions", "0"], 2, "--sessions"),
        (["--via", "pigeon"], 2, "pigeon"),
    ],
)
def test_a_bench_refuses_in_one_line(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too much, too far, or of nothing."""
    assert said in avf("bench", *arguments, capsys=capsys, code=code)


async def _never(client: AsyncClient, wanted: load.Load) -> load.Measured:
    return load.Measured(seconds=1.0, errors=["the queue is full"])


def test_a_bench_whose_sessions_fail_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is written, and the exit code is 1."""
    monkeypatch.setattr("avf_client.commands.bench.offer", _never)
    assert "the queue is full" in avf("bench", "--model", "tiny", capsys=capsys, code=1)


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://LocalHost.:1", True),
        ("http://avf.localhost:1", True),
        ("http://127.8.9.10:1", True),
        ("http://[::ffff:127.0.0.1]:1", True),
        ("http://localhost.example.org", False),
        ("http://127.1:1", True),
        ("http://0x7f000001:1", True),
        ("http://0.0.0.0:8000", True),
        ("http://[::]:8000", True),
        ("http://1.2.3.4:1", False),
        ("http://127.example.org", False),
        ("http://ö.example.org", False),
        ("https://example.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_loopback_is_told_from_elsewhere(url: str, near: bool) -> None:
    """By the address, without asking any name server."""
    assert is_this_machine(url) is near


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As text, and in JSON."""
    script = avf("completion", shell, capsys=capsys)
    assert "_AVF_COMPLETE" in script
    assert avf("completion", shell, "--json", capsys=capsys)["script"].strip() == script.strip()


def test_the_bash_script_is_bash(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Bash can read it."""
    bash = shutil.which("bash")
    assert bash is not None
    script = tmp_path / "avf.bash"
    script.write_text(avf("completion", "bash", capsys=capsys))
    subprocess.run([bash, "-n", str(script)], check=True)


@pytest.mark.parametrize(
    ("words", "word", "expected"),
    [([], "se", {"serve", "sessions"}), (["sessions"], "", {"list", "show", "end"}), (["stream"], "--mi", {"--mic"})],
)
def test_names_are_completed_without_the_extras(words: list[str], word: str, expected: set[str]) -> None:
    """Names of commands are completed without loading any; those of options load their command only."""
    completed = ShellComplete(cli.group, {}, "avf", "_AVF_COMPLETE").get_completions(words, word)
    assert {item.value for item in completed} == expected
    code = (
        "import os, sys\nos.environ.update(_AVF_COMPLETE='bash_complete', COMP_WORDS='avf se', COMP_CWORD='1')\n"
        "import atexit; atexit.register(lambda: print('torch' in sys.modules))\n"
        "from avf_client.commands.cli import main; main([])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["plain,serve", "plain,sessions", "False"]


def test_every_command_of_ours_speaks_json_and_shows_an_example() -> None:
    """`--json` on every command that gives something, and a line to copy in every help."""
    for name in ("bench", "completion", "sessions", "stream"):
        command = cli._load(next(iter(entry_points(group=cli.GROUP, name=name))))
        leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
        for leaf in leaves:
            assert any("--json" in parameter.opts for parameter in leaf.params), leaf.name
            assert "avf " in (leaf.help or "").partition("\b")[2], leaf.name


def test_the_server_is_the_local_one_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `avf serve` listens by default."""
    assert common.DEFAULT_SERVER == "http://127.0.0.1:8000"
    monkeypatch.delenv("AVF_API_KEY")
    assert keys.of_environment() is None
