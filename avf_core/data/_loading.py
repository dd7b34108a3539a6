"""From a path to sequences: which kind of data set it is, with which options, and one of its splits.

The law: what a plug-in reads is checked here, once. A sequence has shape (time, observation), at least one step, and
the size that the data set says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from avf_core import data
from avf_core.data.base import SELECT, TEST, VALID, DataSet, Modality, Plugin, Sequences
from avf_core.errors import ConfigurationError, DataError, PluginError
from avf_core.plugins import Settings, available, configure, plugin


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a data set is, without its numbers.

    `modality` is what observations are of. `splits` maps a split to its number of sequences. `observation_size` is the
    length of an observation, `shape` what it is a flattened form of, `channels` what its numbers are called; `rate` is
    in Hz. `input_size` is the number of inputs that come with an observation, `inputs` what they are called.
    `selection` is the split that a training is selected on, and `reported` the one whose figures are told: a part of
    train that was held out, and the published valid split, where there is no test split.
    """

    name: str
    kind: str
    options: Mapping[str, Any]
    modality: Modality
    splits: Mapping[str, int]
    observation_size: int
    shape: tuple[int, ...] | None
    rate: int | None
    channels: tuple[str, ...] | None = None
    input_size: int = 0
    inputs: tuple[str, ...] | None = None

    @property
    def selection(self) -> str:
        """The split to select on."""
        return SELECT if SELECT in self.splits else VALID

    @property
    def reported(self) -> str:
        """The split to report."""
        return TEST if TEST in self.splits else VALID


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where data is, and how to read it: a path, its kind (None: recognised from the path), and the kind's options."""

    path: str | Path
    kind: str | None = None
    options: Settings = field(default_factory=dict)

    def load(self, split: str, *, observation_size: int | None = None) -> Sequences:
        """The sequences of a split, each of shape (time, observation), in natural units.

        Raises DataError where there is no such data or split, or where its observations are not of the size that was
        asked for (before anything is read); and ConfigurationError for unknown kinds and options.
        """
        surveyed = self._survey()
        if observation_size not in (None, surveyed.observation_size):
            raise DataError(
                f"{self.path}, read as {self.known_kind()}, has observations of {surveyed.observation_size} numbers, "
                f"the model takes {observation_size}: choose other data, or read it otherwise with --data-option"
            )
        if split not in surveyed.splits:
            raise DataError(f"{self.path} has no split {split!r}; it has {', '.join(surveyed.splits)}")
        sequences = list(surveyed.splits[split].read())
        if not sequences:
            raise DataError(f"the split {split!r} of {self.path} has no sequences")
        for sequence in sequences:
            _check(sequence, surveyed, self.path)
        return sequences

    def describe(self) -> Description:
        """What the data set is; its arrays are not read. Raises as `load` does."""
        surveyed = self._survey()
        return Description(
            name=self.place.resolve().name,
            kind=self.known_kind(),
            options=dict(self.options),
            modality=_plugin(self.known_kind()).MODALITY,
            splits={name: split.sequences for name, split in surveyed.splits.items()},
            observation_size=surveyed.observation_size,
            shape=surveyed.shape,
            rate=surveyed.rate,
            channels=surveyed.channels,
            input_size=surveyed.input_size,
            inputs=surveyed.inputs,
        )

    @property
    def place(self) -> Path:
        """The path, where ~ is the user's own folder. Raises DataError."""
        return _place(self.path)

    def known_kind(self) -> str:
        """The kind that was given, or the one that recognises the path. Raises DataError."""
        return self.kind or recognise(self.path)

    def as_card(self) -> dict[str, Any]:
        """What a model card says of its data: name, kind, options, channels and inputs, but not where it lay."""
        surveyed = self._survey()
        said = {"name": self.place.resolve().name, "kind": self.known_kind(), "options": dict(self.options)}
        named = {"channels": surveyed.channels, "inputs": surveyed.inputs}
        return said | {name: list(names) for name, names in named.items() if names is not None}

    def like(self, card: object) -> "Source":
        """The same path, read as the data of a model card was, in so far as the kind fits and nothing else was said.

        Its channels are asked for by name, so that other columns, or another order, are not taken for them.
        """
        if not isinstance(card, Mapping) or self.kind not in (None, card["kind"]):
            return self
        if self.kind is None and not _may_be(card["kind"], self.place):
            return self
        named = {name: card[name] for name in ("channels", "inputs") if name in card}
        return Source(path=self.path, kind=card["kind"], options={**card["options"], **named, **self.options})

    def _survey(self) -> DataSet:
        chosen = _plugin(self.known_kind())
        surveyed = chosen.survey(self.place, configure(chosen.Options, self.options))
        if not surveyed.splits:
            raise DataError(f"{self.path} has no sequences")
        if surveyed.observation_size < 1:
            raise DataError(f"{self.path} has observations of no numbers")
        return surveyed


def load(path: str | Path, split: str, *, kind: str | None = None, options: Settings | None = None) -> Sequences:
    """The sequences of a split, each of shape (time, observation), in natural units; see `Source.load`."""
    return Source(path=path, kind=kind, options=options or {}).load(split)


def describe(path: str | Path, *, kind: str | None = None, options: Settings | None = None) -> Description:
    """What the data set at a path is; see `Source.describe`."""
    return Source(path=path, kind=kind, options=options or {}).describe()


def recognise(path: str | Path) -> str:
    """The kind of data set at a path. Raises DataError where none fits, or several do."""
    place = _place(path)
    if not place.exists():
        raise DataError(f"no file or folder {path}: give the path of a data set (docs/data.md says which there are)")
    fitting = _fitting(place)
    if len(fitting) != 1:
        found = f"may be {' or '.join(fitting)}" if fitting else "is of no kind that is known"
        raise DataError(f"{path} {found}; say which with --data-kind: {', '.join(fitting or available(data))}")
    return fitting[0]


def _place(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{path} is in no user's folder that is known: write the path out") from error


def _fitting(path: Path) -> list[str]:
    """The kinds that recognise a path; general formats where no data set does that is known by name."""
    plugins = {kind: _plugin(kind) for kind in available(data)}
    named = [kind for kind, found in plugins.items() if not found.GENERAL and found.recognises(path)]
    return named or [kind for kind, found in plugins.items() if found.GENERAL and found.recognises(path)]


def _may_be(kind: str, path: Path) -> bool:
    """Whether a path looks like what a model card names; what nobody here has named is not asked."""
    if kind in available(data):
        return kind in _fitting(path)
    try:
        return _plugin(kind, trusted=False).recognises(path)
    except ConfigurationError:
        return False


def _plugin(kind: str, *, trusted: bool = True) -> Plugin:
    found = plugin(data, kind, trusted=trusted)
    if not isinstance(found, Plugin):
        raise PluginError(f"{kind} is no kind of data set: expected what avf_core.data.base.Plugin says")
    return found


def _check(sequence: np.ndarray, surveyed: DataSet, path: str | Path) -> None:
    if sequence.ndim != 2 or len(sequence) == 0 or sequence.shape[1] != surveyed.observation_size:
        raise DataError(
            f"{path} has a sequence of shape {sequence.shape}, "
            f"expected (time, {surveyed.observation_size}) with at least one step"
        )
