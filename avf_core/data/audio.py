"""Folders of sound: WAV, FLAC and SPHERE files, resampled to the model's rate, a sequence each.

Sub-folders train, valid and test are these splits. Without them whole files are held out, or whole folders (say, one
a speaker); which ones follows from their names alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import avf_sources
import numpy as np
from avf_sources import audio

from avf_core.data import _folders, _speech
from avf_core.data.base import TEST, TRAIN, VALID, DataSet, Modality

MODALITY: Modality = "audio"
GENERAL = True


@dataclass(frozen=True, kw_only=True)
class Options(_folders.Parts):
    """How to read sound, and which part of a folder is held out.

    `rate`: samples a second, to which files are resampled. `frame`: samples of an observation. `ending`:
    which files are taken, that are "whole", were never closed ("open"), or end before they say ("cut").
    """

    rate: int = 16_000
    frame: int = _speech.FRAME
    ending: Literal["whole", "open", "cut"] = "open"

    def __post_init__(self) -> None:
        super().__post_init__()
        _speech.check_frame(self.frame)
        _speech.check_rate(self.rate)

    @property
    def of_source(self) -> avf_sources.Options:
        """The limits, and which files are taken, for the reader."""
        return replace(super().of_source, ending=self.ending)


EXAMPLES: Mapping[str, Options] = {"frames": Options(frame=100), "resampled": Options(frame=50, rate=8_000)}


def recognises(path: Path) -> bool:
    """A sound file, or a folder with one somewhere below it."""
    return _folders.recognises(path, audio.SUFFIXES)


def survey(path: Path, options: Options) -> DataSet:
    """The splits of a folder: float32 sequences of shape (time, frame); one file alone is a test split.

    Raises DataError where there are no files, or too few to split; reading raises it for files that are damaged.
    """

    def read(file: Path) -> np.ndarray:
        frames = _speech.frames(_speech.listen(file, rate=options.rate, limits=options), options.frame, file)
        options.check_frames(file, len(frames))
        return frames

    return DataSet(
        splits=_folders.survey(path, audio.SUFFIXES, options, what="a sound file", read=read),
        observation_size=options.frame,
        rate=options.rate,
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """A file of noise a split, as WAV."""
    for split in (TRAIN, VALID, TEST):
        (folder / split).mkdir()
        audio.write_example(folder / split, generator)
    return folder
