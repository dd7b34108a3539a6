"""Numpy's `.npy` and `.npz`: no pickle, and nothing is read that claims more than is there, or than the limits allow.

The law: a header is held against the file before memory is taken. A member of an archive may not expand further than
its compression can: deflate, which numpy writes, makes at most 1032 bytes of one.
"""

import io
import lzma
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from avf_sources._errors import SourceError
from avf_sources._limits import Limits

MOST_EXPANSION = 1032
MOST_HEADER_BYTES = 10_000  # what numpy reads of a header without being told to trust it
MOST_ARRAYS = 10_000
_CHUNK = 1 << 20
_BROKEN = (
    *(KeyError, ValueError, TypeError, IndexError, OSError, EOFError, SyntaxError, MemoryError, OverflowError),
    *(
        NotImplementedError,
        RuntimeError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
        tokenize.TokenError,
        lzma.LZMAError,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an array claims to be."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    @property
    def bytes(self) -> int:
        """Of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def names(path: Path) -> list[str]:
    """The names of the arrays of an `.npz`, "" for the array of an `.npy`. Raises SourceError."""
    with _told(path):
        with path.open("rb") as file:
            if not file.read(4).startswith(b"PK"):
                return [""]
        with zipfile.ZipFile(path) as archive:
            found = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if not 0 < len(found) <= MOST_ARRAYS:
            raise ValueError(f"it has {len(found)} arrays, expected 1 to {MOST_ARRAYS}")
        return found


def headers(path: Path, wanted: Collection[str], limits: Limits) -> dict[str, Header]:
    """What these arrays claim to be; what they claim is there, and within the limits. Raises SourceError."""
    found = {}
    for name in wanted:
        with _told(path), _member(path, name) as (stream, size):
            found[name] = _header(path, stream, size, limits)
    return found


def read(path: Path, name: str, limits: Limits) -> np.ndarray:
    """The array of this name. Raises SourceError where it is damaged, too large, or of pickled objects."""
    with _told(path), _member(path, name) as (stream, size):
        header = _header(path, stream, size, limits)
        numbers = bytearray(header.bytes)
        _fill(stream, memoryview(numbers))
        return np.ndarray(header.shape, header.dtype, buffer=numbers, order="F" if header.fortran else "C")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the libraries raise of a damaged file, as a SourceError."""
    try:
        yield
    except SourceError:
        raise
    except _BROKEN as error:
        detail = str(error) or type(error).__name__
        raise SourceError(
            f"{path} cannot be read as numpy's {path.suffix}, it is damaged ({detail}); was it copied completely?"
        ) from error


@contextmanager
def _member(path: Path, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """The bytes of an array with its header, and how many there are."""
    if not name:
        with path.open("rb") as file:
            yield file, path.stat().st_size
        return
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.file_size > MOST_EXPANSION * info.compress_size:
            raise ValueError(f"{name} claims {info.file_size} bytes of {info.compress_size} compressed ones")
        with archive.open(info) as member:
            yield member, info.file_size


def _header(path: Path, stream: IO[bytes], size: int, limits: Limits) -> Header:
    start = stream.read(8)
    version = np.lib.format.read_magic(io.BytesIO(start))
    count = stream.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(count, "little")
    if length > MOST_HEADER_BYTES:
        raise ValueError(f"its header is {length} bytes long, expected at most {MOST_HEADER_BYTES}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that Python 2 wrote, which are as good
        shape, fortran, dtype = read_header(io.BytesIO(count + stream.read(length)))
    header = Header(shape=shape, dtype=dtype, fortran=fortran)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never loaded: save an array of numbers")
    if any(not 0 <= n < 1 << 63 for n in shape):
        raise ValueError("its shape is none")
    # An axis of no length hides the others: whoever counts along them would count to what they claim.
    limits.check_bytes(path, math.prod(max(n, 1) for n in shape) * max(dtype.itemsize, 1))
    there = size - len(start) - len(count) - length
    if header.bytes > there:
        raise ValueError(f"it claims {header.bytes} bytes of {dtype} {shape}, {there} are there")
    return header


def _fill(stream: IO[bytes], view: memoryview) -> None:
    done = 0
    while done < len(view):
        chunk = stream.read(min(_CHUNK, len(view) - done))
        if not chunk:
            raise EOFError(f"{done} of {len(view)} bytes are there")
        view[done : done + len(chunk)] = chunk
        done += len(chunk)


def array_file(array: np.ndarray) -> bytes:
    """What a `.npy` of this array holds."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def archive_file(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What a compressed `.npz` of these arrays holds."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()
