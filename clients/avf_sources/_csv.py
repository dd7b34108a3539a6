"""Delimited text: CSV and TSV as spreadsheets, loggers and libraries write them; what delimits is found, then kept to.

The law: every row has as many cells as the first, or the error says which has not. A line, a record and the file are
bounded before they are held. A last line without its end may be a part of one: it is never taken for a whole one.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from avf_sources import Decimal, Options, SourceError
from avf_sources._cells import Cells, Numbers, cells
from avf_sources._channels import place
from avf_sources._columns import Table, roles

MOST_RECORD = 1 << 20
"""Characters of a row."""
_DELIMITERS = ("\t", ";", ",")
_MOST_UTF8 = 4  # bytes of a character
_SAMPLE_ROWS, _SAMPLE = 20, 1 << 16
_BLOCK_CELLS = 1 << 16
_CHUNK = 1 << 20
_NUMBER_BYTES = 8


class _Rows:
    """The rows of a file that hold anything, each within bounds; `whole` is False once the last had no end."""

    def __init__(self, name: str, stream: TextIO, delimiter: str) -> None:
        self._name, self._stream, self._delimiter = name, stream, delimiter
        self._record, self.whole = 0, True

    def __iter__(self) -> Iterator[list[str]]:
        for row in csv.reader(self._lines(), delimiter=self._delimiter, strict=True):
            self._record = 0
            if not self.whole:
                return
            if row:
                yield row

    def _lines(self) -> Iterator[str]:
        while line := self._stream.readline(MOST_RECORD + 1):
            self._record += len(line)
            if self._record > MOST_RECORD:
                raise _too_long(self._name)
            self.whole = line[-1] in "\r\n"
            yield line


def read(name: str, path: Path, options: Options) -> Table:
    """The columns of a file. Raises SourceError."""
    encoding, remarks = _encoding(name, path, options)
    with _told(name), path.open(encoding=encoding, newline="") as stream:
        delimiter = _delimiter(stream)
        decimal = options.decimal or ("." if delimiter == "," else None)
        rows = _Rows(name, stream, delimiter)
        table = _table(name, rows, options, decimal)
    if not rows.whole:
        if options.ending == "whole":
            raise SourceError(
                f"{name} ends within a line: was it copied completely? End its last line, or leave it out by "
                "ending 'open'"
            )
        remarks.append("The last line does not end: it may be a part of one, and is left out.")
    return Table(headings=table.headings, columns=table.columns, rows=table.rows, remarks=(*remarks, *table.remarks))


def _table(name: str, rows: _Rows, options: Options, decimal: Decimal | None) -> Table:
    each = iter(rows)
    first = next(each, None)
    if first is None:
        raise SourceError(f"{name} has no rows: expected a line of names, then a line a row, each with its end")
    unnamed = _numbers(name, first, decimal)
    headings = tuple(f"x{i}" for i in range(len(first))) if unnamed else tuple(cell.strip() for cell in first)
    takers = _takers(name, headings, options, decimal)
    count, block = 0, [first] if unnamed else []
    while True:
        block += islice(each, max(1, _BLOCK_CELLS // len(headings)))
        if not block:
            break
        _check_rows(name, block, count, len(headings))
        count += len(block)
        options.check_frames(name, count)
        options.check_bytes(name, count * len(takers) * _NUMBER_BYTES)
        by_column = list(zip(*block, strict=True))
        for i, taker in takers.items():
            taker.add(by_column[i])
        block = []
    if not count:
        raise SourceError(f"{name} has names of columns, and no rows: expected a line a row, each with its end")
    said = (f"The first line is numbers: columns have no names, they are x0 to x{len(first) - 1}.",)
    return Table(
        headings=headings,
        columns={i: taker.column() for i, taker in takers.items()},
        rows=count,
        remarks=said if unnamed else (),
    )


def _takers(name: str, headings: tuple[str, ...], options: Options, decimal: Decimal | None) -> dict[int, Cells]:
    """What takes the cells of each column that is wanted."""
    group = None if options.group is None else place(name, headings, options.group)
    found = {}
    for i, role in enumerate(roles(name, headings, options)):
        if (taker := cells(name, headings[i], role, decimal=decimal, group=i == group)) is not None:
            found[i] = taker
    return found


def _check_rows(name: str, block: list[list[str]], before: int, width: int) -> None:
    for number, row in enumerate(block, before + 1):
        if len(row) != width:
            raise SourceError(
                f"{name} has {len(row)} cells in row {number}, expected {width} as in the first line: put cells that "
                "hold a delimiter in quotes"
            )


def _numbers(name: str, row: list[str], decimal: Decimal | None) -> bool:
    """Whether a first line names no columns."""
    if not any(cell.strip() for cell in row):
        return False
    for cell in row:
        probe = Numbers(name, "x", decimal)
        probe.add([cell])
        if probe.column().text is not None:
            return False
    return True


def _delimiter(stream: TextIO) -> str:
    """What stands between cells: the first of those that cut all the first lines alike. Leaves the stream after it."""
    sample = stream.read(_SAMPLE)
    stream.seek(0)
    if sample[:4].lower() == "sep=" and sample[4:5] in _DELIMITERS:
        stream.readline(_SAMPLE)
        return sample[4]
    lines = sample.splitlines(keepends=True)
    text = "".join(lines[:-1] if len(lines) > 1 else lines)
    widths = {each: _widths(text, each) for each in _DELIMITERS}
    alike = [each for each, found in widths.items() if len(set(found)) == 1]
    several = [each for each in alike if widths[each][0] > 1]
    return (several or alike or [max(_DELIMITERS, key=lambda each: max(widths[each][:1], default=0))])[0]


def _widths(text: str, delimiter: str) -> list[int]:
    try:
        return [
            len(row)
            for row in islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), _SAMPLE_ROWS)
            if row
        ]
    except csv.Error:
        return []


def _encoding(name: str, path: Path, options: Options) -> tuple[str, list[str]]:
    """UTF-8, UTF-16 where its mark says so, or Latin-1, which is said."""
    options.check_bytes(name, path.stat().st_size)
    decoder = codecs.getincrementaldecoder("utf-8")()
    found = "utf-8-sig"
    remarks: list[str] = []
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16", []
        file.seek(0)
        line = 0
        while chunk := file.read(_CHUNK):
            ends = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
            line = line + len(chunk) if ends < 0 else len(chunk) - ends
            if line > _MOST_UTF8 * MOST_RECORD:
                raise _too_long(name)
            if 0 in chunk:
                raise SourceError(f"{name} cannot be read: it holds zero bytes. Export it again as CSV in UTF-8")
            try:
                if not remarks:
                    decoder.decode(chunk)
            except UnicodeDecodeError:
                found, remarks = "latin-1", ["The file is not in UTF-8: it is read as Latin-1."]
    return found, remarks


def _too_long(name: str) -> SourceError:
    return SourceError(
        f"{name} cannot be read as a table: a row is longer than {MOST_RECORD} characters; is it text, a line a row?"
    )


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What the csv module and the decoders raise of a damaged file, as a SourceError."""
    try:
        yield
    except (csv.Error, UnicodeError, OSError) as error:
        raise SourceError(
            f"{name} cannot be read as CSV, it is damaged ({error}); was it copied completely?"
        ) from error
