"""Arrays of numpy: `.npy` and `.npz` of shape (T, D), and archives of piano rolls.

The law: no pickle. An archive with several arrays needs a key. An archive of piano rolls, as the data sets of
Boulanger-Lewandowski (2012) are kept, has for each split `{split}_bits` (packed rows of 88 keys, big-endian bits) and
`{split}_offsets` (n + 1 row numbers); its key is "split:index".
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avf_sources import (
    KEYS,
    Options,
    Recording,
    SourceError,
    existing,
)

SUFFIXES: tuple[str, ...] = (".npy", ".npz")
SCHEMES: tuple[str, ...] = ()


def read(name: str, options: Options) -> Recording:
    """The array of a file, as float64. Raises SourceError."""
    path = existing(name)
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return _recording(name, loaded)
            with loaded as archive:
                return _from_archive(name, archive, options.key)
    except SourceError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"{name} cannot be read as numpy's {path.suffix}: {error}") from error


def _from_archive(name: str, archive: "np.lib.npyio.NpzFile", key: str | None) -> Recording:
    splits = [n.removesuffix("_bits") for n in archive.files if n.endswith("_bits")]
    if splits:
        return _piano_roll(name, archive, key, splits)
    if key is None and len(archive.files) != 1:
        raise SourceError(f"{name} has {len(archive.files)} arrays, name one with --key: {', '.join(archive.files)}")
    chosen = archive.files[0] if key is None else key
    if chosen not in archive.files:
        raise SourceError(f"{name} has no array {chosen!r}; there are {', '.join(archive.files)}")
    return _recording(f"{name}[{chosen}]", archive[chosen])


def _piano_roll(name: str, archive: "np.lib.npyio.NpzFile", key: str | None, splits: list[str]) -> Recording:
    wanted = f'name a piece with --key, such as "{splits[-1]}:0"; the splits are {", ".join(splits)}'
    split, colon, index = (key or "").partition(":")
    if split not in splits or not colon or not index.isdecimal():
        raise SourceError(f"{name} holds pieces: {wanted}")
    offsets = archive[f"{split}_offsets"]
    piece = int(index)
    if piece >= len(offsets) - 1:
        raise SourceError(f"{name} has {len(offsets) - 1} pieces in {split!r}, numbered from 0; there is no {piece}")
    bits = archive[f"{split}_bits"][offsets[piece] : offsets[piece + 1]]
    rows = np.unpackbits(bits, axis=1, count=KEYS)
    return Recording(name=f"{Path(name).stem} {split}:{piece}", frames=rows.astype(np.float64), piano_roll=True)


def _recording(name: str, array: NDArray[np.generic]) -> Recording:
    if array.dtype.kind not in "biuf":
        raise SourceError(f"{name} holds {array.dtype}, expected numbers")
    if array.ndim == 1:
        raise SourceError(f"{name} has shape {array.shape}, expected (T, D): reshape it, (T, 1) for a single channel")
    frames = array.astype(np.float64)
    binary = bool(np.isin(frames[np.isfinite(frames)], (0.0, 1.0)).all())
    return Recording(name=name, frames=frames, piano_roll=binary and frames.ndim == 2 and frames.shape[1] == KEYS)
