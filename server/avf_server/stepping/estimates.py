"""From tensors to bytes: what became of a batch, one row of it for each observation.

The laws: SCALARS and ARRAYS are all that is packed of an estimate: a number or an array more is a line more there.
Belief and estimate of a whole batch leave a device together, once, as one array, and stay arrays until their bytes are
cut from it. What is not finite never becomes an estimate.
"""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, cast

import avf_wire as wire
import msgspec
import numpy as np
import torch
from avf_wire import binary_batches
from avf_wire.binary_arrays import (
    ALARM,
    FREE_ENERGIES,
    ORDER,
    PARTS,
    QUANTILE_LEVELS,
    QUANTILES,
    SMOOTHED_SEQ,
    Numbers,
    deviation_name,
    mean_name,
)
from avf_wire.binary_arrays import SCALARS as ALONE
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from avf_core.belief_rows import BeliefRows
from avf_core.beliefs import Belief
from avf_core.estimates import Estimate
from avf_core.flat import FlatStep
from avf_core.mixtures import Mixture
from avf_server.models.references import Reference
from avf_server.models.references import Told as Judged
from avf_server.models.setups import Setup
from avf_server.stepping.rows import Row

SCALARS = ("free_energy", "reconstruction", "kl", "iterations")
"""The fields of an estimate that are one number a row."""
SCORE, SIGNS = "score", "signs"
"""What surprise is judged by; it is packed with the others, and not told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """What is said of a batch: its estimate, and the prediction that sessions of this setup are told."""

    estimate: Estimate
    prediction: Mixture
    setup: Setup

    @classmethod
    def of(cls, estimate: Estimate, setup: Setup) -> "Told":
        """The prediction is made here, once, of as many draws as the setup says."""
        return cls(estimate=estimate, prediction=estimate.outlook.prediction(setup.samples), setup=setup)

    def part(self, name: str) -> Any:
        """A distribution by its name in messages; None where there is none."""
        return self.prediction if name == "prediction" else getattr(self.estimate, name)


_Of = Callable[[Told], Tensor | None]


def _mean_of(part: str) -> _Of:
    return lambda told: None if told.part(part) is None else cast(Tensor, told.part(part).mean)


def _deviation_of(part: str) -> _Of:
    return lambda told: _deviation(told.part(part))


def _deviation(found: Any) -> Tensor | None:
    """That of a distribution, where it has one of its own."""
    if isinstance(found, Mixture):
        return None if found.discrete else found.deviation
    deviation: Tensor | None = getattr(found, "deviation", None)
    if deviation is not None:
        return deviation
    log_variance: Tensor | None = getattr(found, "log_variance", None)
    return None if log_variance is None else torch.exp(0.5 * log_variance)


def _quantiles(prediction: Mixture, setup: Setup) -> Tensor | None:
    return torch.cat([prediction.quantile(level) for level in setup.quantiles], dim=1) if setup.quantiles else None


ARRAYS: Mapping[int, _Of] = {
    ALONE["evidence_bound"]: lambda told: told.estimate.evidence_bound[:, None],
    ALONE["effective_sample_size"]: lambda told: told.estimate.effective_sample_size[:, None],
    FREE_ENERGIES: lambda told: told.estimate.free_energies,
    **{mean_name(part): _mean_of(part) for part in PARTS},
    **{deviation_name(part): _deviation_of(part) for part in PARTS},
    QUANTILES: lambda told: _quantiles(told.prediction, told.setup),
}
"""The arrays (B, N) of an estimate, by their names in messages; None where there is none.

