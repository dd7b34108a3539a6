"""Arrays: `.npy` and `.npz` files of shape (T, D) or (N, T, D), as they are, with NaN where a number is missing.

An archive with arrays named train, valid and test has these splits; `{split}_offsets` beside one cuts its rows into
sequences (sequence i is rows offsets[i] to offsets[i + 1]). Any other array is split here: N sequences by their
order, one stream by time, the first part for train and the last for test. `{array}_inputs` beside an array, with as
many steps, has the inputs of each, and `{array}_dt` the time since the step before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from avf_core.data import _archives, _cuts, _parts
from avf_core.data._driven import Driven
from avf_core.data._limits import Limits
from avf_core.data.base import TEST, TRAIN, VALID, DataSet, Modality, Sequences, Split
from avf_core.errors import ConfigurationError, DataError

SPLITS = (TRAIN, VALID, TEST)
SUFFIXES = (".npy", ".npz")
INPUTS, DT = "_inputs", "_dt"
MODALITY: Modality = "series"
GENERAL = True


Cut = tuple[int, int, int]
"""A sequence within an array of shape (N, T, D): its index on the first axis, its first step, and the step after it."""


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """How to read arrays.

    `key`: which array of an archive; needed where there are several. `frame`: a one-dimensional array is cut into
    frames of so many samples, (T // frame, frame). `length`: a stream, or each sequence, is cut into sequences of so
    many steps, the last one shorter; training visits each once an epoch. `valid` and `test`: the fractions that these
    splits get.
    """

    key: str | None = None
    frame: int | None = None
    length: int | None = None
    valid: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("frame", "length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is {value}, expected at least 1")
        _parts.check_fractions(valid=self.valid, test=self.test)


EXAMPLES: Mapping[str, Options] = {"stream": Options(length=8), "whole": Options()}


def recognises(path: Path) -> bool:
    """An .npy or an .npz."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def survey(path: Path, options: Options) -> DataSet:
    """The splits of a file: float32 sequences of shape (time, D).

    Raises DataError where the array cannot be found, or is of another shape or type.
    """
    shapes = _archives.shapes(path, options)
    named = [name for name in SPLITS if name in shapes] if options.key is None else []
    if named:
        cuts = {name: _named(path, name, shapes, options) for name in named}
        keys = {name: name for name in named}
    else:
        key = _key(path, shapes, options)
        cuts = _unnamed(_standard(path, shapes[key], options), options)
        keys = dict.fromkeys(cuts, key)
    sizes = {_standard(path, shapes[key], options)[2] for key in keys.values()}
    if not sizes:
        raise DataError(f"{path} holds an array of no steps: {shapes}")
    if len(sizes) != 1:
        raise DataError(f"{path}: the splits' observations have {sorted(sizes)} numbers, expected the same for all")
    inputs = {shapes[key + INPUTS][-1] if key + INPUTS in shapes else 0 for key in keys.values()}
    if len(inputs) != 1:
        raise DataError(f"{path}: the splits have {sorted(inputs)} inputs, expected the same for all")
    return DataSet(
        splits={
            name: Split(sequences=len(found), read=partial(_read, path, keys[name], found, options))
            for name, found in cuts.items()
            if found
        },
        observation_size=sizes.pop(),
        input_size=inputs.pop(),
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """A stream of three numbers, one of them missing."""
    rows = generator.normal(size=(40, 3))
    rows[5, 1] = np.nan
    np.save(folder / "example.npy", rows)
    return folder / "example.npy"


def _key(path: Path, shapes: dict[str, tuple[int, ...]], options: Options) -> str:
    """The only array, or the one that was chosen; neither single numbers nor what moves another."""
    moving = {name + ending for name in shapes for ending in (INPUTS, DT)}
    candidates = [name for name, shape in shapes.items() if shape and name not in moving]
    if options.key is not None and options.key in candidates:
        return options.key
    if options.key is None and len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise DataError(f"{path} holds no array, expected one of shape (T, D) or (N, T, D)")
    wanted = "has several arrays" if options.key is None else f"has no array {options.key!r}"
    raise DataError(f"{path} {wanted}; choose with --data-option key=NAME: {', '.join(candidates)}")


def _standard(path: Path, shape: tuple[int, ...], options: Options) -> tuple[int, int, int]:
    """The shape as (N, T, D)."""
    if len(shape) == 1 and options.frame is not None:
        options.check_frames(path, shape[0] // options.frame)
        return 1, shape[0] // options.frame, options.frame
    if len(shape) == 1:
        raise DataError(
            f"{path} holds one axis of {shape[0]} numbers: cut it into frames with --data-option frame=N "
            "(1 for one number a step)"
        )
    if options.frame is not None or len(shape) not in (2, 3):
        expected = "(T,), as frame is set" if options.frame is not None else "(T, D) or (N, T, D)"
        raise DataError(f"{path} holds an array of shape {shape}, expected {expected}")
    n, length, size = (1, *shape) if len(shape) == 2 else shape
    options.check_frames(path, n * length)
    return n, length, size


def _named(path: Path, name: str, shapes: dict[str, tuple[int, ...]], options: Options) -> list[Cut]:
    """The sequences of an array that is a split."""
    n, length, _ = _standard(path, shapes[name], options)
    if f"{name}_offsets" not in shapes:
        return _shorter([(i, 0, length) for i in range(n)], options)
    offsets = _archives.read(path, [f"{name}_offsets"], options)[f"{name}_offsets"]
    if n != 1:
        raise DataError(f"{path}: {name} is of shape {shapes[name]}, and {name}_offsets cut rows: expected (rows, D)")
    cuts = _cuts.at_offsets(path, f"{name}_offsets", offsets, length)
    return _shorter([(0, a, b) for a, b in cuts], options)


def _unnamed(shape: tuple[int, int, int], options: Options) -> dict[str, list[Cut]]:
    """The splits of one array: by sequences where there are several, by time where there is one."""
    n, length, _ = shape
    parts = _cuts.in_order(n if n > 1 else length, valid=options.valid, test=options.test)
    if n > 1:
        return {name: _shorter([(i, 0, length) for i in range(a, b)], options) for name, (a, b) in parts.items()}
    return {name: _shorter([(0, a, b)], options) for name, (a, b) in parts.items()}


def _shorter(cuts: list[Cut], options: Options) -> list[Cut]:
    return [(i, start, end) for i, a, b in cuts for start, end in _cuts.shorter(a, b, options.length)]


def _read(path: Path, key: str, cuts: list[Cut], options: Options) -> Sequences:
    array = _numbers(path, key, options)
    n, length, size = _standard(path, array.shape, options)
    array = array.reshape(-1)[: n * length * size].reshape(n, length, size)
    there = _archives.names(path)
    inputs = _moving(path, key + INPUTS, (n, length, -1), options) if key + INPUTS in there else None
    dt = _moving(path, key + DT, (n, length), options) if key + DT in there else None
    if inputs is None and dt is None:
        return [array[i, a:b] for i, a, b in cuts]
    whole = {
        i: Driven(array[i], inputs=None if inputs is None else inputs[i], dt=None if dt is None else dt[i])
        for i in {i for i, _, _ in cuts}
    }
    return [whole[i][a:b] for i, a, b in cuts]


def _numbers(path: Path, key: str, options: Options) -> np.ndarray:
    """An array as float32. Raises DataError."""
    array = _archives.read(path, [key], options)[key]
    if array.dtype.kind not in "biuf":
        raise DataError(f"{path} holds {array.dtype}, expected numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond float32 is an infinity, which is refused below
        found = array.astype(np.float32)
    if np.isinf(found).any():
        raise DataError(f"{path} holds infinities (as float32): expected finite numbers, NaN where one is missing")
    return found


def _moving(path: Path, key: str, shape: tuple[int, ...], options: Options) -> np.ndarray:
    """The inputs, or the dt, of every step of an array. Raises DataError where there are not as many."""
    found = _numbers(path, key, options)
    inputs = shape[-1] == -1
    if found.ndim == len(shape) - 1:
        found = found[None]
    if found.ndim != len(shape) or found.shape[:2] != shape[:2]:
        expected = f"{shape[:2]} steps" + (" and their inputs" if inputs else "")
        raise DataError(f"{path}: {key} is of shape {found.shape}, expected {expected}")
    if inputs and np.isnan(found).any():
        raise DataError(f"{path}: {key} has missing values (NaN): inputs may not be missing")
    return found
