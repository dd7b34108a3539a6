"""Folders of single files, one sequence a file: which files are of a kind, and how they are split.

What the folders of sounds and of scores share; a file of its own is a data set too, with nothing but a test split.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from avf_core.data import _parts
from avf_core.data._limits import Limits
from avf_core.data.base import Split, existing


@dataclass(frozen=True, kw_only=True)
class Parts(Limits):
    """The fractions held out where there are no sub-folders of these names, of files or of folders (`whole`)."""

    valid: float = 0.1
    test: float = 0.1
    whole: Literal["file", "folder"] = "file"

    def __post_init__(self) -> None:
        super().__post_init__()
        _parts.check_fractions(valid=self.valid, test=self.test)


def recognises(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether this is a file with one of these endings, or a folder with one somewhere below it."""
    if path.is_dir():
        return _parts.has_file(path, suffixes)
    return path.suffix.lower() in suffixes and path.is_file()


def survey(
    path: Path, suffixes: tuple[str, ...], parts: Parts, *, what: str, read: Callable[[Path], np.ndarray]
) -> dict[str, Split]:
    """The splits of a folder of files, each read by `read`; `what` names such a file in errors.

    Raises DataError where there are no files, or too few to split.
    """
    if not path.is_dir():
        existing(path, f"{what}, or of a folder of them")
    files = _parts.files_by_split(
        path, suffixes, valid=parts.valid, test=parts.test, whole_folders=parts.whole == "folder"
    )

    def read_all(chosen: list[Path]) -> Iterator[np.ndarray]:
        return map(read, chosen)

    return {name: Split(sequences=len(chosen), read=partial(read_all, chosen)) for name, chosen in files.items()}
