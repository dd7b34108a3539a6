"""Utterances packed end to end in FLAC files, with an index.json beside them that says where each begins."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avf_core.data import _speech
from avf_core.data._limits import Limits
from avf_core.errors import DataError

MOST_INDEX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """Samples `start` to `start + length` of a FLAC file; `group` is who speaks, as far as is known."""

    flac: Path
    start: int
    length: int
    group: str


def index(folder: Path) -> dict[str, list[Any]]:
    """The index of a folder: a list of records for each FLAC file, by its stem. Raises DataError."""
    path = folder / "index.json"
    try:
        if path.stat().st_size > MOST_INDEX_BYTES:
            raise DataError(f"{path} has {path.stat().st_size} bytes, expected at most {MOST_INDEX_BYTES}")
        found = json.loads(path.read_text())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; it lies beside the FLAC files") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(records, list) for records in found.values()):
        raise DataError(f"{path}: expected an object with a list of utterances for each FLAC file")
    return found


def is_index(folder: Path, record: type) -> bool:
    """Whether a folder has an index whose records are of this type (dict or list)."""
    if not (folder / "index.json").is_file() or not any(folder.glob("*.flac")):
        return False
    try:
        records = next(iter(index(folder).values()), [])
    except DataError:
        return False
    return bool(records) and isinstance(records[0], record)


def utterance(folder: Path, stem: str, *, start: object, length: object, group: object) -> Utterance:
    """A record of the index. Raises DataError where it is none."""
    wrong = DataError(f"{folder / 'index.json'}: {stem!r} has an utterance at {start!r} of {length!r} samples")
    if not isinstance(start, int) or not isinstance(length, int) or Path(stem).name != stem:
        raise wrong
    if start < 0 or length < 1:
        raise wrong
    return Utterance(flac=folder / f"{stem}.flac", start=start, length=length, group=str(group))


def read(utterances: Sequence[Utterance], *, own: int, rate: int, frame: int, limits: Limits) -> Iterator[np.ndarray]:
    """The frames of each utterance, in order; a FLAC file, which must be at `own` Hz, is read once. Raises DataError.

    Utterances are resampled to `rate` one by one, as they do not follow each other.
    """
    sounds: dict[Path, np.ndarray] = {}
    for one in utterances:
        if one.flac not in sounds:
            found = _speech.probe(one.flac, limits)
            if (found.rate, found.channels) != (own, 1):
                raise DataError(f"{one.flac} has {found.channels} channels at {found.rate} Hz, expected 1 at {own}")
            sounds[one.flac] = _speech.listen(one.flac, rate=None, limits=limits)
        samples = sounds[one.flac][one.start : one.start + one.length]
        if len(samples) != one.length:
            raise DataError(f"{one.flac} ends before the utterance at {one.start}: index and file are not of one copy")
        yield _speech.frames(_speech.resample(samples, own, rate), frame, f"{one.flac} at {one.start}")
