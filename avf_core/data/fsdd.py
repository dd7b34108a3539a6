"""The Free Spoken Digit Dataset, 8 kHz, each speaker's recordings end to end in `{speaker}.flac`, with `index.json`.

    {"george": [["0_george_0.wav", 0, 2384], ...], ...}      file (digit_speaker_index.wav), start, length

The published split is by index: 0 to 4 are the test recordings, 5 to 49 train; of these, 5 to 9 are valid here. Every
speaker is in all three. Speakers that are named as valid or test are held out whole instead.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avf_core.data import _packed, _speech
from avf_core.data._limits import Limits
from avf_core.data.base import TEST, TRAIN, VALID, DataSet, Modality, Split
from avf_core.errors import ConfigurationError, DataError

MODALITY: Modality = "audio"
GENERAL = False
RATE = 8_000
TEST_BELOW, VALID_BELOW = 5, 10


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """How to read FSDD.

    `rate`: samples a second, to which recordings are resampled; theirs is 8,000. `frame`: samples of an observation.
    `valid_speakers`, `test_speakers`: hold these out, instead of splitting each speaker's recordings.
    """

    rate: int = RATE
    frame: int = _speech.FRAME
    valid_speakers: tuple[str, ...] = ()
    test_speakers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _speech.check_frame(self.frame)
        _speech.check_rate(self.rate)
        if bool(self.valid_speakers) != bool(self.test_speakers) or set(self.valid_speakers) & set(self.test_speakers):
            raise ConfigurationError("expected valid_speakers and test_speakers, both or neither, and no one in both")


EXAMPLES: Mapping[str, Options] = {
    "digits": Options(frame=50),
    "speakers": Options(frame=50, valid_speakers=("b",), test_speakers=("c",)),
}


def recognises(path: Path) -> bool:
    """A folder with FLAC files and an index of lists."""
    return path.is_dir() and _packed.is_index(path, list)


def survey(path: Path, options: Options) -> DataSet:
    """The splits train, valid and test: float32 sequences of shape (time, frame), a digit each.

    Raises DataError where the index is missing or of another form, or speakers are not in it.
    """
    found = _packed.index(path)
    unknown = {*options.valid_speakers, *options.test_speakers} - set(found)
    if unknown:
        raise DataError(f"{path} has no speaker {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    splits: dict[str, list[_packed.Utterance]] = {TRAIN: [], VALID: [], TEST: []}
    for speaker, records in found.items():
        for record in records:
            file, start, length = _fields(path, record)
            one = _packed.utterance(path, speaker, start=start, length=length, group=speaker)
            splits[_split(path, speaker, file, options)].append(one)
    return DataSet(
        splits={
            name: Split(
                sequences=len(chosen),
                read=partial(_packed.read, chosen, own=RATE, rate=options.rate, frame=options.frame, limits=options),
            )
            for name, chosen in splits.items()
            if chosen
        },
        observation_size=options.frame,
        rate=options.rate,
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """Three speakers who say a digit of each part of the published split."""
    index = {}
    for speaker in "abc":
        parts = (0, TEST_BELOW, VALID_BELOW)
        index[speaker] = [[f"7_{speaker}_{number}.wav", 200 * i, 200] for i, number in enumerate(parts)]
        _speech.write(folder / f"{speaker}.flac", _speech.noise(200 * len(parts), generator), rate=RATE, form="FLAC")
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def _fields(path: Path, record: Any) -> tuple[str, Any, Any]:
    if not isinstance(record, list) or len(record) != 3 or not isinstance(record[0], str):
        raise DataError(f"{path / 'index.json'}: expected [file, start, length], found {record!r}")
    file, start, length = record
    return file, start, length


def _split(path: Path, speaker: str, file: str, options: Options) -> str:
    if options.test_speakers:
        return TEST if speaker in options.test_speakers else VALID if speaker in options.valid_speakers else TRAIN
    index = Path(file).stem.rpartition("_")[2]
    if not index.isdecimal():
        raise DataError(f"{path / 'index.json'}: {file!r} is not named digit_speaker_index.wav")
    return TEST if int(index) < TEST_BELOW else VALID if int(index) < VALID_BELOW else TRAIN
