"""Folders of music: MIDI and MusicXML files as piano rolls of 88 keys, a sequence each, by the client's reader.

Sub-folders train, valid and test are these splits. Without them whole files are held out, or whole folders (say, one
a composer); which ones follows from their names alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from avf_client.errors import SourceError
from avf_client.sources import KEYS, music
from avf_client.sources import Options as SourceOptions

from avf_core.data import _parts
from avf_core.data.base import DataSet, Split, existing
from avf_core.errors import ConfigurationError, DataError

GENERAL = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to read music.

    `frame`: quarter notes in one frame. `transpose`: "jsb" to C and up an octave, as the JSB chorales' arrays are;
    "c" to C; "none". `valid`, `test`: the fractions held out where there are no sub-folders of these names, of files
    or of folders (`whole`).
    """

    frame: float = 1.0
    transpose: Literal["jsb", "c", "none"] = "jsb"
    valid: float = 0.1
    test: float = 0.1
    whole: Literal["file", "folder"] = "file"

    def __post_init__(self) -> None:
        if not self.frame > 0.0:
            raise ConfigurationError(f"frame is {self.frame} quarter notes, expected more than 0")
        _parts.check_fractions(valid=self.valid, test=self.test)


def recognises(path: Path) -> bool:
    """A MIDI or MusicXML file, or a folder with one somewhere below it."""
    if path.is_dir():
        return _parts.has_file(path, music.SUFFIXES)
    return path.suffix.lower() in music.SUFFIXES and path.is_file()


def survey(path: Path, options: Options) -> DataSet:
    """The splits of a folder: uint8 sequences of shape (time, 88), zeros and ones; one file alone is a test split.

    Raises DataError where there are no files, or too few to split; reading raises it for files that are damaged.
    """
    if not path.is_dir():
        existing(path, "a MIDI or MusicXML file, or of a folder of them")
    splits = _parts.files_by_split(
        path, music.SUFFIXES, valid=options.valid, test=options.test, whole_folders=options.whole == "folder"
    )
    return DataSet(
        splits={
            name: Split(sequences=len(files), read=partial(_read, files, options)) for name, files in splits.items()
        },
        observation_size=KEYS,
    )


def _read(files: list[Path], options: Options) -> Iterator[np.ndarray]:
    wanted = SourceOptions(transpose=options.transpose, frame=options.frame)
    for file in files:
        try:
            yield music.read(str(file), wanted).frames.astype(np.uint8)
        except SourceError as error:
            raise DataError(str(error)) from error
