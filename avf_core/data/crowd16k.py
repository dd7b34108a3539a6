"""crowd16k: crowd-sourced English sentences at 16 kHz, each split end to end in `{split}.flac`, with `index.json`.

    {"train": [{"start": 0, "length": 57440, "split_group": 7, ...}, ...], "valid": [...]}

The voices are not labelled; `split_group` are clusters of voices, and each lies in one split. The law: `valid` and
`test` are the folder's own and are for reporting. For selecting there is a split `select`: whole groups of voices of
the folder's train utterances, held out of `train`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avf_core.data import _packed, _parts, _speech
from avf_core.data._limits import Limits
from avf_core.data.base import SELECT, TEST, TRAIN, VALID, DataSet, Modality, Split
from avf_core.errors import DataError

MODALITY: Modality = "audio"
GENERAL = False
RATE = 16_000
SPLITS = (TRAIN, VALID, TEST)


@dataclass(frozen=True, kw_only=True)
class Options(Limits):
    """How to read crowd16k.

    `frame`: samples of an observation. `select`: the fraction of train's groups of voices that are held out as the
    split `select`; 0 for none, and then training is selected on valid.
    """

    frame: int = _speech.FRAME
    select: float = 0.12

    def __post_init__(self) -> None:
        super().__post_init__()
        _speech.check_frame(self.frame)
        _parts.check_fractions(select=self.select)


EXAMPLES: Mapping[str, Options] = {"held out": Options(frame=100, select=0.4), "none": Options(frame=50, select=0.0)}


def recognises(path: Path) -> bool:
    """A folder with FLAC files and an index of records with names."""
    return path.is_dir() and _packed.is_index(path, dict)


def survey(path: Path, options: Options) -> DataSet:
    """The splits train, select, valid and (where the folder has it) test: float32 sequences of shape (time, frame).

    Raises DataError where the index is missing or of another form; reading raises it where a FLAC file does not fit.
    """
    found = _packed.index(path)
    utterances = {name: [_utterance(path, name, record) for record in found[name]] for name in SPLITS if name in found}
    if not utterances.get(TRAIN):
        raise DataError(f"{path / 'index.json'} has no train utterances; it has {', '.join(found)}")
    parts = _parts.split_by(utterances.pop(TRAIN), lambda one: one.group, **{SELECT: options.select})
    if not parts[TRAIN]:
        raise DataError(f"{path} has one group of voices in train: none can be held out, set --data-option select=0")
    return DataSet(
        splits={
            name: Split(
                sequences=len(chosen),
                read=partial(_packed.read, chosen, own=RATE, rate=RATE, frame=options.frame, limits=options),
            )
            for name, chosen in {**parts, **utterances}.items()
            if chosen
        },
        observation_size=options.frame,
        rate=RATE,
    )


def write_example(folder: Path, generator: np.random.Generator) -> Path:
    """Three groups of voices in train, one in valid and one in test."""
    index = {}
    for split, groups in ((TRAIN, (1, 2, 3)), (VALID, (4,)), (TEST, (5,))):
        index[split] = [{"start": 300 * i, "length": 300, "split_group": group} for i, group in enumerate(groups)]
        _speech.write(folder / f"{split}.flac", _speech.noise(300 * len(groups), generator), rate=RATE, form="FLAC")
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def _utterance(path: Path, split: str, record: Any) -> _packed.Utterance:
    if not isinstance(record, dict) or "split_group" not in record:
        raise DataError(f"{path / 'index.json'}: a record of {split} has no start, length and split_group: {record!r}")
    start, length, group = (record.get(key) for key in ("start", "length", "split_group"))
    return _packed.utterance(path, split, start=start, length=length, group=group)
