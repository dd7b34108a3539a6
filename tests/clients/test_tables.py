"""Tables: what Python's csv module, pyarrow or a hand writes is read back equal; what is odd is told by its name."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from avf_client.commands.describe import describer
from avf_sources import MissingExtra, Options, SourceError, read, tables

NAN = float("nan")
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write text or bytes as a file; gives its name."""

    def written(content: str | bytes, name: str = "x.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return written


def names(recording: object) -> list[str]:
    return [str(channel) for channel in recording.channels]  # type: ignore[attr-defined]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_what_the_csv_module_writes_is_read_back(tmp_path: Path, delimiter: str, quoting: int) -> None:
    """To the last bit, with any delimiter, with and without quotes, over more rows than a block has."""
    values = np.random.default_rng(3).normal(size=(30_000, 3)) * [1e-9, 1, 1e12]
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
        writer.writerows([["a, b; c", "two\nlines", 'it says "c"'], *([repr(float(v)) for v in row] for row in values)])
    recording = read(str(path))
    np.testing.assert_array_equal(recording.frames, values)
    assert names(recording) == ["a, b; c", "two\nlines", 'it says "c"']
    assert recording.remarks == ()


def arrow_table() -> pa.Table:
    """A column of each type that is a number, with a missing one each."""
    columns = {
        "f8": pa.array([1.5, None, -2.5], pa.float64()),
        "f4": pa.array([0.25, 0.5, None], pa.float32()),
        "i8": pa.array([None, -128, 127], pa.int8()),
        "u8": pa.array([0, None, 2**63], pa.uint64()),
        "yes": pa.array([True, False, None]),
        "dec": pa.array([1, None, 3], pa.decimal128(9, 2)),
        "cat": pa.array(["on", None, "off"]).dictionary_encode(),
        "when": pa.array([0, 1_000_000, 3_000_000], pa.timestamp("us")),
    }
    return pa.table(columns)


NUMBERS = [[1.5, 0.25, NAN, 0, 1, 1], [NAN, 0.5, -128, NAN, 0, NAN], [-2.5, NAN, 127, 2.0**63, NAN, 3]]


@pytest.mark.parametrize("form", ["parquet", "zstd.parquet", "feather", "lz4.feather", "arrow"])
def test_what_pyarrow_writes_is_read_back(tmp_path: Path, form: str) -> None:
    """Every kind of number, with nulls as gaps; categories and times by their types."""
    path, table = tmp_path / f"x.{form}", arrow_table()
    if form.endswith("parquet"):
        pyarrow.parquet.write_table(table, path, compression="zstd" if "zstd" in form else "none", row_group_size=2)
    elif form.endswith("feather"):
        pyarrow.feather.write_feather(table, str(path), compression="lz4" if "lz4" in form else "uncompressed")
    else:
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    plain = read(str(path))
    np.testing.assert_array_equal(plain.frames, NUMBERS)
    assert [remark.split("'")[1] for remark in plain.remarks] == ["cat", "when"]
    full = read(str(path), Options(time="when", categorical=("cat",), channels=("cat=off", "cat=on", "f8")))
    np.testing.assert_array_equal(full.frames, [[0, 1, 1.5], [NAN, NAN, NAN], [1, 0, -2.5]])
    assert full.times is not None
    np.testing.assert_array_equal(full.times, [0, 1, 3])


def test_missing_values_are_gaps(write: Write) -> None:
    """Whatever stands for them; true and false are 1 and 0."""
    recording = read(write("a,b\n1,true\n,false\nNA,1\nNaN,N/A\nnull,0\n 2 ,None\n"))
    expected = [[1, 1], [NAN, 0], [NAN, 1], [NAN, NAN], [NAN, 0], [2, NAN]]
    np.testing.assert_array_equal(recording.frames, expected)


@pytest.mark.parametrize(
    "content",
    [
        "a;b\n1,5;2\n-0,25;1e3\n",
        "sep=;\r\na;b\r\n1,5;2\r\n-0,25;1e3\r\n",
        "a\tb\n1,5\t2\n-0.25\t1e3\n".replace("-0.25", "-0,25"),
        "\ufeffa;b\n1,5;2\n\n-0,25;1e3\n",
        "a;b\n1,5;2\n-0,25;1e3\n".encode("utf-16"),
        "a,b\n1.5,2\n-0.25,1e3\n",
        "a,b\r1.5,2\r-0.25,1e3\r",
    ],
)
def test_spreadsheets_of_all_countries_are_read(write: Write, content: str | bytes) -> None:
    """Decimal commas, marks of bytes' order, blank lines and any line ends."""
    recording = read(write(content))
    np.testing.assert_array_equal(recording.frames, [[1.5, 2], [-0.25, 1000]])
    assert names(recording) == ["a", "b"]
    assert recording.remarks == ()


def test_commas_in_quotes_are_decimal_where_that_is_said(write: Write) -> None:
    """Between commas they may be thousands: the column is left out, unless an option says what they are."""
    name = write('a,b\n"1,500",1\n"2,5",2\n')
    assert names(read(name)) == ["b"]
    np.testing.assert_array_equal(read(name, Options(decimal=",")).frames, [[1.5, 1], [2.5, 2]])
    with pytest.raises(SourceError, match=r"points and commas in 'a'.*decimal"):
        read(write("a;b\n1,5;1\n2.5;2\n"))
    assert names(read(write("a,b\n1_000,1\n2,2\n"))) == ["b"]


def test_latin_1_is_read_and_said(write: Write) -> None:
    """Where it is no UTF-8, a heading is as it was meant."""
    recording = read(write("T [°C],µ\n1,2\n".encode("latin-1")))
    assert names(recording) == ["T [°C]", "µ"]
    assert any("Latin-1" in remark for remark in recording.remarks)


def test_units_stand_in_brackets(write: Write) -> None:
    """Round or square; a name without one has none."""
    recording = read(write("temp [degC],wind (m/s),f(x) y,none []\n1,2,3,4\n"))
    assert [(c.name, c.unit) for c in recording.channels] == [
        ("temp", "degC"),
        ("wind", "m/s"),
        ("f(x) y", None),
        ("none", None),
    ]


def test_columns_are_found_by_their_names(write: Write) -> None:
    """In the order that is asked for, with or without the unit; another order in the file is said."""
    name = write("x,temp [degC],wind (m/s),note\n1,2,3,a\n4,5,6,b\n")
    swapped = read(name, Options(channels=("wind", "temp [degC]")))
    np.testing.assert_array_equal(swapped.frames, [[3, 2], [6, 5]])
    assert any("another order" in remark for remark in swapped.remarks)
    assert read(name, Options(channels=("temp", "wind [m/s]"))).remarks == ()
    unsaid = read(name, Options(channels=("x [V]",))).remarks
    assert unsaid == ("Columns say no unit, and are taken for what is expected: 'x [V]'.",)
    assert names(read(name, Options(ignore=("x",)))) == ["temp [degC]", "wind [m/s]"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": ("temp", "rain")}, "no column 'rain', a channel that is expected; it has 'temp .degC.'"),
        ({"channels": ("temp [K]",)}, "has 'temp' in degC, expected K"),
        ({"channels": ("note",)}, "no numbers in 'note', a channel that is expected: 'a' in row 1"),
        ({"channels": ("temp", "temp [degC]")}, "twice"),
        ({"channels": ("note=a",)}, "has 'b' in 'note', which no channel stands for; expected 'a'"),
        ({"ignore": ("rain",)}, "no column 'rain'"),
        ({"time": "rain"}, "no column 'rain'"),
        ({"time": "temp", "channels": ("temp",)}, "'temp' of .* is wanted twice"),
        ({"categorical": ("note",), "channels": ("temp",)}, "channels name no value of it"),
        ({"time": "note"}, "no time in 'note' .'a' in row 1.: expected ISO 8601"),
        ({"key": "a"}, "no sequence 'a': no group is named"),
    ],
)
def test_what_is_wanted_and_not_there_is_told(write: Write, options: dict[str, object], message: str) -> None:
    """By the column's name."""
    with pytest.raises(SourceError, match=message):
        read(write("temp [degC],note\n2,a\n3,b\n"), Options(**options))


