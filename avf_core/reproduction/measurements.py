"""Records of measurements beside those of runs: a folder of docs/results for each kind, a JSON file a record.

The law: a file that is none is refused by its name, with what is wrong and what writes it again; a page is never
written from a part of its records.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import avf_sources

from avf_core.errors import TrainingError
from avf_core.training.model_card import readable


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind: its folder, what each record of it says, and the command that writes one."""

    folder: str
    keys: tuple[str, ...]
    command: str

    def load(self, results: Path) -> list[dict[str, Any]]:
        """The records, by name. Raises TrainingError for a file that is none."""
        return [self.read(path) for path in sorted((results / self.folder).glob("*.json"))]

    def read(self, path: Path) -> dict[str, Any]:
        """The record of a file. Raises TrainingError for one that is none."""
        return read(path, self.keys, self.command)

    def write(self, path: Path, record: Mapping[str, Any]) -> None:
        """Write a record in one move."""
        avf_sources.make_folder(path.parent)
        avf_sources.replace_file(path, readable(record) + "\n")


def read(path: Path, keys: tuple[str, ...], command: str) -> dict[str, Any]:
    """The JSON object of a file that says all of these. Raises TrainingError for another, or where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        wrong = _lacking(found, keys)
    except (OSError, ValueError) as error:
        found, wrong = {}, f"it is damaged ({error})"
    if wrong:
        raise TrainingError(f"{path} is no record: {wrong}; delete it, and write it again: {command}")
    return dict(found)


def _lacking(found: Any, keys: tuple[str, ...]) -> str:
    """What is wrong with what was read; nothing where it is a record."""
    if not isinstance(found, dict):
        return f"it holds {type(found).__name__}, expected an object"
    missing = [key for key in keys if key not in found]
    return f"it lacks {', '.join(missing)}" if missing else ""
