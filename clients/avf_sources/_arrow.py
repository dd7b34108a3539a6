"""Parquet and Feather (Arrow IPC) by pyarrow, a batch of rows at a time.

The law: what a footer claims is held against the limits before rows are read, and every batch of Arrow's is validated
before its memory is looked at. Numbers are of any real kind, decimals and booleans too; dates and stamps are times.
"""

import importlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from avf_sources import MissingExtra, Options, SourceError, _ipc
from avf_sources._cells import Times
from avf_sources._channels import place
from avf_sources._columns import Array, Column, Role, Table, check_labels, roles

_BATCH_CELLS = 1 << 18
_NUMBER_BYTES = 8
_MOST_FOOTER, _MOST_CONTAINER = 1 << 24, 1 << 20
_BROKEN = (
    ValueError,
    OSError,
    MemoryError,
    LookupError,
    OverflowError,
    TypeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_DAY = 86_400.0


def read(name: str, path: Path, options: Options) -> Table:
    """The columns of a file. Raises SourceError, and MissingExtra."""
    pa = _library("pyarrow")
    options.check_bytes(name, path.stat().st_size)
    with _told(name, pa):
        opened = _parquet if path.suffix.lower() == ".parquet" else _arrow
        with path.open("rb") as file:
            schema, batches = opened(name, file, options)
            headings = tuple(field.name for field in schema)
            group = None if options.group is None else place(name, headings, options.group)
            wanted = {i: role for i, role in enumerate(roles(name, headings, options)) if role != "nothing"}
            held = [i for i, role in wanted.items() if role != "numbers" or _may_be_read(pa, schema.field(i).type)]
            parts: dict[int, list[Any]] = {i: [] for i in held or [*wanted][:1]}
            rows = 0
            for batch in batches(list(parts)):
                rows += batch.num_rows
                options.check_frames(name, rows)
                options.check_bytes(name, rows * len(parts) * _NUMBER_BYTES)
                batch.validate(full=True)
                for i in parts:
                    parts[i].append(batch.column(batch.schema.get_field_index(headings[i])))
            columns = {}
            for i, role in wanted.items():
                values = pa.chunked_array(parts.get(i, []), schema.field(i).type)
                columns[i] = _column(pa, name, headings[i], role, values, group=i == group)
    if not rows:
        raise SourceError(f"{name} has no rows")
    return Table(headings=headings, columns=columns, rows=rows)


def _parquet(name: str, file: Any, options: Options) -> tuple[Any, Any]:
    """The schema of a Parquet file, and what gives its batches of the columns at these places."""
    opened = _library("pyarrow.parquet").ParquetFile(
        file, thrift_string_size_limit=_MOST_FOOTER, thrift_container_size_limit=_MOST_CONTAINER
    )
    claimed, schema = opened.metadata, opened.schema_arrow
    options.check_frames(name, claimed.num_rows)
    options.check_bytes(name, sum(max(0, claimed.row_group(i).total_byte_size) for i in range(claimed.num_row_groups)))

    def batches(wanted: list[int]) -> Iterator[Any]:
        names = [schema.field(i).name for i in wanted]
        size = max(1, _BATCH_CELLS // max(1, len(names)))
        found: Iterator[Any] = opened.iter_batches(batch_size=size, columns=names, use_threads=False)
        return found

    return schema, batches


def _arrow(name: str, file: Any, options: Options) -> tuple[Any, Any]:
    """The same of an Arrow file, or of a stream of Arrow's in a file."""
    ipc = _library("pyarrow.ipc")
    schema = _ipc.schema(ipc, name, file, options)

    def batches(wanted: list[int]) -> Iterator[Any]:
        return _ipc.batches(ipc, file, wanted)

    return schema, batches


def _column(pa: Any, name: str, heading: str, role: Role, values: Any, *, group: bool) -> Column:
    """A column of Arrow's as this folder has them."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if role == "labels":
        return _labels(pa, name, heading, values, group=group)
    if role == "times" and _is_text(pa, values.type):
        times = Times(name, heading, None)
        times.add([each or "" for each in values.to_pylist()])
        return times.column()
    scale = _scale(pa, values.type)
    if role == "times" and scale is not None:
        return Column(heading=heading, values=_floats(pa, _whole(pa, values)) * scale)
    if not _is_number(pa, values.type):
        if role == "times":
            raise SourceError(f"{name} has no times in {heading!r}: it is of type {values.type}")
        hint = "it may be the time" if scale is not None else f"it is of type {values.type}"
        return Column(heading=heading, values=np.zeros(0), text=hint)
    return Column(heading=heading, values=_floats(pa, values))


def _labels(pa: Any, name: str, heading: str, values: Any, *, group: bool) -> Column:
    encoded = pa.concat_arrays(values.cast(pa.large_string()).chunks or [pa.array([], pa.large_string())])
    encoded = encoded.dictionary_encode()
    labels = tuple(str(each) for each in encoded.dictionary.to_pylist())
    if not group:
        check_labels(name, heading, len(labels))
    return Column(heading=heading, values=_floats(pa, encoded.indices), labels=labels)


def _floats(pa: Any, values: Any) -> Array:
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    found: Array = np.array(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    return found


def _whole(pa: Any, values: Any) -> Any:
    """Dates, time stamps, times of day and durations as the integers that they are."""
    return values.cast(pa.int32() if values.type.bit_width == 32 else pa.int64())


def _scale(pa: Any, kind: Any) -> float | None:
    """The seconds of one unit of a type of times; None for other types."""
    if pa.types.is_date(kind):
        return _DAY if pa.types.is_date32(kind) else _UNITS["ms"]
    return _UNITS[kind.unit] if pa.types.is_temporal(kind) and hasattr(kind, "unit") else None


def _is_number(pa: Any, kind: Any) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    return any(test(kind) for test in tests)


def _may_be_read(pa: Any, kind: Any) -> bool:
    """Whether a column of this type has numbers; others are not even unpacked."""
    return _is_number(pa, kind.value_type if pa.types.is_dictionary(kind) else kind)


def _is_text(pa: Any, kind: Any) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


@contextmanager
def _told(name: str, pa: Any) -> Iterator[None]:
    """What pyarrow raises of a damaged file, as a SourceError."""
    try:
        yield
    except SourceError:
        raise
    except (pa.ArrowException, *_BROKEN) as error:
        detail = (str(error) or type(error).__name__).splitlines()[0][:300]
        raise SourceError(
            f"{name} cannot be read as Parquet or Arrow, it is damaged ({detail}); was it copied completely?"
        ) from error


def _library(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra("reading Parquet and Feather", "tables") from error
