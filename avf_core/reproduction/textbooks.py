"""What textbooks and codecs need for the data of a table: those that its group names, and those that were measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avf_core.reproduction import measurements
from avf_core.reproduction.entries import Group

FILE = "textbooks.json"
COMMAND = "python -m benchmarks.codecs --json"


def rows(results: Path) -> list[dict[str, Any]]:
    """What `python -m benchmarks.codecs --json` found: `data`, `split`, `by` and `nats per step` of each."""
    path = results / FILE
    found = measurements.read(path, ("rows",), COMMAND)["rows"] if path.exists() else []
    return list(found)


def of(about: Group, data: str, split: str, known: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Names and nats per step for a split, the fewest first."""
    there = [row for row in known if (row["data"], row["split"]) == (data, split)]
    measured = [(str(row["by"]), float(row["nats per step"])) for row in there]
    return sorted([*about.floors, *measured], key=lambda floor: floor[1])
