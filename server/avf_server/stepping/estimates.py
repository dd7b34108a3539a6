"""From tensors to bytes: what became of a batch, one row of it for each observation.

The laws: SCALARS and ARRAYS are all that is packed of an estimate: a number or an array more is a line more there.
Belief and estimate of a whole batch leave a device together, once, as one array, and stay arrays until their bytes are
cut from it. What is not finite never becomes an estimate.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import avf_wire as wire
import msgspec
import numpy as np
import torch
from avf_wire import binary_arrays, binary_batches
from avf_wire.binary import Floats
from avf_wire.binary_arrays import ALWAYS, FREE_ENERGIES, Numbers, deviation_name, mean_name
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from avf_core.belief_rows import BeliefRows
from avf_core.beliefs import Belief
from avf_core.estimates import Estimate
from avf_core.mixtures import Mixture
from avf_server.models.references import Reference
from avf_server.stepping.rows import Row

_Of = Callable[[Estimate], Tensor | None]

SCALARS = ("free_energy", "reconstruction", "kl", "iterations")
"""The fields of an estimate that are one number a row."""


def _mean_of(part: str) -> _Of:
    return lambda estimate: cast(Tensor, getattr(estimate, part).mean)


def _deviation_of(part: str) -> _Of:
    def deviation(estimate: Estimate) -> Tensor | None:
        distribution = getattr(estimate, part)
        if isinstance(distribution, Mixture) and distribution.discrete:
            return None
        log_variance: Tensor | None = getattr(distribution, "log_variance", None)
        return None if log_variance is None else torch.exp(0.5 * log_variance)

    return deviation


ARRAYS: Mapping[int, _Of] = {
    FREE_ENERGIES: lambda estimate: estimate.free_energies,
    **{mean_name(part): _mean_of(part) for part in ALWAYS},
    **{deviation_name(part): _deviation_of(part) for part in ALWAYS},
}
"""The arrays (B, N) of an estimate, by their names in messages; None where an estimate has none of that name.

There is no deviation where a distribution is Bernoulli, which has no variance of its own.
"""

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """A batch in the host's memory: its beliefs as rows of bytes, its estimates as columns and arrays (B, N) by name.

    `finite` says of which rows all numbers are finite.
    """

    beliefs: NDArray[np.uint8]
    scalars: Mapping[str, Floats]
    arrays: Mapping[int, Floats]
    finite: NDArray[np.bool_]


def to_host(belief: Belief, estimate: Estimate, form: BeliefRows, *, count: int) -> Batch:
    """The first `count` rows of a batch, in the host's memory."""
    arrays = {name: found for name in sorted(ARRAYS) if (found := ARRAYS[name](estimate)) is not None}
    columns = [getattr(estimate, name)[:, None] for name in SCALARS]  # float32: whole numbers up to 2^24 are exact
    rows, flat = _in_host(form.rows(belief), [*columns, *arrays.values()])
    beliefs, flat = rows[:count], flat[:count]
    ends = list(accumulate((x.shape[1] for x in arrays.values()), initial=len(SCALARS)))
    spans = zip(arrays, ends, ends[1:], strict=False)
    return Batch(
        beliefs=beliefs,
        scalars={name: flat[:, column] for column, name in enumerate(SCALARS)},
        arrays={name: flat[:, start:end] for name, start, end in spans},
        finite=np.isfinite(flat).all(1) & form.finite(beliefs),
    )


def _in_host(rows: UInt8[Tensor, "batch width"], parts: Sequence[Tensor]) -> tuple[NDArray[np.uint8], Floats]:
    """The rows, and the parts (B, N) side by side, in the host's memory: by one transfer where they are elsewhere."""
    if rows.is_cpu:  # by numpy, whose calls cost a fraction of torch's
        numbers = np.concatenate([part.numpy() for part in parts], axis=1, dtype=np.float32, casting="unsafe")
        return rows.numpy(), numbers
    width, beside = rows.shape[1], torch.cat([part.float() for part in parts], dim=1)
    host = torch.cat([rows, beside.view(torch.uint8)], dim=1).cpu().numpy()
    return host[:, :width], host[:, width:].view(np.float32)


def to_messages(batch: Batch, rows: Sequence[Row], *, surprise: NDArray[np.float64]) -> list[bytes]:
    """The estimates as they are stored: messages of avf.v1.bin, which do not say what is safe."""
    return binary_batches.encode(
        binary_batches.Estimates(
            epoch=np.array([row.continues.epoch for row in rows], dtype=np.uint64),
            seq=np.array([row.continues.seq + 1 for row in rows], dtype=np.uint64),
            surprise=surprise,
            durability=np.array([binary_batches.durability_code(row.durability) for row in rows], dtype=np.uint8),
            arrays=_times(rows) | dict(batch.arrays),
            **batch.scalars,
        )
    )


def _times(rows: Sequence[Row]) -> dict[int, Numbers]:
    """When the observations of one model were; nothing where it takes no times."""
    times = [[row.moment.time] for row in rows if row.moment is not None]
    return {binary_arrays.SCALARS["time"]: np.array(times)} if times else {}


def surprise_of(batch: Batch, seen: NDArray[np.bool_], reference: Reference | None) -> NDArray[np.float64]:
    """The p-value of every row; NaN where none is known, where nothing was `seen`, and where F is not finite."""
    if reference is None:
        return np.full(len(seen), np.nan)
    free_energy = batch.scalars["free_energy"].astype(np.float64)
    return np.where(seen & np.isfinite(free_energy), reference.surprise(free_energy), np.nan)


def to_notes(batch: Batch, rows: Sequence[Row], *, surprise: NDArray[np.float64]) -> list[bytes]:
    """The records of the steps in their sessions' histories, in JSON: small, and read by whoever lists sessions."""
    met = batch.arrays[FREE_ENERGIES]
    priors = met[:, 0].tolist() if met.shape[1] > 1 else [None] * len(rows)
    scalars = [batch.scalars[name].tolist() for name in ("free_energy", "reconstruction", "kl")]
    iterations = batch.scalars["iterations"].astype(np.int64).tolist()
    columns = zip(rows, *scalars, iterations, priors, surprise.tolist(), strict=True)
    now = time.time()
    return [
        _encoder.encode(
            wire.HistoryEntry(
                epoch=row.continues.epoch,
                seq=row.continues.seq + 1,
                at=now,
                free_energy=free_energy,
                reconstruction=reconstruction,
                kl=kl,
                prior_free_energy=prior,
                iterations=count,
                surprise=None if p != p else p,
                time=None if row.moment is None else row.moment.time,
            )
        )
        for row, free_energy, reconstruction, kl, count, prior, p in columns
    ]
