"""An observation with all that came with it, as one row of words: in frames of `avf.v1.bin`, raw bodies, and stores.

    a row, little-endian    D f32 the observation | U f32 its inputs | f64 its time, where the model takes times
    a wide row              the same with all numbers of 64 bits, for a model that computes in them

The law: a row of another length than the model's is handed on as it is, and refused by whoever checks observations; no
number is changed on its way. Not a number stands for a number that is missing, and for a time that was not said.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np

from avf_wire.binary_arrays import Floats, Numbers

TIME_WORDS = 2
"""Words of 4 bytes that a time takes."""


class Observed(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One observation (D,), NaN where a number is missing, and what came with it: inputs (U,) and a time, or None."""

    x: Numbers
    inputs: Numbers | None = None
    time: float | None = None


@dataclass(frozen=True, kw_only=True)
class RowForm:
    """What a model takes with each observation of `size` numbers: so many inputs, and times where it is `timed`.

    One that is `wide` computes in 64 bits: so its rows are written, and those of 32 are read, too.
    """

    size: int
    input_size: int = 0
    timed: bool = False
    wide: bool = False

    @cached_property
    def plain(self) -> bool:
        """Whether a row is the observation and nothing else, in 32 bits."""
        return not (self.input_size or self.timed or self.wide)

    @property
    def words(self) -> int:
        """The length of a row of 32 bits."""
        return self.size + self.input_size + TIME_WORDS * self.timed

    @property
    def wide_words(self) -> int:
        """The length of a row whose numbers are all of 64 bits."""
        return 2 * (self.size + self.input_size + self.timed)

    def row(self, observed: Observed) -> Floats:
        """The row of an observation that fits, in words; a wide one where the model is."""
        parts: list[Numbers] = [observed.x]
        if observed.inputs is not None:
            parts.append(observed.inputs)
        if self.timed:
            time = np.array([math.nan if observed.time is None else observed.time], dtype="<f8")
            parts.append(time if self.wide else time.view("<f4"))
        if self.wide:
            return np.concatenate(parts, dtype="<f8").view("<f4")
        return np.concatenate(parts, dtype="<f4", casting="same_kind") if len(parts) > 1 else narrow(parts[0])

    def observed(self, row: Floats) -> Observed:
        """What a row says; a model that is wide takes either."""
        if self.plain and len(row) == self.size:
            return Observed(x=row)
        end = self.size + self.input_size
        if self.wide and len(row) == self.wide_words:
            numbers: Numbers = np.frombuffer(row.tobytes(), dtype="<f8")
            times = numbers[end:]
        elif len(row) == self.words:
            numbers, times = row, np.frombuffer(row[end:].tobytes(), dtype="<f8")
        else:
            return Observed(x=row)
        time = float(times[0]) if self.timed else math.nan
        return Observed(
            x=numbers[: self.size],
            inputs=numbers[self.size : end] if self.input_size else None,
            time=None if math.isnan(time) else time,
        )


def narrow(x: Numbers) -> Floats:
    """The numbers rounded to 32 bits."""
    return x.astype(np.float32, copy=False)
