"""The streams of the Numenta Anomaly Benchmark, as they lie in a folder: `data/*/*.csv` and `windows.json`.

The law: nothing of a stream is known before its rows have come, but for the rows of its probation.
"""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PROBATION, MOST_PROBATION = 0.15, 750  # of the rows of a stream, and at most so many rows

Window = tuple[int, int]
"""The first and the last row of an anomaly."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One number a row, at times in seconds since 1970; `windows` are the anomalies, in order."""

    name: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    windows: tuple[Window, ...]

    @property
    def probation(self) -> int:
        """How many rows count for nothing, and may be learned from."""
        return min(int(PROBATION * len(self.values)), MOST_PROBATION)

    @property
    def held_out(self) -> bool:
        """Whether it is of the half that no setting was chosen by: by the digest of its name."""
        return hashlib.sha256(self.name.encode()).digest()[-1] % 2 == 1


def read(folder: Path) -> list[Stream]:
    """All streams of the corpus in this folder, by name. Raises FileNotFoundError where there is none."""
    marked = json.loads((folder / "windows.json").read_text(encoding="utf-8"))
    found = [_stream(path, marked) for path in sorted((folder / "data").glob("*/*.csv"))]
    if not found:
        raise FileNotFoundError(f"{folder / 'data'} holds no folder of CSV files: give the folder of the corpus")
    return found


def _stream(path: Path, marked: Mapping[str, list[list[str]]]) -> Stream:
    name = f"{path.parent.name}/{path.name}"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    times = np.array([_time(row["timestamp"]) for row in rows])
    inside = [np.nonzero((times >= _time(a)) & (times <= _time(b)))[0] for a, b in marked.get(name, [])]
    return Stream(
        name=name,
        times=times,
        values=np.array([float(row["value"]) for row in rows]),
        windows=tuple((int(rows[0]), int(rows[-1])) for rows in inside if len(rows)),
    )


def _time(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
