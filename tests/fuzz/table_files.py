"""Tables that are almost right: cells, lines and delimiters of text changed, and bytes and footers of Arrow's files."""

import io
from contextlib import suppress
from functools import cache
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from avf_sources import Options, SourceError, read

from avf_core import data
from avf_core.errors import DataError
from tests.fuzz.mutation import spoil
from tests.fuzz.numeric_files import WORDS
from tests.fuzz.readers import Kind

CELLS: tuple[bytes, ...] = (
    b"",
    b"NA",
    b'"',
    b'""',
    b"1e999",
    b"-1e999",
    b"nan",
    b"1,5",
    b"1_0",
    b"0x10",
    b"abc",
    b"\xff",
    b"\x00",
    b"9" * 400,
)
CELLS += (
    b"2024-05-01T00:00:00Z",
    b"2024-13-01",
    b"99999999999999999999",
    b"a" * 200_000,
    b",",
    b";",
    b"\t",
    b"\r",
    b"x=on",
)
FOOTER = 600  # bytes at the end, in which most changes of Arrow's files are made


@cache
def tables() -> dict[str, bytes]:
    """A file of each form, as Python and pyarrow write it."""
    x = np.random.default_rng(0).normal(size=(40, 3))
    lines = [f"2024-05-01T00:00:{i:02d}Z,{'on' if i % 3 else 'off'},{a:.3f},{b:.3f}" for i, (a, b, _) in enumerate(x)]
    text = "\n".join(["when,state,temp [degC],wind (m/s)", *lines, ""])
    whole = {
        "when": pa.array(range(40), pa.timestamp("s")),
        "state": pa.array(["on", "off"] * 20).dictionary_encode(),
        "temp [degC]": pa.array([None, *x[1:, 0]]),
        "count": pa.array(range(40), pa.int16()),
        "text": pa.array([f"no {i}" for i in range(40)]),
        "list": pa.array([[i] for i in range(40)]),
    }
    table = pa.table(whole)
    return {
        "a.csv": text.encode(),
        "b.csv": text.replace(",", ";").replace(".", ",").encode("utf-16"),
        "c.tsv": text.replace(",", "\t").replace("temp", "t\xe9mp").encode("latin-1"),
        "d.parquet": _written(lambda file: pyarrow.parquet.write_table(table, file, compression="snappy")),
        "e.parquet": _written(
            lambda file: pyarrow.parquet.write_table(table, file, compression="zstd", row_group_size=7)
        ),
        "f.feather": _written(lambda file: pyarrow.feather.write_feather(table, file, compression="lz4")),
        "g.feather": _written(lambda file: pyarrow.feather.write_feather(table, file, compression="uncompressed")),
        "h.arrow": _written(lambda file: _stream(file, table)),
    }


def change_table(random: Random, name: str, content: bytes) -> bytes:
    """Cells and lines of text; of Arrow's files bytes, and words, most of them in the footer."""
    if random.random() < 0.2:
        return spoil(random, content)
    if not name.endswith(("csv", "tsv")):
        return _words(random, content)
    if name == "b.csv":
        return _cells(random, content.decode("utf-16").encode()).decode("utf-8", "replace").encode("utf-16")
    return _cells(random, content)


def read_table(path: str, random: Random) -> object:
    """As a stream, with any option; where that is refused, as a data set and as a stream, with none."""
    options: dict[str, object] = {}
    if random.random() < 0.5:
        options["time"] = random.choice(("when", "temp", "state"))
    if random.random() < 0.3:
        options["categorical"] = ("state",)
    elif random.random() < 0.3:
        options |= {"group": "state", "key": random.choice(("on", "off"))}
    elif random.random() < 0.3:
        options["channels"] = random.choice((("temp",), ("state=on", "state=off"), ("temp [K]",)))
    with suppress(SourceError):
        return read(path, Options(ending=random.choice(("whole", "open", "cut")), **options))  # type: ignore[arg-type]
    with suppress(DataError):
        for split in data.describe(path, kind="tables").splits:
            data.load(path, split, kind="tables")
    return read(path)


TABLES = Kind(name="tables", valid=tables, spoil=change_table, read=read_table)


def _cells(random: Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(lines))
        for delimiter in (b"\t", b";", b","):
            cells = lines[at].split(delimiter)
            if len(cells) > 1:
                cells[random.randrange(len(cells))] = random.choice(CELLS)
                lines[at] = delimiter.join(cells * random.choice((1, 1, 1, 1, 3, 3000)))
                break
        if random.random() < 0.2:
            lines[at] = lines[random.randrange(len(lines))]
    return b"\n".join(lines)


def _words(random: Random, content: bytes) -> bytes:
    """Words of any place, most of them near the end; and files that were cut."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 3)):
        first = max(0, len(changed) - FOOTER) if random.random() < 0.6 else 0
        size = random.choice((1, 1, 2, 4, 8))
        at = random.randrange(first, len(changed) - size)
        changed[at : at + size] = (random.choice(WORDS) & (1 << 8 * size) - 1).to_bytes(size, "little")
    if random.random() < 0.05:
        del changed[random.randrange(1, len(changed)) :]
    return bytes(changed)


def _written(write: object) -> bytes:
    file = io.BytesIO()
    write(file)  # type: ignore[operator]
    return file.getvalue()


def _stream(file: io.BytesIO, table: pa.Table) -> None:
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