def test_a_stream_is_told_by_the_names_of_its_channels(write: Write) -> None:
    """Not by their numbers."""
    recording = read(write("temp [degC],wind (m/s)\n2.5,-3\n"))
    assert describer(recording).observed(recording.frames[0]) == "temp 2.5 wind -3"


def test_categories_are_a_channel_for_each_value(write: Write) -> None:
    """Where they are asked for, in the order of the values; a missing one is a gap in all; else they are left out."""
    name = write("state,x\non,1\noff,2\n,3\non,4\n")
    assert [remark.split("'")[1] for remark in read(name).remarks if "left out" in remark] == ["state"]
    recording = read(name, Options(categorical=("state",)))
    assert names(recording) == ["state=off", "state=on", "x"]
    np.testing.assert_array_equal(recording.frames, [[0, 1, 1], [1, 0, 2], [NAN, NAN, 3], [0, 1, 4]])
    other = read(write("x,state\n1,on\n"), Options(channels=tuple(names(recording))))
    np.testing.assert_array_equal(other.frames, [[0, 1, 1]])


@pytest.mark.parametrize(
    "times",
    [
        ["2024-05-01T12:00:00Z", "2024-05-01 14:00:01+02:00", "2024-05-01T12:00:01.5Z"],
        ["2024-05-01 12:00:00", "2024-05-01 12:00:01", "2024-05-01 12:00:01.500000"],
        ["1714564800", "1714564801", "1714564801.5"],
        ["1714564800000", "1714564801000", "1714564801500"],
        ["0", "1", "1.5"],
    ],
)
def test_times_are_seconds_from_the_first(write: Write, times: list[str]) -> None:
    """ISO 8601, seconds and thousandths since 1970, or any numbers; the time is no channel."""
    name = write("when,x\n" + "".join(f"{time},{i}\n" for i, time in enumerate(times)))
    recording = read(name, Options(time="when"))
    assert recording.times is not None
    np.testing.assert_allclose(recording.times, [0, 1, 1.5], atol=1e-6)
    assert names(recording) == ["x"]


