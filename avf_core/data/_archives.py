"""Arrays of .npz and .npy files, by the reader of users' files: no pickle, and no more than is there."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from avf_sources import SourceError, _npy

from avf_core.data._limits import Limits
from avf_core.data.base import existing
from avf_core.errors import DataError


def names(path: Path) -> list[str]:
    """The names of the arrays of an .npz, "" for the array of an .npy. Raises DataError."""
    existing(path, "an .npz or .npy file")
    with _told():
        return _npy.names(path)


def shapes(path: Path, limits: Limits) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's arrays by name, from their headers. Raises DataError."""
    with _told():
        return {name: one.shape for name, one in _npy.headers(path, names(path), limits.of_source).items()}


def read(path: Path, wanted: Collection[str], limits: Limits) -> dict[str, np.ndarray]:
    """The arrays of these names. Raises DataError where one is missing, truncated, too large, or pickled."""
    there = names(path)
    missing = sorted(set(wanted) - set(there))
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}; it has {', '.join(there)}")
    with _told():
        return {name: _npy.read(path, name, limits.of_source) for name in wanted}


@contextmanager
def _told() -> Iterator[None]:
    """The reader's errors in the library's terms."""
    try:
        yield
    except SourceError as error:
        raise DataError(str(error)) from error
