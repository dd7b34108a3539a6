"""What a client gets for the past of a session: `History`, one array a number. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

import avf_wire as wire
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Scalars of steps (T,), in order, over epochs. Energies in nats; free_energy = reconstruction + kl.

    epoch, seq         which observation
    at                 seconds since 1970
    free_energy        how surprising it was; `reconstruction` and `kl` are its two parts
    prior_free_energy  F before the first iteration, NaN where that is not known
    iterations         updates of the posterior that were spent
    surprise           p-value of the free energy, two-sided, on normal data; NaN where that is not known
    time               when it was, where the model takes times, else NaN
    evidence_bound     bound on -log p of the observation given those before it; NaN where it was not said
    effective_sample_size  of the session's particles; NaN where it was not said
    """

    epoch: Integers
    seq: Integers
    at: Floats
    free_energy: Floats
    reconstruction: Floats
    kl: Floats
    prior_free_energy: Floats
    iterations: Integers
    surprise: Floats
    time: Floats
    evidence_bound: Floats
    effective_sample_size: Floats

    def __len__(self) -> int:
        return len(self.seq)


def of_entries(entries: Sequence[wire.HistoryEntry]) -> History:
    """The history of these steps."""
    return History(
        epoch=_integers([entry.epoch for entry in entries]),
        seq=_integers([entry.seq for entry in entries]),
        at=_floats([entry.at for entry in entries]),
        free_energy=_floats([entry.free_energy for entry in entries]),
        reconstruction=_floats([entry.reconstruction for entry in entries]),
        kl=_floats([entry.kl for entry in entries]),
        prior_free_energy=_floats([entry.prior_free_energy for entry in entries]),
        iterations=_integers([entry.iterations for entry in entries]),
        surprise=_floats([entry.surprise for entry in entries]),
        time=_floats([entry.time for entry in entries]),
        evidence_bound=_floats([entry.evidence_bound for entry in entries]),
        effective_sample_size=_floats([entry.effective_sample_size for entry in entries]),
    )


def _integers(values: list[int]) -> Integers:
    return np.array(values, dtype=np.int64)


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array(values, dtype=np.float64)  # None becomes NaN