def test_time_does_not_go_back(write: Write) -> None:
    """Rows of the same time, and uneven steps, are said and kept; a step back is refused, with its row."""
    with pytest.raises(SourceError, match="goes back in time: row 3 is 2 s before"):
        read(write("t,x\n1,1\n5,2\n3,3\n"), Options(time="t"))
    recording = read(write("t,x\n0,1\n1,2\n1,3\n2,4\n3,5\n9,6\n"), Options(time="t"))
    assert recording.remarks == (
        "1 rows are at the time of the row before.",
        "Steps of time are uneven: the median is 1 s, 40.0% of them are others; rows stay as they are.",
    )
    assert len(recording.frames) == 6
    for content in (
        "t,x\n0,1\n,2\n",
        "t,x\n2024-01-01,1\n2024-01-02T00:00Z,2\n",
        "t,x\n0,1\n2024-01-02,2\n",
        "t,x\n0,1\n1e300,2\n",
    ):
        with pytest.raises(SourceError, match="'t'"):
            read(write(content), Options(time="t"))


def test_rows_of_a_group_are_a_sequence(write: Write) -> None:
    """Also where they are mixed; each has its own time."""
    name = write("id,t,x\nb,5,1\na,0,2\nb,6,3\na,2,4\n")
    options = {"group": "id", "time": "t"}
    with pytest.raises(SourceError, match="several sequences, name one with --key: 'b', 'a'"):
        read(name, Options(**options))
    for key, frames, times in (("a", [[2], [4]], [0, 2]), ("b", [[1], [3]], [0, 1])):
        recording = read(name, Options(key=key, **options))
        np.testing.assert_array_equal(recording.frames, frames)
        np.testing.assert_array_equal(recording.times, times)
    with pytest.raises(SourceError, match="no sequence 'c': there are 'b', 'a'"):
        read(name, Options(key="c", **options))
    with pytest.raises(SourceError, match="no group in 'id', row 2"):
        read(write("id,x\na,1\n,2\n"), Options(group="id"))


def test_a_file_without_names_has_numbers_for_them(write: Write) -> None:
    """Where the first line is numbers, it is a row."""
    recording = read(write("1,2\n3,4\n"))
    np.testing.assert_array_equal(recording.frames, [[1, 2], [3, 4]])
    assert names(recording) == ["x0", "x1"]


def test_the_last_line_ends_or_is_left_out(write: Write) -> None:
    """What was cut may look whole: `open` leaves it out and says so, `whole` refuses it."""
    recording = read(write("a,b\n1,2\n3,45"))
    np.testing.assert_array_equal(recording.frames, [[1, 2]])
    assert any("last line does not end" in remark for remark in recording.remarks)
    with pytest.raises(SourceError, match="ends within a line"):
        read(write("a,b\n1,2\n3,45"), Options(ending="whole"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n", "1 cells in row 2, expected 2"),
        ("a,a\n1,2\n", "several columns 'a'"),
        ("a,b\n", "no rows"),
        ("\n\n", "no rows"),
        ("a,b\nx,y\n", "no column of numbers; it has 'a', 'b'"),
        ("a,b\n1,inf\n", "infinity in 'b', row 1"),
        ("a,b\n1,1e999\n", "infinity in 'b', row 1"),
        (b"a,b\n1,\x00\n", "zero bytes"),
        ('a,b\n1,"2\n', "damaged"),
        ('a,b\n1,"2"3\n', "damaged"),
        ("a\n" + "1" * 6_000_000, "longer than 1048576 characters"),
        ("a" * 2_000_000, "longer than 1048576 characters"),
        ('a\n"' + "1\n" * 2_000_000, "damaged|longer than"),
        ("\n".join(["a", *("1" * 1000 for _ in range(2))]) + "\n", "infinity"),
        (",".join(f"c{i}" for i in range(5000)) + "\n", "5000 columns, more than the 4096"),
        (",".join("1" for i in range(400_000)) + "\n", "400000 columns, more than the 4096"),
    ],
)
def test_what_is_no_table_is_one_error(write: Write, content: str | bytes, message: str) -> None:
    """That says what is wrong."""
    with pytest.raises(SourceError, match=message):
        read(write(content))


