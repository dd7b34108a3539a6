"""Rows from standard input: by a heading, by their order, or as JSON; what does not fit is named."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from avf_client.commands import cli, lines
from avf_client.errors import InvalidArgument

PLANT = lines.Wanted(channels=("level [m]", "flow"), inputs=("valve",), time="when", timed=True)
PLAIN = lines.Wanted(channels=("level [m]", "flow"))


def read(text: str, wanted: lines.Wanted = PLAIN) -> list[tuple[list[float], list[float] | None, float | None]]:
    """What lines hold."""
    found = lines.steps(io.StringIO(text), wanted)
    return [(list(map(float, s.x)), None if s.inputs is None else list(map(float, s.inputs)), s.time) for s in found]


def test_columns_are_found_by_their_names() -> None:
    """In whatever order they stand, with others beside them; inputs and times as the model takes them."""
    rows = read("flow;more;when;valve;level [m]\n2;9;1970-01-01T00:01:00Z;0.5;1\n4;9;90;0.25;3\n", PLANT)
    assert rows == [([1.0, 2.0], [0.5], 60.0), ([3.0, 4.0], [0.25], 90.0)]


def test_lines_of_json_are_rows() -> None:
    """A unit that one of both leaves out is no other unit; null is missing."""
    rows = read('{"flow": null, "level": 1.5}\n\n{"level [m]": 2, "flow": 3}\n')
    assert np.isnan(rows[0][0][1])
    assert (rows[0][0][0], rows[1][0]) == (1.5, [2.0, 3.0])


def test_without_a_heading_order_counts() -> None:
    """The model's channels, its inputs after them; one cell more before them is the time."""
    assert read("1,2\n3,\n")[0] == ([1.0, 2.0], None, None)
    assert read("70,1,2,0.5\n80,3,4,0.5\n", PLANT)[1] == ([3.0, 4.0], [0.5], 80.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("level [m],other\n1,2\n", "line 2 has no 'flow', a channel that is expected"),
        ("level [cm],flow\n1,2\n", "level in cm, the model's is in m"),
        ("level [m],flow\n1,x\n", "line 2 has 'x' for flow, expected a number"),
        ("1,2,3,4\n", "4 cells and no names of columns"),
        ("flow,level [m]\n1\n", "line 2 has 1 cells, expected 2"),
        ("{]\n", "line 1 is no JSON"),
    ],
)
def test_what_does_not_fit_is_named(text: str, said: str) -> None:
    """By its line and its column."""
    with pytest.raises(InvalidArgument) as caught:
        read(text)
    assert said in str(caught.value)


def test_a_time_that_goes_back_is_refused_by_its_name() -> None:
    """Also for a model that takes none; one that stands still is not for the reader to refuse; one that lacks is."""
    plain = lines.Wanted(channels=("flow",), time="when")
    with pytest.raises(InvalidArgument, match=r"line 4 goes back in time: when is 1970-01-01T00:00:30Z, 60 s before"):
        read("when,flow\n90,1\n90,2\n1970-01-01T00:00:30Z,3\n", plain)
    with pytest.raises(InvalidArgument, match="line 2 has no 'when', the time; it has flow"):
        read("flow\n1\n", plain)


def test_an_input_may_not_be_missing() -> None:
    """It says what was done: there is no guess at that."""
    with pytest.raises(InvalidArgument, match="no value of the input valve"):
        read("when,level [m],flow,valve\n0,1,2,\n", PLANT)


def test_lines_are_streamed_as_they_come(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row has its estimate, and a summary is written; a file with a picture is asked for otherwise."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("c,b,a\n1,2,3\n4,,6\n"))
    words = ["stream", "-", "--server", server, "--model", "gaussian"]
    words += [word for name in "abc" for word in ("--channel", name)]
    assert cli.run([*words, "--json"]) == 0
    told = capsys.readouterr()
    assert '"steps": 2' in told.out
    assert "a 3 b 2 c 1" in told.err
    assert cli.run([*words, "--plot", str(Path("x.png"))]) == 2
