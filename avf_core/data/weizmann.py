"""Weizmann actions, 64 x 64 grey, as one .npz: clips of people who wave, jump and bend, split by person.

    frames uint8 (time, 64, 64)     offsets (clips + 1)     person, action, split: one a clip

The law: `valid` and `test` are the file's own and are for reporting. For selecting there is a split `select`: the
clips of some people of train, held out of `train`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from avf_core.data import _archives, _cuts, _pixels
from avf_core.data._limits import Limits
from avf_core.data.base import SELECT, TEST, TRAIN, VALID, DataSet, Modality, Sequences, Split
from avf_core.errors import DataError

MODALITY: Modality = "video"
GENERAL = False
NAMES = ("frames", "offsets", "person", "split")
ORDER = (TRAIN, SELECT, VALID, TEST)


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """How to read the file. `select`: the people of train who are held out as the split `select`; none where empty."""

    select: tuple[int, ...] = (5,)


EXAMPLES: Mapping[str, Options] = {"held out": Options(select=(2,)), "none": Options(select=())}


def recognises(path: Path) -> bool:
    """An .npz with frames, offsets, person and split."""
    return path.suffix.lower() == ".npz" and path.is_file() and set(NAMES) <= set(_archives.names(path))


def survey(path: Path, options: Options) -> DataSet:
    """The splits train, select, valid and (where the file has it) test: float32 (time, pixels), pixels in [0, 1].

    Raises DataError where the file is damaged or of another layout, or train has no such person.
    """
    shapes = _archives.shapes(path, options)
    arrays = _archives.read(path, [name for name in NAMES if name != "frames"], options)
    offsets, person, split = arrays["offsets"], arrays["person"], arrays["split"].astype(str)
    frames = shapes["frames"]
    if len(frames) != 3:
        raise DataError(f"{path}: frames are of shape {frames}, expected uint8 (time, height, width)")
    options.check_frames(path, frames[0])
    clips = _cuts.at_offsets(path, "offsets", offsets, frames[0])
    if person.shape != split.shape or person.shape != (len(clips),) or person.dtype.kind not in "iu":
        raise DataError(f"{path}: person and split do not describe {len(clips)} clips: the file is damaged")
    unknown = set(options.select) - set(person[split == TRAIN].tolist())
    if unknown:
        raise DataError(f"{path}: no person {unknown} in train; there are {sorted(set(person[split == TRAIN]))}")
    parts = np.where((split == TRAIN) & np.isin(person, options.select), SELECT, split)
    chosen = {name: [clip for clip, part in zip(clips, parts, strict=True) if part == name] for name in ORDER}
    return DataSet(
        splits={
            name: Split(sequences=len(cuts), read=partial(_read, path, cuts, options))
            for name, cuts in chosen.items()
            if cuts
        },
        observation_size=frames[1] * frames[2],
        shape=(frames[1], frames[2]),
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """Four people with a clip each, of 8 by 8 pixels."""
    frames = generator.integers(0, 256, (20, 8, 8)).astype(np.uint8)
    split = np.array([TRAIN, TRAIN, VALID, TEST])
    np.savez(folder / "example.npz", frames=frames, offsets=[0, 4, 9, 15, 20], person=[1, 2, 3, 4], split=split)
    return folder / "example.npz"


def _read(path: Path, cuts: list[tuple[int, int]], options: Options) -> Sequences:
    frames = _archives.read(path, ["frames"], options)["frames"]
    _pixels.check(path, frames, "frames")
    return [_pixels.observations(frames[a:b]) for a, b in cuts]
