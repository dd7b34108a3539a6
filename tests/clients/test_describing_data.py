"""`avf data describe`: figures that numpy gives of what was written, and what looks odd, by the channel's name."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from avf_client.commands import data
from avf_sources import SourceError
from click.testing import CliRunner

ODD = {
    "same": (["5"] * 40, "it is always 5"),
    "few": (["0", "1"] * 20, "it has only 2 different whole numbers"),
    "wild": ([*(f"{i % 7}.5" for i in range(39)), "1e6"], "1 values are more than 20 robust deviations .*, such as 1e"),
}


def describe(*arguments: str) -> str:
    result = CliRunner().invoke(data.command, ["describe", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_channels_are_told_in_figures(tmp_path: Path) -> None:
    """Smallest, median and largest of what is there, and which share is missing; in JSON to the last bit."""
    values = np.random.default_rng(2).normal(size=(50, 2))
    rows = [f"{a!r},{b!r}" for a, b in values.tolist()]
    rows[7:12] = [f"{a!r}," for a in values[7:12, 0].tolist()]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["temp [degC],wind (m/s)", *rows, ""]))
    found = json.loads(describe(str(path), "--json"))
    assert (found["rows"], found["sequences"], found["times"]) == (50, 1, None)
    assert (found["remarks"], found["warnings"]) == ([], [])
    there = np.delete(values[:, 1], range(7, 12))
    wanted = [("temp", "degC", values[:, 0], 0.0), ("wind", "m/s", there, 0.1)]
    for channel, (name, unit, numbers, missing) in zip(found["channels"], wanted, strict=True):
        assert (channel["name"], channel["unit"]) == (name, unit)
        assert channel["missing"] == pytest.approx(missing)
        figures = [channel[key] for key in ("minimum", "median", "maximum")]
        assert figures == [numbers.min(), np.median(numbers), numbers.max()]
    text = describe(str(path))
    for word in ("temp", "degC", "m/s", "10.0%", f"{there.max():.6g}"):
        assert word in text


@pytest.mark.parametrize("name", ODD)
def test_what_looks_odd_is_told_by_name(tmp_path: Path, name: str) -> None:
    """And nothing of a channel that does not."""
    cells, message = ODD[name]
    good = np.random.default_rng(2).normal(size=len(cells))
    path = tmp_path / "x.csv"
    path.write_text("".join([f"{name},good\n", *(f"{cell},{b}\n" for cell, b in zip(cells, good, strict=True))]))
    (warning,) = json.loads(describe(str(path), "--json"))["warnings"]
    assert warning.startswith(f"{name}: ")
    assert re.search(message, warning)
    assert f"warning: {warning}" in describe(str(path))


def test_times_that_go_back_are_told_and_not_refused(tmp_path: Path) -> None:
    """Over all sequences: so that one sees what is to be mended."""
    path = tmp_path / "x.csv"
    path.write_text("id,t,x\na,0,1.5\na,1,2\na,1,3\nb,0,1\nb,5,2\nb,4,2\nb,5,9\n")
    found = json.loads(describe(str(path), "--json", "--time", "t", "--group", "id"))
    assert found["sequences"] == 2
    assert found["times"] == {"step": 1.0, "uneven": 0.6, "repeated": 1, "backward": 1}
    assert [warning.split(" ")[0] for warning in found["warnings"]] == ["1", "1", "60.0%"]


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    """Names in brackets are shown as they are."""
    path = tmp_path / "x.csv"
    path.write_text("a,[b] note [c]\n1,x\n2.5,y\n")
    assert "note: The column '[b] note [c]' is left out, it is no numbers: 'x' in row 1" in describe(str(path))


def test_other_files_are_described_too(tmp_path: Path) -> None:
    """An array has numbered channels, of which the first are shown; what is no file is refused as it is elsewhere."""
    np.save(tmp_path / "x.npy", np.random.default_rng(2).normal(size=(9, 60)))
    assert len(json.loads(describe(str(tmp_path / "x.npy"), "--json"))["channels"]) == 60
    assert "10 channels more" in describe(str(tmp_path / "x.npy"))
    with pytest.raises(SourceError, match="is no file"):
        describe(str(tmp_path / "y.csv"))
