"""TIMIT (Garofolo et al. 1993) as the LDC ships it: TRAIN and TEST, folders DR1 to DR8, speakers, SPHERE files.

    TRAIN/DR1/FCJF0/SA1.WAV       one of 10 sentences of each of 630 speakers, 16 kHz, 16 bits, mono

Names may be in either case. TEST is the test split. The valid split is a twentieth of TRAIN's speakers, as the
authors of AVF hold out a twentieth of its sentences; here no voice is in two splits. Sentences SA1 and SA2, which
every speaker reads, are in, as they are in the paper's 6,300 sentences.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from avf_core.data import _parts, _speech
from avf_core.data._limits import Limits
from avf_core.data.base import TEST, TRAIN, VALID, DataSet, Modality, Split
from avf_core.errors import DataError

MODALITY: Modality = "audio"
GENERAL = False
RATE = 16_000
LAYOUT = "TRAIN/DR1/SPEAKER/SENTENCE.WAV"


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """How to read TIMIT.

    `frame`: samples of an observation. `valid`: the fraction of TRAIN's speakers in the valid split. `dialect`:
    whether the two sentences that every speaker reads (SA1, SA2) are in.
    """

    frame: int = _speech.FRAME
    valid: float = 0.05
    dialect: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _speech.check_frame(self.frame)
        _parts.check_fractions(valid=self.valid)


EXAMPLES: Mapping[str, Options] = {
    "frames": Options(frame=100, valid=0.3),
    "short": Options(frame=50, valid=0.3, dialect=False),
}


def recognises(path: Path) -> bool:
    """A folder with TRAIN or TEST in it, and dialect regions in that."""
    return path.is_dir() and _root(path) is not None


def survey(path: Path, options: Options) -> DataSet:
    """The splits train, valid and test: float32 sequences of shape (time, frame), an utterance each.

    Raises DataError where folders are missing; reading raises it for files that are truncated, stereo or not at
    16 kHz.
    """
    root = _root(path)
    if root is None:
        raise DataError(f"{path} is no TIMIT: expected {LAYOUT} below it, as the LDC ships it")
    halves = {_name(folder): _utterances(folder, options) for folder in _halves(root)}
    missing = [name for name in ("train", "test") if not halves.get(name)]
    if missing:
        raise DataError(f"{root} has no utterances in {' and '.join(missing).upper()}: expected {LAYOUT}")
    splits = _parts.split_by(halves["train"], lambda file: _name(file.parent), **{VALID: options.valid})
    if not splits[TRAIN]:
        raise DataError(f"{root} has one speaker in TRAIN: expected at least two, to hold one out for valid")
    splits[TEST] = halves["test"]
    shared = {_name(f.parent) for f in halves["train"]} & {_name(f.parent) for f in halves["test"]}
    if shared:
        raise DataError(f"{root}: {', '.join(sorted(shared))} speak in TRAIN and in TEST: is it mixed up?")
    return DataSet(
        splits={
            name: Split(sequences=len(files), read=partial(_read, files, options))
            for name, files in splits.items()
            if files
        },
        observation_size=options.frame,
        rate=RATE,
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """Three speakers who train and one who tests, two sentences each."""
    for half, speaker in (("TRAIN", "FAA0"), ("TRAIN", "MBB0"), ("TRAIN", "FCC0"), ("TEST", "MDD0")):
        home = folder / half / "DR1" / speaker
        home.mkdir(parents=True)
        for sentence in ("SA1", "SX3"):
            _speech.write(home / f"{sentence}.WAV", _speech.noise(500, generator), rate=RATE, form="NIST")
    return folder


def _root(path: Path) -> Path | None:
    """The folder with TRAIN and TEST: this one, or TIMIT in it."""
    inner = [p for p in path.iterdir() if p.is_dir() and _name(p) == "timit"] if path.is_dir() else []
    for root in (path, *inner):
        if any(_regions(half) for half in _halves(root)):
            return root
    return None


def _halves(root: Path) -> list[Path]:
    return [p for p in sorted(root.iterdir()) if p.is_dir() and _name(p) in ("train", "test")] if root.is_dir() else []


def _regions(half: Path) -> list[Path]:
    return [p for p in sorted(half.iterdir()) if p.is_dir() and _name(p)[:2] == "dr" and _name(p)[2:].isdecimal()]


def _utterances(half: Path, options: Options) -> list[Path]:
    found = [file for region in _regions(half) for file in _parts.files(region, [".wav"])]
    return [file for file in found if options.dialect or not _name(file).startswith("sa")]


def _name(path: Path) -> str:
    return path.name.lower()


def _read(files: list[Path], options: Options) -> Iterator[np.ndarray]:
    for file in files:
        found = _speech.probe(file, options)
        if (found.rate, found.channels) != (RATE, 1):
            raise DataError(f"{file} has {found.channels} channels at {found.rate} Hz: TIMIT is mono at {RATE} Hz")
        yield _speech.frames(_speech.listen(file, rate=None, limits=options), options.frame, file)
