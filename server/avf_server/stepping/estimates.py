"""From tensors to messages: a batch's estimate becomes one `wire.Estimate` a row.

The law: numbers are moved from the device once a batch, not once a row; what is not finite never becomes a
message.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import avf_wire as wire
import msgspec
import numpy as np
import torch
from torch import Tensor

from avf_core.filtering import Estimate
from avf_server.models.references import Reference

if TYPE_CHECKING:
    from avf_server.stepping.engine import Row

_encoder = msgspec.json.Encoder()


def estimates(estimate: Estimate, rows: "Sequence[Row]", *, reference: Reference | None) -> list[wire.Estimate]:
    """The messages of the first rows of a batch, one for each of `rows`; `reference` is what surprise is judged by."""
    count = len(rows)
    columns = {
        "free_energy": _numbers(estimate.free_energy, count),
        "reconstruction": _numbers(estimate.reconstruction, count),
        "kl": _numbers(estimate.kl, count),
        "free_energies": _numbers(estimate.free_energies, count),
        "iterations": _numbers(estimate.iterations, count),
        "prior": _moments(estimate.prior, count),
        "posterior": _moments(estimate.posterior, count),
        "prediction": _moments(estimate.prediction, count),
        "likelihood": _moments(estimate.likelihood, count),
    }
    columns["surprise"] = _surprise(columns["free_energy"], rows, reference)
    return [
        wire.Estimate(
            epoch=row.continues.epoch,
            seq=row.continues.seq + 1,
            durability=row.durability,
            **{name: column[i] for name, column in columns.items()},
        )
        for i, row in enumerate(rows)
    ]


def _surprise(free_energies: list[float], rows: "Sequence[Row]", reference: Reference | None) -> list[float | None]:
    """The p-value of every row; None where none is known, where nothing was observed, and where F is not finite."""
    if reference is None:
        return [None] * len(rows)
    found = reference.surprise(free_energies)
    return [
        p if math.isfinite(f) and not np.isnan(row.x).all() else None
        for p, f, row in zip(found, free_energies, rows, strict=True)
    ]


def to_json(estimate: wire.Estimate) -> bytes:
    """The estimate as it is stored: as it goes over the wire, but for what is safe by now, which `complete` adds."""
    return _encoder.encode(estimate).replace(b'"durable_seq":null,', b"", 1)


def to_note(estimate: wire.Estimate, *, at: float) -> bytes:
    """The record of a step in its session's history. `at` is in seconds since 1970."""
    met = estimate.free_energies
    return _encoder.encode(
        wire.HistoryEntry(
            epoch=estimate.epoch,
            seq=estimate.seq,
            at=at,
            free_energy=estimate.free_energy,
            reconstruction=estimate.reconstruction,
            kl=estimate.kl,
            prior_free_energy=met[0] if len(met) > 1 else None,
            iterations=estimate.iterations,
            surprise=estimate.surprise,
        )
    )


def _numbers(tensor: Tensor, count: int) -> list[Any]:
    return list(tensor[:count].tolist())


def _moments(distribution: Any, count: int) -> list[wire.Moments]:
    """Mean and deviation a row; no deviation where the distribution is Bernoulli, which has no variance of its own."""
    means = _numbers(distribution.mean, count)
    if not hasattr(distribution, "log_variance"):
        return [wire.Moments(mean=mean) for mean in means]
    deviations = _numbers(torch.exp(0.5 * distribution.log_variance), count)
    return [wire.Moments(mean=m, deviation=d) for m, d in zip(means, deviations, strict=True)]
