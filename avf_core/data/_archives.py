"""Arrays of .npz and .npy files: no pickle, and nothing is read that claims more than it can hold."""

import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from avf_core.data.base import existing
from avf_core.errors import DataError

BROKEN = (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
MOST_BYTES = 8 << 30
"""Of one array; a file that claims more is damaged, or too large for memory."""


@runtime_checkable
class Readable(Protocol):
    """An open file, or a member of an archive."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        ...


def names(path: Path) -> list[str]:
    """The names of the arrays of an .npz, "" for the array of an .npy. Raises DataError."""
    existing(path, "an .npz or .npy file")
    if path.suffix.lower() == ".npy":
        return [""]
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no complete .npz: {error}; was it copied completely?") from error


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's arrays by name, from their headers. Raises DataError."""
    return {name: shape for name, (shape, _) in _headers(path, names(path)).items()}


def read(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of these names. Raises DataError where one is missing, truncated, too large, or pickled."""
    there = names(path)
    missing = sorted(set(wanted) - set(there))
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}; it has {', '.join(there)}")
    _headers(path, wanted)
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            with loaded as archive:
                return {name: archive[name] for name in wanted}
    except BROKEN as error:
        raise DataError(f"{path} is damaged: {error}; was it copied completely?") from error


def _headers(path: Path, wanted: Collection[str]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shapes and types; the numbers that a header claims must be in the file."""
    found = {}
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return {"": _header(file, path, path.stat().st_size)}
        with zipfile.ZipFile(path) as archive:
            for name in wanted:
                info = archive.getinfo(f"{name}.npy")
                with archive.open(info) as member:
                    found[name] = _header(member, path, info.file_size)
    except BROKEN as error:
        raise DataError(f"{path} is damaged: {error}; was it copied completely?") from error
    return found


def _header(file: Readable, path: Path, size: int) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > min(size, MOST_BYTES) and not dtype.hasobject:
        raise DataError(
            f"{path} claims an array of {dtype} {shape}, {claimed} bytes, of which {size} are there "
            f"(at most {MOST_BYTES} are read): it is damaged, or was not copied completely"
        )
    return shape, dtype