There is no deviation where a distribution is Bernoulli, which has no variance of its own.
"""

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """A batch in the host's memory: its beliefs as rows of bytes, its estimates as columns and arrays (B, N) by name.

    `score` and `signs` are what surprise is judged by; of signs there are none where nobody hears them. `finite` says
    of which rows all numbers are finite.
    """

    beliefs: NDArray[np.uint8]
    scalars: Mapping[str, Any]
    score: Numbers
    signs: Numbers
    arrays: Mapping[int, Numbers]
    finite: NDArray[np.bool_]
    setup: Setup


def to_host(belief: Belief, told: Told, form: BeliefRows, *, count: int, heard: bool) -> Batch:
    """The first `count` rows of a batch, in the host's memory; `heard`: with its signs."""
    arrays = {name: array for name, of in ARRAYS.items() if (array := of(told)) is not None}
    columns: dict[Hashable, Tensor] = {name: getattr(told.estimate, name)[:, None] for name in (*SCALARS, SCORE)}
    columns[SIGNS] = told.estimate.signs if heard else told.estimate.z[:, :0]
    rows, flats = _in_host(form.rows(belief), columns | arrays)
    beliefs = rows[:count]
    finite = np.logical_and.reduce([form.finite(beliefs), *(np.isfinite(x[:count]).all(1) for x, _ in flats)])
    parts = {name: x[:count, start:end] for x, spans in flats for name, (start, end) in spans.items()}
    return Batch(
        beliefs=beliefs,
        scalars={name: parts[name][:, 0] for name in SCALARS},
        score=parts[SCORE][:, 0],
        signs=parts[SIGNS],
        arrays={name: parts[name] for name in arrays},
        finite=finite,
        setup=told.setup,
    )


def of_flat(step: FlatStep, form: BeliefRows, setup: Setup, *, heard: bool) -> Batch:
    """The same of a step that was taken in the host's memory."""
    did = step.did
    arrays: dict[int, Numbers] = {
        ALONE["evidence_bound"]: did.free_energy[:, None].astype(np.float64),
        ALONE["effective_sample_size"]: np.ones((len(did.z), 1)),
        FREE_ENERGIES: did.free_energies,
    }
    spreads = torch.exp(torch.from_numpy(0.5 * np.array([did.moments[1], did.moments[3]]))).numpy()  # in one call
    for part, mean, deviation in zip(("prior", "posterior"), did.moments[::2], spreads, strict=True):
        arrays[mean_name(part)], arrays[deviation_name(part)] = mean, deviation
    told: dict[int, Tensor | None] = {QUANTILES: _quantiles(step.prediction, setup)}
    for part in ("likelihood", "prediction", "prediction_at_prior_mean"):
        found = getattr(step, part)
        told |= {mean_name(part): found.mean, deviation_name(part): _deviation(found)}
    arrays |= {name: x.numpy().astype(np.float32, copy=False) for name, x in told.items() if x is not None}
    scalars = {"free_energy": did.free_energy, "reconstruction": did.reconstruction, "kl": did.kl}
    numbers = [x[:, None] for x in (*scalars.values(), step.score)] + [x for x in arrays.values() if x.itemsize == 4]
    finite = np.isfinite(np.concatenate(numbers, axis=1)).all(1)  # what is of 64 bits repeats one of these
    return Batch(
        beliefs=step.beliefs,
        scalars=scalars | {"iterations": did.iterations},
        score=step.score,
        signs=step.signs if heard else step.did.z[:, :0],
        arrays=arrays,
        finite=finite & form.finite(step.beliefs),
        setup=setup,
    )


_Flat = tuple[Numbers, Mapping[Hashable, tuple[int, int]]]
"""Columns of one type side by side, and where each of them is."""


def _in_host(
    rows: UInt8[Tensor, "batch width"], parts: Mapping[Hashable, Tensor]
) -> tuple[NDArray[np.uint8], list[_Flat]]:
    """The rows, and the parts (B, N), in the host's memory: by one transfer where they are elsewhere.

    Parts of 64 bits stay so; all else becomes float32, in which whole numbers up to 2^24 are exact.
    """
    wide = {name: part for name, part in parts.items() if part.dtype == torch.float64}
    narrow = {name: part for name, part in parts.items() if name not in wide}
    groups = [(group, kind) for group, kind in ((narrow, _NARROW), (wide, _WIDE)) if group]
    if rows.is_cpu:  # by numpy, whose calls cost a fraction of torch's
        return rows.numpy(), [
            (np.concatenate([x.numpy() for x in group.values()], axis=1, dtype=kind, casting="unsafe"), _spans(group))
            for group, kind in groups
        ]
    joined = [torch.cat(list(group.values()), dim=1).to(_TORCH[kind]).view(torch.uint8) for group, kind in groups]
    host = torch.cat([rows, *joined], dim=1).cpu().numpy()
    ends = accumulate((x.shape[1] for x in joined), initial=rows.shape[1])
    flats: list[_Flat] = [
        (host[:, start:end].view(kind), _spans(group))
        for (start, end), (group, kind) in zip(pairwise(ends), groups, strict=True)
    ]
    return host[:, : rows.shape[1]], flats


