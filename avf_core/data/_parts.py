"""Which part of a data set is held out: a function of names, the same on every machine and in every run.

The law: whole groups (speakers, folders, files) are held out. Groups are ordered by the SHA-256 of their names, and
the first of them are taken, so that the choice has nothing to do with what the names mean.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from avf_core.data.base import TEST, TRAIN, VALID
from avf_core.errors import ConfigurationError, DataError

SUB_FOLDERS = {"train": TRAIN, "valid": VALID, "val": VALID, "validation": VALID, "dev": VALID, "test": TEST}
MOST_FILES = 1_000_000

Item = TypeVar("Item")


def check_fractions(**fractions: float) -> None:
    """Raise ConfigurationError unless these are fractions that leave something."""
    for name, value in fractions.items():
        if not 0.0 <= value < 1.0:
            raise ConfigurationError(f"{name} is {value}, expected within [0, 1)")
    if sum(fractions.values()) >= 1.0:
        raise ConfigurationError(f"{' and '.join(fractions)} leave nothing to train on: expected a sum below 1")


def held_out(groups: Iterable[str], *fractions: float) -> list[set[str]]:
    """For each fraction the groups it gets, at least one where the fraction is above 0; no group twice."""
    ordered = sorted(set(groups), key=lambda name: hashlib.sha256(name.encode()).digest())
    parts, start = [], 0
    for fraction in fractions:
        count = max(1, round(fraction * len(ordered))) if fraction else 0
        parts.append(set(ordered[start : start + count]))
        start += count
    return parts


def split_by(items: list[Item], group: Callable[[Item], str], **fractions: float) -> dict[str, list[Item]]:
    """The items of each split: those of whole groups for each of `fractions` (by split), the rest for train."""
    parts = dict(zip(fractions, held_out(map(group, items), *fractions.values()), strict=True))
    splits = {name: [item for item in items if group(item) in chosen] for name, chosen in parts.items()}
    away = {name for chosen in parts.values() for name in chosen}
    return {TRAIN: [item for item in items if group(item) not in away], **splits}


def files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """The files below a folder with these endings, in either case, in the order of their paths."""
    wanted = {suffix.lower() for suffix in suffixes}
    found = []
    for path in folder.rglob("*"):
        if path.suffix.lower() in wanted and path.is_file() and not path.name.startswith("."):
            found.append(path)
        if len(found) > MOST_FILES:
            raise DataError(f"{folder} has more than {MOST_FILES} files: expected the folder of a data set")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def has_file(folder: Path, suffixes: Iterable[str]) -> bool:
    """Whether there is a file with one of these endings below a folder; stops at the first."""
    wanted = {suffix.lower() for suffix in suffixes}
    return any(p.suffix.lower() in wanted and p.is_file() for p in folder.rglob("*") if not p.name.startswith("."))


def files_by_split(
    path: Path, suffixes: Iterable[str], *, valid: float, test: float, whole_folders: bool = False
) -> dict[str, list[Path]]:
    """The files of each split: by sub-folders named after splits where there are such, else by the files' names.

    A single file is a test split. With `whole_folders`, the files of a folder stay together. Raises DataError where
    there are no such files, or too few to split.
    """
    if path.is_file():
        return {TEST: [path]}
    found = files(path, suffixes)
    if not found:
        raise DataError(f"{path} has no files ending in {', '.join(sorted(suffixes))}")
    named: dict[str, list[Path]] = {}
    for file in found:
        split = SUB_FOLDERS.get(file.relative_to(path).parts[0].lower())
        if split and len(file.relative_to(path).parts) > 1:
            named.setdefault(split, []).append(file)
    if named:
        return {split: named[split] for split in (TRAIN, VALID, TEST) if split in named}

    def group(file: Path) -> str:
        return (file.relative_to(path).parent if whole_folders else file.relative_to(path)).as_posix()

    splits = split_by(found, group, **{VALID: valid, TEST: test})
    if not splits[TRAIN]:
        what = "folders" if whole_folders else "files"
        raise DataError(
            f"{path} has {len(set(map(group, found)))} {what}, too few to hold some out for valid and test: "
            "add more, or sort them into sub-folders train, valid and test"
        )
    return {split: chosen for split, chosen in splits.items() if chosen}
