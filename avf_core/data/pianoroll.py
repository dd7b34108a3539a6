"""Piano rolls: the four polyphonic music sets of Boulanger-Lewandowski, Bengio & Vincent (2012), as .npz files.

For each split there are `{split}_bits`, the 88 keys of every frame packed to 11 bytes, and `{split}_offsets`:
sequence i is rows offsets[i] to offsets[i + 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from avf_core.data import _archives, _cuts
from avf_core.data._limits import Limits
from avf_core.data.base import DataSet, Modality, Sequences, Split
from avf_core.errors import DataError

KEYS = 88
SPLITS = ("train", "valid", "test")
MODALITY: Modality = "music"
GENERAL = False


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """Piano rolls are read in one way only."""


EXAMPLES: Mapping[str, Options] = {"rolls": Options()}


def recognises(path: Path) -> bool:
    """An .npz with packed bits and offsets of a split."""
    return path.suffix.lower() == ".npz" and path.is_file() and bool(_splits(path))


def survey(path: Path, options: Options) -> DataSet:
    """The splits of a piano-roll .npz: sequences of shape (time, 88), uint8 zeros and ones.

    Raises DataError where the file is missing, truncated or of another layout.
    """
    shapes = _archives.shapes(path, options)
    splits = _splits(path)
    if not splits:
        raise DataError(f"{path} is no piano-roll .npz: expected {SPLITS[0]}_bits and {SPLITS[0]}_offsets in it")
    return DataSet(
        splits={
            name: Split(sequences=_count(shapes[f"{name}_offsets"]), read=partial(_read, path, name, options))
            for name in splits
        },
        observation_size=KEYS,
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """Two pieces a split."""
    arrays: dict[str, np.ndarray] = {}
    for split in SPLITS:
        rows = (generator.random((9, KEYS)) > 0.9).astype(np.uint8)
        arrays |= {f"{split}_bits": np.packbits(rows, axis=1), f"{split}_offsets": np.array([0, 4, 9])}
    np.savez(folder / "example.npz", allow_pickle=False, **arrays)
    return folder / "example.npz"


def _splits(path: Path) -> list[str]:
    names = set(_archives.names(path))
    return [name for name in SPLITS if {f"{name}_bits", f"{name}_offsets"} <= names]


def _count(offsets: tuple[int, ...]) -> int:
    return max(0, offsets[0] - 1) if len(offsets) == 1 else 0


def _read(path: Path, split: str, options: Options) -> Sequences:
    arrays = _archives.read(path, (f"{split}_bits", f"{split}_offsets"), options)
    return _sequences(path, arrays[f"{split}_bits"], arrays[f"{split}_offsets"])


def _sequences(path: Path, bits: np.ndarray, offsets: np.ndarray) -> Sequences:
    if bits.ndim != 2 or bits.shape[1] != (KEYS + 7) // 8 or bits.dtype != np.uint8:
        raise DataError(f"{path}: packed frames are {bits.dtype} {bits.shape}, expected uint8 (time, 11)")
    rows = np.unpackbits(bits, axis=1, count=KEYS)
    return [rows[a:b] for a, b in _cuts.at_offsets(path, "offsets", offsets, len(bits))]
