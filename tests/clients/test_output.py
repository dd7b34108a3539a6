"""Commands write to what there is: terminals of old code pages, full disks, readers that leave, nothing at all."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from avf_client import Client
from avf_client.commands import cli

pytestmark = pytest.mark.slow

AVF = [sys.executable, "-m", "avf_client"]
FULL = Path("/dev/full")
COMMANDS = {
    "help": ["--help"],
    "script": ["completion", "bash"],
    "json": ["completion", "zsh", "--json"],
    "table": ["sessions", "list"],
    "rows": ["sessions", "list", "--json"],
}


@pytest.fixture(scope="module")
def environment(server: str) -> dict[str, str]:
    """Where the server is, with a session on it that has a step."""
    with Client(server) as client:
        client.session("tiny").step(None)
    return os.environ | {"AVF_SERVER": server}


@pytest.fixture
def wide() -> click.Command:
    """A command that writes what no old code page has, to both of its streams."""

    def write() -> None:
        click.echo("F♯4 ≥ 0 █")
        click.echo("é→", err=True)

    return click.Command("write", callback=write)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("table", "latin-1"), ("table", "cp1252"), ("table", "ascii"), ("rows", "koi8-r"), ("help", "ascii")],
)
def test_every_encoding_will_do(name: str, encoding: str, environment: dict[str, str]) -> None:
    """Exit code 0, and nothing on stderr; JSON is the same in all of them."""
    env = environment | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([*AVF, *COMMANDS[name]], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    if name == "rows":
        assert json.loads(done.stdout.decode("ascii"))[0]["session"]["model"] == "tiny"


def test_notes_are_shown_as_well_as_the_terminal_can(environment: dict[str, str]) -> None:
    """The names of notes have sharps and flats, which ASCII has not."""
    command = [*AVF, "stream", "corpus:bach/bwv102.7", "--model", "tiny", "--limit", "12"]
    env = environment | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "E?" in done.stdout.decode("ascii")


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_full_disk_is_one_line(name: str, environment: dict[str, str]) -> None:
    """Exit code 1, and what to do, whether the disk is met while writing or at the end."""
    with FULL.open("wb") as full:
        done = subprocess.run(
            [*AVF, *COMMANDS[name]], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "avf: the output cannot be written: No space left on device; make room, or write elsewhere\n"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_reader_that_leaves_hears_nothing_more(name: str, environment: dict[str, str]) -> None:
    """Exit code 0 and an empty stderr, as if all had been read."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*AVF, *COMMANDS[name]], env=environment, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_stdout_is_no_error(name: str, environment: dict[str, str]) -> None:
    """A daemon may start commands with stdout closed."""
    closed = [sys.executable, "-c", "import os, sys; os.close(1); os.execv(sys.argv[1], sys.argv[1:])"]
    done = subprocess.run([*closed, *AVF, *COMMANDS[name]], env=environment, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("plot", "said"),
    [("a file/plot.png", "a file"), ("plot.dance", "dance"), ("locked/plot.png", "locked")],
)
def test_a_plot_that_cannot_be_written_is_one_line(
    plot: str, said: str, server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in place of a folder, an ending that is no picture's, a folder that is full."""
    (tmp_path / "a file").touch()
    if FULL.exists():
        (tmp_path / "locked").mkdir()
        (tmp_path / "locked" / "plot.png").symlink_to(FULL)
    np.save(tmp_path / "roll.npy", np.eye(88)[:3])
    command = ["stream", f"{tmp_path}/roll.npy", "--model", "tiny", "--server", server, "--plot", f"{tmp_path}/{plot}"]
    assert cli.run(command) == (1 if FULL.exists() or said != "locked" else 0)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("avf: the plot cannot be")]
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "trace.json"), "avf: trace.json cannot be written: No space"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/root/x"),
            "avf: /root/x cannot be used: Permission denied",
        ),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "runs"), "avf: runs cannot be used: Is a directory"),
        (OSError(errno.EMFILE, "Too many open files"), "avf: the system refused: Too many open files"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of whatever command, and of which file; exit code 1."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(cli.Commands, "get_command", lambda *_: click.Command("fail", callback=fail))
    assert cli.run(["fail"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert told.count("\n") == 1


@pytest.mark.parametrize("encoding", ["latin-1", "iso8859-15", "cp1252"])
def test_what_a_terminal_has_not_is_replaced(
    encoding: str, wide: click.Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On stdout and on stderr; what it has is as it was."""
    monkeypatch.setattr(cli.Commands, "get_command", lambda *_: wide)
    files: list[Any] = []
    for name in ("stdout", "stderr"):
        files.append((tmp_path / name).open("w", encoding=encoding))
        monkeypatch.setattr(sys, name, files[-1])
    assert cli.run(["write"]) == 0
    for file in files:
        file.close()
    assert (tmp_path / "stdout").read_text(encoding) == "F?4 ? 0 ?\n"
    assert (tmp_path / "stderr").read_text(encoding) == "é?\n"


def test_arguments_that_are_no_text_are_told(server: str) -> None:
    """Bytes that are no UTF-8 cannot be the name of anything on a server."""
    wrong: list[list[str | bytes]] = [
        ["sessions", "show", b"\xff"],
        ["sessions", "end", b"s-\xff"],
        ["bench", "--model", b"\xff"],
    ]
    for command in wrong:
        done = subprocess.run([*AVF, *command, "--server", server], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("avf: ")
        assert done.stderr.count("\n") == 1