_NARROW: np.dtype[Any] = np.dtype(np.float32)
_WIDE: np.dtype[Any] = np.dtype(np.float64)
_TORCH = {_NARROW: torch.float32, _WIDE: torch.float64}


def _spans(parts: Mapping[Hashable, Tensor]) -> dict[Hashable, tuple[int, int]]:
    ends = list(accumulate((part.shape[1] for part in parts.values()), initial=0))
    return dict(zip(parts, pairwise(ends), strict=True))


def to_messages(batch: Batch, rows: Sequence[Row], *, surprise: NDArray[np.float64]) -> list[bytes]:
    """The estimates as they are stored: messages of avf.v1.bin, which do not say what is safe."""
    return binary_batches.encode(
        binary_batches.Estimates(
            epoch=np.array([row.continues.epoch for row in rows], dtype=np.uint64),
            seq=np.array([row.continues.seq + 1 for row in rows], dtype=np.uint64),
            surprise=surprise,
            durability=np.array([binary_batches.durability_code(row.durability) for row in rows], dtype=np.uint8),
            arrays=_beside(batch, rows),
            **batch.scalars,
        )
    )


def _beside(batch: Batch, rows: Sequence[Row]) -> dict[int, Numbers]:
    """The arrays of a batch, in the order of messages: those of its estimates, and what these do not say."""
    setup, said = batch.setup, dict(batch.arrays)
    times = [[row.moment.time] for row in rows if row.moment is not None]
    if times:
        said[ALONE["time"]] = np.array(times)
    if setup.gradient_samples:
        said[ALONE["gradient_samples"]] = np.full((len(rows), 1), float(setup.gradient_samples))
    if setup.lag:
        back = np.array([[row.continues.seq + 1.0 - setup.lag] for row in rows])
        said[SMOOTHED_SEQ] = np.where(back < 1.0, np.nan, back)  # before the session there is no seq
    if setup.quantiles:
        said[QUANTILE_LEVELS] = np.tile(np.array(setup.quantiles), (len(rows), 1))
    return {name: said[name] for name in ORDER if name in said}


def surprise_of(
    batch: Batch,
    rows: Sequence[Row],
    judged: NDArray[np.bool_],
    reference: Reference | None,
    kept: Sequence[bytes | None],
) -> tuple[NDArray[np.float64], Sequence[bytes | None]]:
    """The p-value of every row, and what is `kept` of it for the next.

    NaN where none is known, where a row is not `judged`, and where F is not finite.
    """
    if reference is None:
        return np.full(len(judged), np.nan), [None] * len(rows)
    score = batch.score.astype(np.float64)
    told = Judged(
        score=np.where(judged & np.isfinite(score), score, np.nan),
        prior=batch.arrays[mean_name("prior")],
        level=batch.arrays[mean_name("prediction")],
        times=np.array([np.nan if row.moment is None else row.moment.time for row in rows]),
        signs=batch.signs,
    )
    return reference.surprise(told, kept)


def to_notes(batch: Batch, rows: Sequence[Row], *, surprise: NDArray[np.float64]) -> list[bytes]:
    """The records of the steps in their sessions' histories, in JSON: small, and read by whoever lists sessions."""
    met = batch.arrays[FREE_ENERGIES]
    priors = met[:, 0].tolist() if met.shape[1] > 1 else [None] * len(rows)
    scalars = [batch.scalars[name].tolist() for name in ("free_energy", "reconstruction", "kl")]
    iterations = batch.scalars["iterations"].astype(np.int64).tolist()
    alone = [batch.arrays[ALONE[name]][:, 0].tolist() for name in ("evidence_bound", "effective_sample_size")]
    raised = batch.arrays[ALARM][:, 0].tolist() if ALARM in batch.arrays else [None] * len(rows)
    columns = zip(rows, *scalars, iterations, priors, surprise.tolist(), *alone, raised, strict=True)
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
                evidence_bound=bound,
                effective_sample_size=effective,
                alarm=None if alarm is None or alarm != alarm else alarm > 0.0,
            )
        )
        for row, free_energy, reconstruction, kl, count, prior, p, bound, effective, alarm in columns
    ]
