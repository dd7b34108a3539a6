"""Data sets of tables: what the csv module and pyarrow write is read back equal, and a card asks for its channels."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from avf_core import data
from avf_core.errors import ConfigurationError, DataError

HEADINGS = ("temp [degC]", "wind (m/s)")


def write(path: Path, values: np.ndarray, headings: Sequence[str] = HEADINGS) -> Path:
    """A table of these numbers, in the form that the path says."""
    path.parent.mkdir(exist_ok=True, parents=True)
    table = pa.table({heading: values[:, i] for i, heading in enumerate(headings)})
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif path.suffix == ".feather":
        pyarrow.feather.write_feather(table, str(path))
    else:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([headings, *values.tolist()])
    return path


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(4).normal(size=(40, 2))


@pytest.mark.parametrize("form", ["csv", "parquet", "feather"])
def test_a_file_is_a_stream_split_by_time(tmp_path: Path, values: np.ndarray, form: str) -> None:
    """Its parts, in order, are what was written, as float32; channels have their names and units."""
    path = write(tmp_path / f"x.{form}", values)
    described = data.describe(path, options={"valid": 0.25, "test": 0.25, "length": 8})
    assert described.kind == "tables"
    assert described.channels == ("temp [degC]", "wind [m/s]")
    assert dict(described.splits) == {"train": 3, "valid": 2, "test": 2}
    parts = [data.load(path, split, options={"valid": 0.25, "test": 0.25, "length": 8}) for split in described.splits]
    np.testing.assert_array_equal(np.concatenate([s for part in parts for s in part]), values.astype(np.float32))


def test_groups_are_held_out_whole(tmp_path: Path, values: np.ndarray) -> None:
    """Rows of several groups may be mixed; each group is in one split, with its rows in order."""
    labels = np.tile(np.arange(8), 5)
    rows = [["id", *HEADINGS], *([f"s{label}", *row] for label, row in zip(labels, values.tolist(), strict=True))]
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    options = {"group": "id", "valid": 0.25, "test": 0.25}
    assert dict(data.describe(tmp_path / "x.csv", options=options).splits) == {"train": 4, "valid": 2, "test": 2}
    found = [s for split in ("train", "valid", "test") for s in data.load(tmp_path / "x.csv", split, options=options)]
    wanted = {values[labels == label].astype(np.float32).tobytes() for label in range(8)}
    assert {sequence.tobytes() for sequence in found} == wanted
    with pytest.raises(DataError, match="8 groups, too few"):
        data.load(tmp_path / "x.csv", "train", options={"group": "id", "valid": 0.49, "test": 0.49})


def test_a_folder_is_a_sequence_a_file_by_names(tmp_path: Path, values: np.ndarray) -> None:
    """In any form, and in any order of the columns; a file that lacks one, or has another unit, is refused by name."""
    write(tmp_path / "a.csv", values)
    write(tmp_path / "b.parquet", values[:, ::-1] + 1, HEADINGS[::-1])
    write(tmp_path / "c.feather", values + 2, ("temp", "wind"))
    options = {"valid": 0.34, "test": 0.34}
    found = [data.load(tmp_path, split, options=options)[0] for split in ("train", "valid", "test")]
    wanted = [(values + i).astype(np.float32) for i in range(3)]
    assert {s.tobytes() for s in found} == {s.tobytes() for s in wanted}
    for headings, message in ((("temp", "rain"), "no column 'wind .m/s.'"), (("temp [K]", "wind"), "expected degC")):
        write(tmp_path / "c.feather", values, headings)
        with pytest.raises(DataError, match=message):
            [data.load(tmp_path, split, options=options) for split in ("train", "valid", "test")]
    with pytest.raises(DataError, match="group is for a file"):
        data.load(tmp_path, "train", options={"group": "temp"})


def test_a_folder_of_something_else_is_not_taken_for_tables(tmp_path: Path, values: np.ndarray) -> None:
    """A table beside sound says something of the sound."""
    write(tmp_path / "labels.csv", values)
    assert data.recognise(tmp_path) == "tables"
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    assert data.recognise(tmp_path) == "audio"


def test_the_channels_of_a_card_are_asked_for(tmp_path: Path, values: np.ndarray) -> None:
    """Swapped columns are found by their names; others are refused, and named."""
    card = data.Source(path=write(tmp_path / "x.csv", values), options={"length": 8}).as_card()
    assert card == {
        "name": "x.csv",
        "kind": "tables",
        "options": {"length": 8},
        "channels": ["temp [degC]", "wind [m/s]"],
    }
    swapped = write(tmp_path / "y.csv", np.c_[values[:, 1], values[:, 0], values[:, 0]], ("wind", "temp", "more"))
    straight, again = (data.Source(path=p).like(card).load("train") for p in (tmp_path / "x.csv", swapped))
    assert straight[0].shape == (8, 2)
    np.testing.assert_array_equal(straight, again)
    other = write(tmp_path / "z.csv", values, ("temp", "rain"))
    with pytest.raises(DataError, match=r"no column 'wind .m/s.', a channel that is expected; it has 'temp', 'rain'"):
        data.Source(path=other).like(card).load("train")


def test_what_is_not_to_be_trained_on_is_refused(tmp_path: Path) -> None:
    """Times that go back, lines that do not end, numbers beyond float32; options that are none."""
    cases = {
        "t,x\n2,1\n1,2\n": ({"time": "t"}, "goes back in time"),
        "x\n1\n2": ({}, "ends within a line"),
        "x\n1\n1e39\n3\n": ({"valid": 0, "test": 0}, "infinite as float32"),
    }
    for text, (options, message) in cases.items():
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            data.load(tmp_path / "x.csv", "train", options=options)
    assert len(data.load(tmp_path / "x.csv", "train", options={"valid": 0.4, "test": 0.3})[0]) == 1
    with pytest.raises(ConfigurationError, match="length is 0"):
        data.load(tmp_path / "x.csv", "train", options={"length": 0})


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path, values: np.ndarray) -> None:
    """What is kept in memory is of the file as it is."""
    path = write(tmp_path / "x.csv", values)
    first = data.load(path, "train")[0]
    write(path, values * 10 + 1)
    assert not np.array_equal(first, data.load(path, "train")[0])


def test_any_nan_is_a_gap(tmp_path: Path) -> None:
    """Also one that signals, as damaged memory and some loggers leave it."""
    signalling = np.array([0x7FF0000000000001, 0x3FF0000000000000, 0x4000000000000000], np.uint64).view(np.float64)
    pyarrow.feather.write_feather(pa.table({"x": signalling}), str(tmp_path / "x.feather"))
    (found,) = data.load(tmp_path / "x.feather", "train", options={"valid": 0, "test": 0})
    np.testing.assert_array_equal(found, [[np.nan], [1], [2]])
