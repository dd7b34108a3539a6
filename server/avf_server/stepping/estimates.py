"""From tensors to bytes: what became of a batch, one row of it for each observation.

The law: belief and estimate of a whole batch leave the device together, once, as one array, and stay arrays until their
bytes are cut from it. What is not finite never becomes an estimate.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import avf_wire as wire
import msgspec
import numpy as np
import torch
from avf_wire import binary_batches
from avf_wire.binary import Floats
from avf_wire.binary_estimates import FREE_ENERGIES, PARTS, deviation_name, mean_name
from numpy.typing import NDArray
from torch import Tensor

from avf_core.belief_rows import BeliefRows
from avf_core.beliefs import Belief
from avf_core.filtering import Estimate
from avf_server.models.references import Reference
from avf_server.stepping.rows import Row

SCALARS = ("free_energy", "reconstruction", "kl", "iterations")

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
    """The first `count` rows of a batch, moved off the device."""
    arrays = _arrays(estimate)
    columns = [getattr(estimate, name).float()[:, None] for name in SCALARS]  # whole numbers up to 2^24 are exact
    numbers = torch.cat([*columns, *arrays.values()], dim=1)
    host = torch.cat([form.rows(belief), numbers.view(torch.uint8)], dim=1)[:count].cpu().numpy()
    flat = host[:, form.width :].view(np.float32)
    ends = np.cumsum([len(SCALARS), *(x.shape[1] for x in arrays.values())]).tolist()
    spans = zip(arrays, ends, ends[1:], strict=False)
    return Batch(
        beliefs=host[:, : form.width],
        scalars={name: flat[:, column] for column, name in enumerate(SCALARS)},
        arrays={name: flat[:, start:end] for name, start, end in spans},
        finite=np.isfinite(flat).all(1) & form.finite(host[:, : form.width]),
    )


def to_messages(batch: Batch, rows: Sequence[Row], *, surprise: NDArray[np.float64]) -> list[bytes]:
    """The estimates as they are stored: messages of avf.v1.bin, which do not say what is safe."""
    return binary_batches.encode(
        binary_batches.Estimates(
            epoch=np.array([row.continues.epoch for row in rows], dtype=np.uint64),
            seq=np.array([row.continues.seq + 1 for row in rows], dtype=np.uint64),
            surprise=surprise,
            durability=np.array([binary_batches.durability_code(row.durability) for row in rows], dtype=np.uint8),
            arrays=batch.arrays,
            **batch.scalars,
        )
    )


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
            )
        )
        for row, free_energy, reconstruction, kl, count, prior, p in columns
    ]


def _arrays(estimate: Estimate) -> dict[int, Tensor]:
    """The arrays of an estimate by the names that they have in messages, in the order of these.

    There is no deviation where a distribution is Bernoulli, which has no variance of its own.
    """
    arrays: dict[int, Tensor] = {FREE_ENERGIES: estimate.free_energies}
    for part in PARTS:
        distribution: Any = getattr(estimate, part)
        arrays[mean_name(part)] = distribution.mean
        if hasattr(distribution, "log_variance"):
            arrays[deviation_name(part)] = torch.exp(0.5 * distribution.log_variance)
    return arrays