def test_limits_are_held_before_memory_is_taken(write: Write, tmp_path: Path) -> None:
    """Bytes and frames, of text and of what a footer claims."""
    name, path = write("a,b\n" + "1,2\n" * 100), str(tmp_path / "x.parquet")
    pyarrow.parquet.write_table(pa.table({"a": np.zeros(100)}), path)
    for each in (name, path):
        with pytest.raises(SourceError, match=r"claims \d+ bytes.*max_bytes"):
            read(each, Options(max_bytes=300))
        with pytest.raises(SourceError, match=r"claims 100 frames.*max_frames"):
            read(each, Options(max_frames=99))
        assert len(read(each, Options(max_frames=100)).frames) == 100


@pytest.mark.parametrize("form", ["parquet", "feather"])
def test_columns_of_no_numbers_are_not_read(tmp_path: Path, form: str) -> None:
    """They are named, with their types; where all are such, that is the error."""
    path = str(tmp_path / f"x.{form}")
    save = pyarrow.parquet.write_table if form == "parquet" else pyarrow.feather.write_feather
    table = pa.table({"note": ["a", "b"], "list": [[1], [2]], "x": [1, 2], "day": pa.array([1, 2], pa.date32())})
    save(table, path)
    recording = read(path)
    np.testing.assert_array_equal(recording.frames, [[1], [2]])
    assert [remark.split("'")[1] for remark in recording.remarks if "left out" in remark] == ["note", "list", "day"]
    dated = read(path, Options(time="day"))
    assert dated.times is not None
    np.testing.assert_array_equal(dated.times, [0, 86_400])
    save(table.select(["note", "list"]), path)
    with pytest.raises(SourceError, match="no column of numbers; it has 'note', 'list'"):
        read(path)


def test_an_archive_that_unfolds_is_refused_by_its_footer(tmp_path: Path) -> None:
    """A hundred million equal numbers are a small file."""
    path = tmp_path / "x.parquet"
    schema = pa.schema({"a": pa.float64()})
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for _ in range(12):
            writer.write_table(pa.table({"a": np.zeros(1_000_000)}, schema=schema))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(SourceError, match="claims 12000000 frames"):
        read(str(path))


@pytest.mark.parametrize("form", ["feather", "arrow"])
@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
def test_what_batches_become_is_counted_before_they_do(tmp_path: Path, form: str, compression: str | None) -> None:
    """A million equal numbers and a million equal labels, in a few kilobytes: twelve million bytes."""
    path = tmp_path / f"x.{form}"
    labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), ["on"])
    table = pa.table({"a": np.zeros(1_000_000), "b": labels})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    new = pa.ipc.new_file if form == "feather" else pa.ipc.new_stream
    with new(path, table.schema, options=options) as file:
        file.write_table(table, max_chunksize=300_000)
    assert (path.stat().st_size < 1 << 17) == (compression is not None)
    with pytest.raises(
        SourceError, match=r"x\.\w+ cannot be read: it claims \d+ bytes once decoded, more than the 11900000"
    ):
        read(str(path), Options(max_bytes=11_900_000))
    assert read(str(path), Options(max_bytes=16_000_000)).frames.shape == (1_000_000, 1)


def test_a_footer_agrees_with_its_file(tmp_path: Path) -> None:
    """One of another file, which has a batch less, is refused."""
    files = []
    for count in (2, 3):
        path = tmp_path / f"{count}.arrow"
        with pa.ipc.new_file(path, pa.schema({"a": pa.int8()})) as file:
            for i in range(count):
                file.write_table(pa.table({"a": pa.array([i], pa.int8())}))
        files.append(path.read_bytes())
    end = int.from_bytes(files[0][-10:-6], "little") + 10
    (tmp_path / "x.arrow").write_bytes(files[1][: -(int.from_bytes(files[1][-10:-6], "little") + 10)] + files[0][-end:])
    with pytest.raises(SourceError, match="its footer says 2 batches, 3 are there"):
        read(str(tmp_path / "x.arrow"))


def test_without_pyarrow_only_csv_is_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra."""

    name = write(b"PAR1", "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"avf\[tables\]"):
        tables.read(name, Options())
    assert read(write("a\n1\n")).frames.shape == (1, 1)
