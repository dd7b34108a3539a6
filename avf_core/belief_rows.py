"""Beliefs of one model as rows of bytes: many of them in one array, each the body of the file that it is stored as.

The law: a row is, byte for byte, what follows the header in the file that `beliefs.to_bytes` writes of it, and the
header is the same for every row of a model, so that it is made once. Rows hold no tensors: they are cut, joined and
moved between devices as one array.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from avf_core.beliefs import Belief, from_bytes, named, of_named, to_bytes
from avf_core.errors import BeliefFormatError
from avf_core.trees import take


@dataclass(frozen=True, kw_only=True)
class _Column:
    """Where a tensor is in a row: bytes `start` to `end`."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


class BeliefRows:
    """How the beliefs of one model lie in bytes, as those of the example do."""

    def __init__(self, example: Belief, *, provenance: Mapping[str, str]) -> None:
        """`provenance` (the model's digest) stands in every header, and is asked of every file that is read."""
        first = take(example, slice(0, 1))
        file = to_bytes(first, provenance=provenance)
        length = 8 + int.from_bytes(file[:8], "little")
        layout = json.loads(file[8:length])
        self._provenance = dict(provenance)
        self._header = file[:length]
        self._columns = sorted(
            (
                _Column(
                    name=name,
                    dtype=tensor.dtype,
                    shape=tuple(tensor.shape[1:]),
                    start=layout[name]["data_offsets"][0],
                    end=layout[name]["data_offsets"][1],
                )
                for name, tensor in named(first).items()
            ),
            key=lambda column: column.start,
        )
        self._kinds = {column.dtype: torch.empty(0, dtype=column.dtype).numpy().dtype for column in self._columns}
        self._expected = {column.name: (torch.Size(column.shape), column.dtype) for column in self._columns}
        self._floats = _floats([(column, named(first)[column.name]) for column in self._columns])
        self.width = len(file) - length
        self.alone = not any(c.name.startswith(("particles.", "past.")) for c in self._columns)
        """Whether a sequence is one row of the model's, without particles and nothing kept to look back."""

    def rows(self, belief: Belief) -> UInt8[Tensor, "batch width"]:
        """The row of every sequence, on the device of the belief. Raises BeliefFormatError for one of another form."""
        tensors = named(belief)
        found = {name: (tensor.shape[1:], tensor.dtype) for name, tensor in tensors.items()}
        if found != self._expected:
            odd = sorted(name for name in {*found, *self._expected} if found.get(name) != self._expected.get(name))
            raise BeliefFormatError(f"this is no belief of the model: {', '.join(odd)} is not as expected")
        batch = belief.batch_size
        parts = [tensors[c.name].reshape(batch, -1).view(torch.uint8) for c in self._columns]
        if belief.seed.is_cpu:  # by numpy, whose calls cost a fraction of torch's
            return torch.from_numpy(np.concatenate([part.numpy() for part in parts], axis=1))
        return torch.cat(parts, dim=1)

    def belief(self, rows: UInt8[Tensor, "batch width"]) -> Belief:
        """The belief of these rows, on their device; it shares no memory with them."""
        parts = {c.name: rows[:, c.start : c.end].clone(memory_format=torch.contiguous_format) for c in self._columns}
        return of_named({c.name: parts[c.name].view(c.dtype).reshape(len(rows), *c.shape) for c in self._columns})

    def arrays(self, rows: UInt8[np.ndarray, "batch width"]) -> dict[str, NDArray[Any]]:
        """What these rows hold, by the names of `beliefs.named`, in the host's memory; each in one piece."""
        parts = [(c, np.ascontiguousarray(rows[:, c.start : c.end])) for c in self._columns]
        return {c.name: part.view(self._kinds[c.dtype]).reshape(len(rows), *c.shape) for c, part in parts}

    def joined(self, arrays: Mapping[str, NDArray[Any]], *, count: int) -> UInt8[np.ndarray, "batch width"]:
        """The rows that hold this: what `arrays` gives of them."""
        rows = np.empty((count, self.width), dtype=np.uint8)
        for c in self._columns:
            rows[:, c.start : c.end] = arrays[c.name].reshape(count, -1).view(np.uint8)
        return rows

    def steps(self, rows: NDArray[np.uint8]) -> NDArray[np.int64]:
        """For each of these rows, in the host's memory, how many observations were filtered."""
        column = next(c for c in self._columns if c.name == "step")
        return np.ascontiguousarray(rows[:, column.start : column.end]).view(np.int64)[:, 0]

    def finite(self, rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """For each of these rows, in the host's memory, whether all of its numbers are finite."""
        finite = np.ones(len(rows), dtype=np.bool_)
        for dtype, start, end in self._floats:
            finite &= np.isfinite(rows[:, start:end].view(dtype)).all(1)
        return finite

    def to_bytes(self, row: bytes) -> bytes:
        """The safetensors file of a row."""
        return self._header + row

    def from_bytes(self, data: bytes) -> bytes:
        """The row of a safetensors file. Raises BeliefFormatError, as `beliefs.from_bytes` does."""
        if len(data) == len(self._header) + self.width and data.startswith(self._header):
            return data[len(self._header) :]
        return self.rows(from_bytes(data, expected=self._provenance)).numpy().tobytes()


def _floats(columns: Sequence[tuple[_Column, Tensor]]) -> list[tuple[np.dtype[np.floating[Any]], int, int]]:
    """The stretches of a row that hold numbers of one type that may be infinite, from where to where."""
    stretches: list[tuple[np.dtype[np.floating[Any]], int, int]] = []
    for column, tensor in columns:
        if not tensor.is_floating_point():
            continue
        dtype = tensor.cpu().numpy().dtype
        if stretches and stretches[-1][0] == dtype and stretches[-1][2] == column.start:
            stretches[-1] = (dtype, stretches[-1][1], column.end)
        else:
            stretches.append((dtype, column.start, column.end))
    return stretches
