"""Arrays of numpy: `.npy` and `.npz` of shape (T, D), and archives of piano rolls.

The law: no pickle. An archive with several arrays needs a key. An archive of piano rolls, as the data sets of
Boulanger-Lewandowski (2012) are kept, has for each split `{split}_bits` (packed rows of 88 keys, big-endian bits) and
`{split}_offsets` (n + 1 row numbers); its key is "split:index".
"""

import math
from pathlib import Path

import numpy as np

from avf_sources import KEYS, Options, Recording, SourceError, _npy, existing

SUFFIXES: tuple[str, ...] = (".npy", ".npz")
SCHEMES: tuple[str, ...] = ()


_FLOAT64 = 8  # bytes
_PACKED = (KEYS + 7) // 8  # bytes of a row
_DIGITS = 9  # of the number of a piece


def read(name: str, options: Options) -> Recording:
    """The array of a file, as float64. Raises SourceError."""
    path = existing(name)
    there = _npy.names(path)
    if there == [""]:
        return _recording(name, path, "", options)
    splits = [n.removesuffix("_bits") for n in there if n.endswith("_bits") and f"{n[:-4]}offsets" in there]
    if splits:
        return _piano_roll(name, path, splits, options)
    if options.key is None and len(there) != 1:
        raise SourceError(f"{name} has {len(there)} arrays, name one with --key: {', '.join(there)}")
    chosen = there[0] if options.key is None else options.key
    if chosen not in there:
        raise SourceError(f"{name} has no array {chosen!r}; there are {', '.join(there)}")
    return _recording(f"{name}[{chosen}]", path, chosen, options)


def write_example(folder: Path, generator: np.random.Generator) -> str:
    """A small array."""
    path = folder / "example.npy"
    np.save(path, generator.normal(size=(12, 3)))
    return str(path)


def _piano_roll(name: str, path: Path, splits: list[str], options: Options) -> Recording:
    wanted = f'name a piece with --key, such as "{splits[-1]}:0"; the splits are {", ".join(splits)}'
    split, colon, index = (options.key or "").partition(":")
    if split not in splits or not colon or not index.isdecimal() or len(index) > _DIGITS:
        raise SourceError(f"{name} holds pieces: {wanted}")
    offsets = _npy.read(path, f"{split}_offsets", options)
    bits = _npy.read(path, f"{split}_bits", options)
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or bits.dtype != np.uint8 or bits.shape[1:] != (_PACKED,):
        raise SourceError(f"{name} cannot be read as piano rolls: {split}_offsets or {split}_bits are of another form")
    piece = int(index)
    if piece >= len(offsets) - 1:
        raise SourceError(f"{name} has {len(offsets) - 1} pieces in {split!r}, numbered from 0; there is no {piece}")
    start, end = int(offsets[piece]), int(offsets[piece + 1])
    if not 0 <= start < end <= len(bits):
        raise SourceError(
            f"{name} cannot be read as piano rolls: piece {piece} is rows {start} to {end} of {len(bits)}"
        )
    _check(name, (end - start, KEYS), options)
    rows = np.unpackbits(bits[start:end], axis=1, count=KEYS)
    return Recording(name=f"{Path(name).stem} {split}:{piece}", frames=rows.astype(np.float64), piano_roll=True)


def _recording(name: str, path: Path, key: str, options: Options) -> Recording:
    (header,) = _npy.headers(path, [key], options).values()
    if header.dtype.kind not in "biuf":
        raise SourceError(f"{name} holds {header.dtype}, expected numbers")
    if len(header.shape) == 1:
        raise SourceError(f"{name} has shape {header.shape}, expected (T, D): reshape it, (T, 1) for a single channel")
    _check(name, header.shape, options)
    with np.errstate(over="ignore", invalid="ignore"):  # a long double beyond float64 is an infinity, as on the wire
        frames = _npy.read(path, key, options).astype(np.float64)
    binary = bool(np.isin(frames[np.isfinite(frames)], (0.0, 1.0)).all())
    return Recording(name=name, frames=frames, piano_roll=binary and frames.ndim == 2 and frames.shape[1] == KEYS)


def _check(name: str, shape: tuple[int, ...], options: Options) -> None:
    """Raise SourceError unless rows of this shape are within the limits, as float64."""
    options.check_frames(name, shape[0] if shape else 0)
    options.check_bytes(name, math.prod(shape) * _FLOAT64)
