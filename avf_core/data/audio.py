"""Folders of sound: WAV, FLAC and SPHERE files, resampled to the model's rate, a sequence each.

Sub-folders train, valid and test are these splits. Without them whole files are held out, or whole folders (say, one
a speaker); which ones follows from their names alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from avf_client.sources import audio

from avf_core.data import _parts, _speech
from avf_core.data.base import DataSet, Split, existing

GENERAL = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to read sound.

    `rate`: samples a second, to which files are resampled. `frame`: samples of an observation. `valid`, `test`: the
    fractions held out where there are no sub-folders of these names, of files or of folders (`whole`).
    """

    rate: int = 16_000
    frame: int = _speech.FRAME
    valid: float = 0.1
    test: float = 0.1
    whole: Literal["file", "folder"] = "file"

    def __post_init__(self) -> None:
        _speech.check_frame(self.frame)
        _speech.check_rate(self.rate)
        _parts.check_fractions(valid=self.valid, test=self.test)


def recognises(path: Path) -> bool:
    """A sound file, or a folder with one somewhere below it."""
    if path.is_dir():
        return _parts.has_file(path, audio.SUFFIXES)
    return path.suffix.lower() in audio.SUFFIXES and path.is_file()


def survey(path: Path, options: Options) -> DataSet:
    """The splits of a folder: float32 sequences of shape (time, frame); one file alone is a test split.

    Raises DataError where there are no files, or too few to split; reading raises it for files that are damaged.
    """
    if not path.is_dir():
        existing(path, "a sound file, or of a folder of them")
    splits = _parts.files_by_split(
        path, audio.SUFFIXES, valid=options.valid, test=options.test, whole_folders=options.whole == "folder"
    )
    return DataSet(
        splits={
            name: Split(sequences=len(files), read=partial(_read, files, options)) for name, files in splits.items()
        },
        observation_size=options.frame,
        rate=options.rate,
    )


def _read(files: list[Path], options: Options) -> Iterator[np.ndarray]:
    for file in files:
        yield _speech.frames(_speech.listen(file, rate=options.rate), options.frame, file)
