"""A stream of video frames as one .npz: `frames` uint8 (time, height, width) and, where it is known, `fps`.

One continuous scene, split by time: the first part for train, the last for test.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from avf_core.data import _archives, _cuts, _parts, _pixels
from avf_core.data._limits import Limits
from avf_core.data.base import DataSet, Modality, Sequences, Split
from avf_core.errors import DataError

MODALITY: Modality = "video"
GENERAL = False


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """How to read a stream of frames.

    `length`: it is cut into sequences of so many frames, the last of a split shorter. `valid`, `test`: the fractions
    that these splits get.
    """

    length: int | None = None
    valid: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _pixels.check_length(self.length)
        _parts.check_fractions(valid=self.valid, test=self.test)


EXAMPLES: Mapping[str, Options] = {"short": Options(length=5), "whole": Options()}


def recognises(path: Path) -> bool:
    """An .npz with frames that no offsets cut into clips."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    names = _archives.names(path)
    return "frames" in names and "offsets" not in names


def survey(path: Path, options: Options) -> DataSet:
    """The splits of a stream: float32 sequences of shape (time, height * width), pixels in [0, 1].

    Raises DataError where the file is damaged, or its frames are no grey levels.
    """
    shapes = _archives.shapes(path, options)
    if len(shapes.get("frames", ())) != 3:
        raise DataError(f"{path} has no frames of shape (time, height, width); it has {shapes}")
    total, height, width = shapes["frames"]
    options.check_frames(path, total)
    fps = _archives.read(path, ["fps"], options)["fps"] if shapes.get("fps") == () else None
    rate = round(float(fps)) if fps is not None and fps.dtype.kind in "iuf" else None
    splits = _cuts.by_time(total, valid=options.valid, test=options.test, length=options.length)
    return DataSet(
        splits={
            name: Split(sequences=len(cuts), read=partial(_read, path, cuts, options)) for name, cuts in splits.items()
        },
        observation_size=height * width,
        shape=(height, width),
        rate=rate,
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """A stream of frames of 8 by 8 pixels."""
    frames = generator.integers(0, 256, (30, 8, 8)).astype(np.uint8)
    np.savez(folder / "example.npz", frames=frames, fps=np.float64(25.0))
    return folder / "example.npz"


def _read(path: Path, cuts: list[tuple[int, int]], options: Options) -> Sequences:
    frames = _archives.read(path, ["frames"], options)["frames"]
    _pixels.check(path, frames, "frames")
    return [_pixels.observations(frames[a:b]) for a, b in cuts]
