"""Folders of music: MIDI and MusicXML files as piano rolls of 88 keys, a sequence each, by the client's reader.

Sub-folders train, valid and test are these splits. Without them whole files are held out, or whole folders (say, one
a composer); which ones follows from their names alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from avf_sources import KEYS, SourceError, music
from avf_sources import Options as SourceOptions

from avf_core.data import _folders
from avf_core.data.base import TEST, TRAIN, VALID, DataSet, Modality
from avf_core.errors import ConfigurationError, DataError

MODALITY: Modality = "music"
GENERAL = True


@dataclass(frozen=True, kw_only=True)
class Options(_folders.Parts):
    """How to read music, and which part of a folder is held out.

    `frame`: quarter notes in one frame. `transpose`: "jsb" to C and up an octave, as the JSB chorales' arrays are;
    "c" to C; "none".
    """

    frame: float = 1.0
    transpose: Literal["jsb", "c", "none"] = "jsb"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.frame > 0.0:
            raise ConfigurationError(f"frame is {self.frame} quarter notes, expected more than 0")


EXAMPLES: Mapping[str, Options] = {"quarters": Options()}


def recognises(path: Path) -> bool:
    """A MIDI or MusicXML file, or a folder with one somewhere below it."""
    return _folders.recognises(path, music.SUFFIXES)


def survey(path: Path, options: Options) -> DataSet:
    """The splits of a folder: uint8 sequences of shape (time, 88), zeros and ones; one file alone is a test split.

    Raises DataError where there are no files, or too few to split; reading raises it for files that are damaged.
    """
    wanted = SourceOptions(
        transpose=options.transpose, frame=options.frame, max_bytes=options.max_bytes, max_frames=options.max_frames
    )

    def read(file: Path) -> np.ndarray:
        try:
            return music.read(str(file), wanted).frames.astype(np.uint8)
        except SourceError as error:
            raise DataError(str(error)) from error

    splits = _folders.survey(path, music.SUFFIXES, options, what="a MIDI or MusicXML file", read=read)
    return DataSet(splits=splits, observation_size=KEYS)


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """A melody a split, as MIDI."""
    for split in (TRAIN, VALID, TEST):
        (folder / split).mkdir()
        music.write_example(folder / split, generator)
    return folder
