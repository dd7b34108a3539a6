"""An observation with all that came with it, as one row of words: in frames of `avf.v1.bin`, raw bodies, and stores.

    a row, little-endian    D f32 the observation | U f32 its inputs | f64 its time, where the model takes times

The law: a row of another length than the model's is handed on as it is, and refused by whoever checks observations; no
number is changed on its way. Not a number stands for a number that is missing, and for a time that was not said.
"""

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from avf_wire.binary_arrays import Floats

TIME_WORDS = 2
"""Words of 4 bytes that a time takes."""


class Observed(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One observation (D,), NaN where a number is missing, and what came with it: inputs (U,) and a time, or None."""

    x: Floats
    inputs: Floats | None = None
    time: float | None = None


@dataclass(frozen=True, kw_only=True)
class RowForm:
    """What a model takes with each observation of `size` numbers: so many inputs, and times where it is `timed`."""

    size: int
    input_size: int = 0
    timed: bool = False

    @property
    def words(self) -> int:
        """The length of a row."""
        return self.size + self.input_size + TIME_WORDS * self.timed

    def row(self, observed: Observed) -> Floats:
        """The row (words,) of an observation that fits."""
        parts: list[Floats] = [observed.x]
        if observed.inputs is not None:
            parts.append(observed.inputs)
        if self.timed:
            time = math.nan if observed.time is None else observed.time
            parts.append(np.array([time], dtype="<f8").view("<f4"))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, dtype=np.float32)

    def observed(self, row: Floats) -> Observed:
        """What a row says."""
        if len(row) != self.words:
            return Observed(x=row)
        end = self.size + self.input_size
        time = float(np.frombuffer(row[end:].tobytes(), dtype="<f8")[0]) if self.timed else math.nan
        return Observed(
            x=row[: self.size],
            inputs=row[self.size : end] if self.input_size else None,
            time=None if math.isnan(time) else time,
        )
