"""`avf stream` against the real server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from avf_client import Client
from avf_client.commands import cli


def test_a_chorale_is_streamed(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout is one JSON object; lines for people, and the summary, go to stderr; the picture is written."""
    picture = tmp_path / "out.png"
    arguments = ["stream", "corpus:bach/bwv102.7", "--server", server, "--model", "tiny", "--seed", "5"]
    assert cli.run([*arguments, "--json", "--plot", str(picture)]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["steps"] == 48
    assert report["mean_free_energy"] == pytest.approx(report["mean_reconstruction"] + report["mean_kl"], rel=1e-4)
    assert (report["model"], report["server_url"], report["plot"]) == ("tiny", server, str(picture))
    assert "C4 C5 E♭5 G5" in captured.err
    assert "mean free energy per step" in captured.err
    assert picture.stat().st_size > 10_000
    assert cli.run([*arguments, "--limit", "10"]) == 0
    assert capsys.readouterr().out.count(" nats  heard ") == 10


def test_a_session_can_be_gone_on_with(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--session` goes on where it stands and leaves it open; what it was opened with cannot be changed."""
    np.save(tmp_path / "x.npy", np.zeros((4, 3)))
    with Client(server) as client, client.session("gaussian") as session:
        arguments = ["stream", str(tmp_path / "x.npy"), "--server", server, "--session", session.id]
        for _ in range(2):
            assert cli.run(arguments) == 0
        session.refresh()
        assert session.next_seq == 9
        assert cli.run([*arguments, "--seed", "3"]) == 1
    assert "as it was opened" in capsys.readouterr().err


def test_columns_of_a_table_are_streamed_by_name(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are named, in that order; remarks are in the summary, brackets and all; absent ones are one line."""
    (tmp_path / "x.csv").write_text("id,c,a [V],b\nu,1,2,3\nv,9,9,9\nu,4,5,6\n")
    arguments = ["stream", str(tmp_path / "x.csv"), "--server", server, "--model", "gaussian", "--group", "id"]
    arguments += ["--key", "u", "--channel", "a [V]", "--channel", "b"]
    assert cli.run([*arguments, "--channel", "c"]) == 0
    told = capsys.readouterr().out
    assert "a 2 b 3 c 1" in told
    assert "a 5 b 6 c 4" in told
    assert "x.csv[u]" in told
    assert "another order" in told
    assert cli.run([*arguments, "--channel", "d"]) == 1
    assert "no column 'd', a channel that is expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["corpus:bach/bwv102.7"], "choose one with --model: "),
        (["corpus:bach/bwv102.7", "--model", "large"], "no model 'large'"),
        (["corpus:bach/bwv102.7", "--model", "gaussian"], "shape (88,), the model takes (3,)"),
        (["nowhere.npz", "--model", "tiny"], "nowhere.npz is no file"),
        (["corpus:bach/bwv102.7", "--session", "none"], "unknown-session"),
    ],
)
def test_errors_are_one_line(server: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and what to do."""
    assert cli.run(["stream", *arguments, "--server", server]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("avf: ")]
    assert len(lines) == 1
    assert said in lines[0]


def test_a_reader_that_leaves_is_no_error(server: str) -> None:
    """`avf stream ... | head -1` ends without a stack trace."""
    command = f"{sys.executable} -m avf_client stream corpus:bach/bwv102.7 --server {server} --model tiny | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={**os.environ}, check=True)
    assert result.stdout.startswith("bach/bwv102.7 through tiny")
    assert "Traceback" not in result.stderr
