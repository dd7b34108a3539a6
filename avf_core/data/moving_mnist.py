"""Moving MNIST (Srivastava, Mansimov & Salakhutdinov 2015): digits that move straight and bounce off the borders.

Made from an .npz of MNIST digits (`images` uint8 (n, 28, 28), `labels`) when it is read. The law: sequence i of a
split is a function of the seed, the split and i, and of nothing else, so that a longer set begins with a shorter one
(`length` changes how long a sequence is, not how it begins). The splits share no picture of a digit: the first eight
tenths of the images make train, a tenth each valid and test.

Memory: a frame of 64 x 64 takes 16 KiB; the 1,000 sequences of train 320 MB.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from avf_core.data import _archives, _cuts, _pixels
from avf_core.data._limits import Limits
from avf_core.data.base import TEST, TRAIN, VALID, DataSet, Modality, Split
from avf_core.errors import ConfigurationError, DataError

MODALITY: Modality = "video"
GENERAL = False
SPEEDS = (2.0, 5.0)
"""Pixels a step, at a size of 64; a digit's speed is uniform between them, and so is its direction."""
MOST_SEQUENCES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """What to make.

    `size`: pixels in a row, and rows, of a frame. `digits` move in it, for `length` steps. `train`, `valid`, `test`:
    the numbers of sequences.
    """

    size: int = _pixels.SIZE
    digits: int = 2
    length: int = 20
    train: int = 1000
    valid: int = 100
    test: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _pixels.check_size(self.size)
        _pixels.check_length(self.length)
        for name, most in (("digits", 100), ("train", MOST_SEQUENCES), ("valid", MOST_SEQUENCES)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigurationError(f"{name} is {getattr(self, name)}, expected 1 to {most}")
        if not 0 <= self.test <= MOST_SEQUENCES or self.seed < 0:
            raise ConfigurationError("expected test and seed to be at least 0")


EXAMPLES: Mapping[str, Options] = {"small": Options(size=16, length=4, train=3, valid=2, test=1)}


def recognises(path: Path) -> bool:
    """An .npz with images and labels."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    return {"images", "labels"} <= set(_archives.names(path))


def survey(path: Path, options: Options) -> DataSet:
    """The splits train, valid and test: float32 sequences of shape (length, size * size), pixels in [0, 1].

    Raises DataError where the file has no digits, or they do not fit into a frame.
    """
    shape = _archives.shapes(path, options).get("images", ())
    if len(shape) != 3 or shape[0] < 10:
        raise DataError(f"{path} has no images of shape (n, 28, 28) with n from 10 on: found {shape}")
    if max(shape[1:]) > options.size:
        raise DataError(f"{path}: digits of {shape[1]} by {shape[2]} do not fit into a frame of {options.size}")
    counts = {TRAIN: options.train, VALID: options.valid, TEST: options.test}
    images = _cuts.in_order(shape[0], valid=0.1, test=0.1)
    return DataSet(
        splits={
            name: Split(sequences=count, read=partial(_make, path, number, images[name], count, options))
            for number, (name, count) in enumerate(counts.items())
            if count
        },
        observation_size=options.size**2,
        shape=(options.size, options.size),
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """Twenty pictures of noise in place of digits, of 6 by 6 pixels."""
    images = generator.integers(0, 256, (20, 6, 6)).astype(np.uint8)
    np.savez(folder / "example.npz", images=images, labels=np.arange(20) % 10)
    return folder / "example.npz"


def _make(path: Path, number: int, part: tuple[int, int], count: int, options: Options) -> Iterator[np.ndarray]:
    images = _archives.read(path, ["images"], options)["images"]
    _pixels.check(path, images, "images")
    for index in range(count):
        generator = np.random.default_rng([options.seed, number, index])
        chosen = images[generator.integers(*part, options.digits)]
        yield _pixels.observations(_scene(chosen, generator, options))


def _scene(
    images: UInt8[ndarray, "digits rows columns"], generator: np.random.Generator, options: Options
) -> UInt8[ndarray, "time size size"]:
    """Digits that start anywhere and move; where they overlap, the brighter pixel is seen."""
    frames = np.zeros((options.length, options.size, options.size), dtype=np.uint8)
    steps = np.arange(options.length)
    for image in images:
        room = options.size - np.array(image.shape)
        start = generator.uniform(0.0, room)
        angle, speed = generator.uniform(0.0, 2.0 * np.pi), generator.uniform(*SPEEDS) * options.size / _pixels.SIZE
        velocity = speed * np.array([np.sin(angle), np.cos(angle)])
        for t, (row, column) in enumerate(np.rint(bounce(start, velocity, steps, room)).astype(int)):
            seen = frames[t, row : row + image.shape[0], column : column + image.shape[1]]
            np.maximum(seen, image, out=seen)
    return frames


def bounce(
    start: Float[ndarray, " axes"],
    velocity: Float[ndarray, " axes"],
    steps: ndarray,
    room: ndarray,
) -> Float[ndarray, "time axes"]:
    """Where a point is after so many steps of straight motion between walls at 0 and `room`, which reflect it."""
    way = start + steps[:, None] * velocity
    there_and_back = np.mod(way, np.maximum(2.0 * room, 1e-9))
    places: ndarray = np.minimum(there_and_back, 2.0 * room - there_and_back)
    return places
