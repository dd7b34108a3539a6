"""Piano rolls: the four polyphonic music sets of Boulanger-Lewandowski, Bengio & Vincent (2012), as .npz files.

For each split there are `{split}_bits`, the 88 keys of every frame packed to 11 bytes, and `{split}_offsets`:
sequence i is rows offsets[i] to offsets[i + 1].
"""

import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from avf_core.errors import DataError

KEYS = 88
SPLITS = ("train", "valid", "test")

Sequences = list[UInt8[ndarray, "time keys"]]


def load(path: str | Path, split: str) -> Sequences:
    """The sequences of a split, each of shape (time, 88) with zeros and ones.

    Raises DataError where the file is missing, truncated or of another layout.
    """
    if split not in SPLITS:
        raise DataError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            bits, offsets = archive[f"{split}_bits"], archive[f"{split}_offsets"]
    except FileNotFoundError as error:
        raise DataError(f"no file {path}: give the path of a piano-roll .npz") from error
    except (KeyError, ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} is no complete piano-roll .npz: {error}") from error
    return _sequences(Path(path), bits, offsets)


def _sequences(path: Path, bits: np.ndarray, offsets: np.ndarray) -> Sequences:
    if bits.ndim != 2 or bits.shape[1] != (KEYS + 7) // 8 or bits.dtype != np.uint8:
        raise DataError(f"{path}: packed frames are {bits.dtype} {bits.shape}, expected uint8 (time, 11)")
    ordered = offsets.ndim == 1 and len(offsets) > 1 and bool(np.all(np.diff(offsets) > 0))
    if not ordered or offsets[0] != 0 or offsets[-1] != len(bits):
        raise DataError(f"{path}: offsets do not cut {len(bits)} frames into sequences: the file is damaged")
    rows = np.unpackbits(bits, axis=1, count=KEYS)
    return [rows[a:b] for a, b in pairwise(offsets)]
