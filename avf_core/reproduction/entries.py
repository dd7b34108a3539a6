"""What a table of results is made of: an entry is one run of `avf train` with what it is for."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avf_core.training import versions

Role = Literal["start", "baseline", "avf", "bound", "curve", "ships", "no-latent", "same", "time"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run of a table.

    `command` makes it: `avf train` of a preset, with `changes` as its --set takes them, on `data`, a path below the
    root of all data; or `avf fit`, with `changes` as its options, on the set of sensors that `data` names, of all
    candidates where `preset` is empty. `start` is the entry whose best checkpoint it starts from; `goes_on` is the
    entry of the same preset, data and seed that it is the rest of, with more epochs: what that one has trained is taken
    over, state and all. Roles: `start` is only the start of others, `bound` is AVF whose theta learns for a bound by
    several samples instead of the free energy, `curve` a point of "free energy against iterations in training", `ships`
    what the zoo has beside the paper's kind, `no-latent` its model as a deterministic one, with as many updates.
    `minutes` is the wall clock's, all resumed parts together. With `particles` the FIVO bound is reported beside the
    free energy. `precision` is that of matrix products while training.
    """

    name: str
    group: str
    role: Role
    preset: str
    data: str
    command: Literal["train", "fit"] = "train"
    changes: tuple[str, ...] = ()
    seed: int = 1
    start: str | None = None
    goes_on: str | None = None
    time_of: str | None = None
    minutes: float = 45.0
    particles: int = 0
    precision: Literal["float32", "bfloat16"] = "bfloat16"

    @classmethod
    def of(cls, said: Mapping[str, Any], path: Path) -> "Entry":
        """As a file says it. Raises TrainingError where a newer version of avf wrote that."""
        versions.check(cls, said, path)
        return cls(**{**said, "changes": tuple(said["changes"])})

    @property
    def origin(self) -> str | None:
        """The entry that must be trained before this one."""
        return self.start or self.goes_on

    @property
    def waits_for(self) -> tuple[str, ...]:
        """All that must be trained before this one begins."""
        return tuple(name for name in (self.origin, self.time_of) if name is not None)

    def same_run(self, other: "Entry") -> bool:
        """Whether both train the same thing; they may be limited and reported otherwise."""
        return self._trained() == other._trained()

    def _trained(self) -> "Entry":
        return dataclasses.replace(self, group="", role="avf", goes_on=None, minutes=0.0, particles=0)


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a section of the results is about.

    `paper` are the figures of Marino, Cvitkovic & Yue 2018, Table 3, as printed, for baseline and AVF, where they are
    of the same data: means over sequences, in nats per step, that leave the first frame out but divide by all frames.
    `floors` are what others need, pooled, by name: textbooks, and models of other papers as these print them.
    """

    title: str
    paper: tuple[float, float] | None = None
    floors: tuple[tuple[str, float], ...] = ()


def epochs_in(changes: Sequence[str]) -> int | None:
    """The epochs that changes of an entry say; None where they leave them to the preset."""
    said = [change.partition("=")[2] for change in changes if change.startswith("training.epochs=")]
    return int(said[-1]) if said else None


def divided_rightly(printed: float, mean_inverse_length: float) -> float:
    """A figure of the paper, divided by the frames it scored: it leaves one frame of each sequence out.

    Its mean over sequences of (sum from the second frame on) / T is too low by (T - 1) / T; by its mean where lengths
    differ.
    """
    return printed / (1.0 - mean_inverse_length)
