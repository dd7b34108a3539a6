"""One sequence of a data set, filtered by a checkpoint: what `avf forecast`, `impute` and `smooth` have in common."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core import checkpoints
from avf_core.analysis.batching import pad_drive
from avf_core.checkpoints import Checkpoint
from avf_core.commands.options import data_options
from avf_core.data import Source
from avf_core.drives import Drive
from avf_core.errors import DataError
from avf_core.trees import take

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles that are written and drawn."""


@dataclass(frozen=True, kw_only=True)
class Picked:
    """A checkpoint and a sequence, with what of it was observed and what moved it."""

    checkpoint: Checkpoint
    split: str
    sequence: int
    xs: Float[Tensor, "time observation"]
    observed: Bool[Tensor, "time observation"]
    drive: Drive

    def driven(self, start: int, steps: int) -> Drive:
        """What moved this sequence in these steps, as a batch of one. Raises DataError for inputs beyond its end."""
        found: Drive = take(self.drive, slice(start, start + steps))
        missing = max(0, start + steps - len(self.xs))
        if found.inputs is not None and missing:
            raise DataError(
                f"{self.title} has {len(self.xs)} steps, and the model takes inputs: what they are in steps beyond is "
                f"not known; go {missing} steps less far"
            )
        reader = self.checkpoint.filter.model.reader
        usual = reader.resting((missing, 1), self.xs).dt
        return found if found.dt is None or usual is None else replace(found, dt=torch.cat([found.dt, usual]))

    def named(self) -> dict[str, Any]:
        """The facts that come first in every JSON object."""
        checkpoint = self.checkpoint
        return {
            "model": checkpoint.name,
            "digest": checkpoint.digest,
            "split": self.split,
            "sequence": self.sequence,
            "steps": len(self.xs),
        }

    @property
    def title(self) -> str:
        """The same in words."""
        return f"{self.checkpoint.name}, {self.split} sequence {self.sequence}"


def picking(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: --model, the data's options, --split and --sequence become one argument `picked`, a `Picked`."""

    @click.option("--model", required=True, help="A checkpoint's name in the zoo, or its folder.")
    @data_options
    @click.option("--split", default="test", show_default=True, help="Which part of the data set.")
    @click.option("--sequence", type=click.IntRange(min=0), default=0, show_default=True, help="Which of it, from 0.")
    @functools.wraps(command)
    def wrapped(model: str, data: Source, split: str, sequence: int, **others: Any) -> Any:
        return command(picked=_pick(model, data, split, sequence), **others)

    return wrapped


def _pick(model: str, data: Source, split: str, sequence: int) -> Picked:
    checkpoint = checkpoints.load(model)
    size = checkpoint.filter.model.observation.size
    sequences = data.like(checkpoint.card.get("data")).load(split, observation_size=size)
    if sequence >= len(sequences):
        raise DataError(
            f"no sequence {sequence} in the split {split!r}: it has {len(sequences)}, from 0 to {len(sequences) - 1}"
        )
    dtype = next(checkpoint.filter.parameters()).dtype
    xs = torch.as_tensor(np.ascontiguousarray(sequences[sequence])).to(dtype)
    reader = checkpoint.filter.model.reader
    drive = reader.taken(pad_drive([sequences[sequence]]), shape=(len(xs), 1), like=xs)
    return Picked(checkpoint=checkpoint, split=split, sequence=sequence, xs=xs, observed=~xs.isnan(), drive=drive)


def rounded(values: Tensor | np.ndarray) -> list[Any]:
    """Nested lists for JSON, six digits each, None for what is not a number."""
    return _rounded(np.asarray(values, dtype=np.float64).tolist())  # type: ignore[no-any-return]


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return None if math.isnan(value) else float(f"{value:.6g}")
