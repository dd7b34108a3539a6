"""Sequences of a data set as padded batches: those of like lengths together, what moved them beside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from avf_core.data import Driven, numbers
from avf_core.drives import Drive
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.trees import tree_map


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Sequences of a data set that are filtered together, the longest first, so that rows end from the last on.

    `rows` are their places in the data set. `observed` is None where no value is missing; `xs` is padded with zeros.
    """

    rows: list[int]
    lengths: list[int]
    xs: Float[Tensor, "time batch observation"]
    observed: Bool[Tensor, "time batch observation"] | None
    drive: Drive

    @property
    def seeds(self) -> Int64[Tensor, " batch"]:
        """The places in the data set, to which a seed is added."""
        return torch.tensor(self.rows, device=self.xs.device)

    def active(self, t: int) -> int:
        """How many sequences, the first ones, have a frame t."""
        return sum(length > t for length in self.lengths)

    def at(
        self, t: int
    ) -> tuple[Float[Tensor, "active observation"], Bool[Tensor, "active observation"] | None, Bool[Tensor, " active"]]:
        """Frame t of the sequences that have one, what of it was observed, and which of them have any value in it."""
        active = self.active(t)
        x = self.xs[t, :active]
        if self.observed is None:
            return x, None, x.new_ones(active, dtype=torch.bool)
        observed = self.observed[t, :active]
        return x, observed, observed.any(-1)

    def drive_at(self, t: int) -> Drive:
        """What moved the sequences that have a frame t before it."""
        active: Drive = tree_map(lambda tensor: tensor[t, : self.active(t)], self.drive)
        return active


def pad_drive(sequences: Sequence[np.ndarray]) -> Drive:
    """What moved these sequences, padded at the end with inputs of zeros and a dt that is not known.

    Raises DataError where some have it, and others not.
    """
    driven = [sequence if isinstance(sequence, Driven) else Driven(sequence) for sequence in sequences]
    inputs = [sequence.inputs for sequence in driven if sequence.inputs is not None]
    dts = [sequence.dt for sequence in driven if sequence.dt is not None]
    for name, found in (("inputs", inputs), ("a dt", dts)):
        if len(found) not in (0, len(driven)):
            raise DataError(f"{len(found)} of {len(driven)} sequences have {name}: expected all or none")
    longest = max(len(sequence) for sequence in sequences)

    def padded(parts: Sequence[np.ndarray], blank: float) -> Tensor:
        rows = torch.full((longest, len(parts), *parts[0].shape[1:]), blank)
        for row, part in enumerate(parts):
            rows[: len(part), row] = torch.as_tensor(np.ascontiguousarray(part))
        return rows

    if len({part.shape[1] for part in inputs}) > 1:
        raise DataError("sequences have different numbers of inputs: expected the same for all")
    return Drive(inputs=padded(inputs, 0.0) if inputs else None, dt=padded(dts, float("nan")) if dts else None)


def pad(
    sequences: Sequence[np.ndarray], *, dtype: torch.dtype = torch.float32
) -> tuple[Float[Tensor, "time batch observation"], Bool[Tensor, "time batch"]]:
    """Sequences of shape (time, observation) as one batch, padded with zeros at the end; and which frames are real.

    What is masked is NaN. Raises DataError.
    """
    if not sequences or min(len(s) for s in sequences) == 0:
        raise DataError("expected at least one sequence, each of at least one frame")
    longest = max(len(s) for s in sequences)
    xs = torch.zeros(longest, len(sequences), sequences[0].shape[1], dtype=dtype)
    real = torch.zeros(longest, len(sequences), dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        xs[: len(sequence), row] = torch.as_tensor(np.ascontiguousarray(numbers(sequence))).to(dtype)
        real[: len(sequence), row] = True
    return xs, real


def batches(filter: Filter, sequences: Sequence[np.ndarray], *, size: int) -> Iterator[Batch]:
    """All sequences, at most `size` together and those of like lengths; NaN is what was not observed."""
    if not sequences:
        raise DataError("expected at least one sequence")
    parameter = next(filter.parameters())
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]), reverse=True)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        xs, _ = pad([sequences[i] for i in rows], dtype=parameter.dtype)
        xs = xs.to(parameter.device)
        missing = xs.isnan()
        drive = tree_map(lambda tensor: tensor.to(parameter.device), pad_drive([sequences[i] for i in rows]))
        yield Batch(
            rows=rows,
            lengths=[len(sequences[i]) for i in rows],
            xs=xs,
            observed=~missing if bool(missing.any()) else None,
            drive=filter.model.reader.taken(drive, shape=tuple(xs.shape[:2]), like=xs),
        )
