"""Estimates of the sub-protocol `avf.v1.bin`: numbers as they are in memory, and what the bytes of one are.

    payload, little-endian     u64 epoch | u64 durable_seq | f64 free_energy, reconstruction, kl, surprise
                               | u32 iterations | u8 durability | 3 bytes of zero | `count` arrays (`binary_arrays`)

The law: what was not sent, or is not known, is None and no number; whatever the bytes are, MalformedFrame is all that
is raised. What comes beside the arrays as one number (`SCALARS`) stands before them, so that whoever wants no arrays
need not look for it.
"""

import math
import struct
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec
import numpy as np

import avf_wire as wire
from avf_wire import binary_arrays
from avf_wire.binary_arrays import (
    ALARM,
    ALWAYS,
    FREE_ENERGIES,
    MOMENTS,
    PARTS,
    QUANTILE_LEVELS,
    QUANTILES,
    SCALARS,
    SMOOTHED_SEQ,
    MalformedFrame,
    Numbers,
    deviation_name,
    mean_name,
)

DURABILITIES = ("none", "group", "behind", "wait")
"""By their codes."""
FIXED = struct.Struct("<QQddddIBxxx")
"""What stands before the arrays."""
UNKNOWN = 0xFFFF_FFFF_FFFF_FFFF
"""A durable_seq that is not said."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """A distribution by mean and standard deviation (N,); no deviation where it is Bernoulli."""

    mean: Numbers
    deviation: Numbers | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """ESTIMATE: the fields of `wire.Estimate`, energies in nats; None in place of arrays that were not sent.

    `smoothed` is of observation `smoothed_seq`; `quantiles` (Q, D) are those of the prediction at `quantile_levels`.
    """

    epoch: int
    seq: int
    free_energy: float
    reconstruction: float
    kl: float
    iterations: int
    durability: wire.Durability
    surprise: float | None = None
    durable_seq: int | None = None
    time: float | None = None
    evidence_bound: float | None = None
    effective_sample_size: float | None = None
    gradient_samples: float | None = None
    free_energies: Numbers | None = None
    prior: Moments | None = None
    posterior: Moments | None = None
    prediction: Moments | None = None
    likelihood: Moments | None = None
    prediction_at_prior_mean: Moments | None = None
    smoothed: Moments | None = None
    smoothed_seq: int | None = None
    quantile_levels: Numbers | None = None
    quantiles: Numbers | None = None
    alarm: wire.Alarm | None = None


def estimate_of(message: wire.Estimate, *, durable_seq: int | None = None, arrays: bool = True) -> Estimate:
    """The estimate of the other sub-protocol, without its arrays where they are not wanted."""
    alone: dict[str, Any] = {name: getattr(message, name) for name in SCALARS}
    scalars = Estimate(
        epoch=message.epoch,
        seq=message.seq,
        free_energy=message.free_energy,
        reconstruction=message.reconstruction,
        kl=message.kl,
        iterations=message.iterations,
        durability=message.durability,
        surprise=message.surprise,
        durable_seq=durable_seq,
        alarm=message.alarm,
        **alone,
    )
    if not arrays:
        return scalars
    smoothed, quantiles = message.smoothed, message.prediction_quantiles
    parts: dict[str, Any] = {part: _moments(getattr(message, part)) for part in PARTS}
    return replace(
        scalars,
        free_energies=np.asarray(message.free_energies, dtype=np.float32),
        smoothed_seq=None if smoothed is None else smoothed.seq,
        quantile_levels=None if quantiles is None else np.asarray(quantiles.levels, dtype=np.float64),
        quantiles=None if quantiles is None else np.asarray(quantiles.values, dtype=np.float32),
        **parts,
    )


def message_of(
    estimate: Estimate,
    *,
    observation: wire.Observation | msgspec.UnsetType = msgspec.UNSET,
    inputs: list[float] | None = None,
) -> wire.Estimate:
    """The estimate, which has all its arrays, as the other sub-protocol says it: their numbers as they are."""
    assert estimate.free_energies is not None
    said: dict[str, Any] = {name: getattr(estimate, name) for name in SCALARS}
    said |= {part: _lists(getattr(estimate, part)) for part in ALWAYS}
    at_mean = estimate.prediction_at_prior_mean
    return wire.Estimate(
        epoch=estimate.epoch,
        seq=estimate.seq,
        free_energy=estimate.free_energy,
        reconstruction=estimate.reconstruction,
        kl=estimate.kl,
        free_energies=estimate.free_energies.tolist(),
        iterations=estimate.iterations,
        durability=estimate.durability,
        durable_seq=estimate.durable_seq,
        surprise=estimate.surprise,
        observation=observation,
        inputs=inputs,
        prediction_at_prior_mean=None if at_mean is None else _lists(at_mean),
        prediction_quantiles=_quantiles(estimate),
        smoothed=_smoothed(estimate),
        alarm=estimate.alarm,
        **said,
    )


def encode(estimate: Estimate) -> tuple[int, int, bytes]:
    """How many arrays, which seq, and the payload. Raises struct.error for numbers that have no place in it."""
    arrays = _arrays(estimate)
    return len(arrays), estimate.seq, b"".join((_fixed(estimate), *arrays))


def decode(count: int, *, seq: int, payload: memoryview) -> Estimate:
    """The estimate of a payload with `count` arrays. Raises MalformedFrame."""
    if len(payload) < FIXED.size:
        raise MalformedFrame(f"{len(payload)} bytes of an estimate, expected at least {FIXED.size}")
    epoch, durable_seq, free_energy, reconstruction, kl, surprise, iterations, code = FIXED.unpack_from(payload)
    if code >= len(DURABILITIES):
        raise MalformedFrame(f"durability {code}, expected one of 0 to {len(DURABILITIES) - 1}")
    arrays = binary_arrays.decode(count, payload[FIXED.size :])
    found: dict[str, Any] = {field: binary_arrays.one(arrays, name) for field, name in SCALARS.items()}
    found |= {
        part: Moments(mean=arrays[mean], deviation=arrays.get(deviation))
        for part, (mean, deviation) in MOMENTS.items()
        if mean in arrays
    }
    back = binary_arrays.whole(arrays, SMOOTHED_SEQ)
    if back is None:
        found.pop("smoothed", None)  # there was no observation so far back
    return Estimate(
        epoch=epoch,
        seq=seq,
        free_energy=free_energy,
        reconstruction=reconstruction,
        kl=kl,
        iterations=iterations,
        durability=cast(wire.Durability, DURABILITIES[code]),
        surprise=None if math.isnan(surprise) else surprise,
        durable_seq=known(durable_seq),
        free_energies=arrays.get(FREE_ENERGIES),
        smoothed_seq=back,
        quantile_levels=arrays.get(QUANTILE_LEVELS),
        quantiles=binary_arrays.by_level(arrays),
        alarm=_alarm_of(binary_arrays.alarm(arrays)),
        **found,
    )


def or_unknown(durable_seq: int | None) -> int:
    """A durable_seq as it is written."""
    return UNKNOWN if durable_seq is None else durable_seq


def known(durable_seq: int) -> int | None:
    """A durable_seq as it was written."""
    return None if durable_seq == UNKNOWN else durable_seq


def _fixed(estimate: Estimate) -> bytes:
    return FIXED.pack(
        estimate.epoch,
        or_unknown(estimate.durable_seq),
        estimate.free_energy,
        estimate.reconstruction,
        estimate.kl,
        math.nan if estimate.surprise is None else estimate.surprise,
        estimate.iterations,
        DURABILITIES.index(estimate.durability),
    )


def _arrays(estimate: Estimate) -> list[bytes]:
    """The arrays that there are: those of one number each, then the others, in the order of their names."""
    found: list[tuple[int, Numbers | None]] = [
        (name, _alone(getattr(estimate, field))) for field, name in SCALARS.items()
    ]
    found.append((ALARM, None if estimate.alarm is None else _alarm(estimate.alarm)))
    found.append((FREE_ENERGIES, estimate.free_energies))
    for part in PARTS:
        moments: Moments | None = getattr(estimate, part)
        if moments is not None:
            found += [(mean_name(part), moments.mean), (deviation_name(part), moments.deviation)]
    found.append((SMOOTHED_SEQ, _alone(estimate.smoothed_seq)))
    found += [(QUANTILE_LEVELS, estimate.quantile_levels), (QUANTILES, estimate.quantiles)]
    return [binary_arrays.encode(name, x) for name, x in found if x is not None]


def _alarm(alarm: wire.Alarm) -> Numbers:
    return np.array([alarm.raised, alarm.p, alarm.high, alarm.statistic, alarm.threshold], dtype=np.float64)


def _alarm_of(found: Numbers | None) -> wire.Alarm | None:
    if found is None:
        return None
    raised, p, high, statistic, threshold = found.tolist()
    return wire.Alarm(raised=bool(raised), p=p, high=bool(high), statistic=statistic, threshold=threshold)


def _alone(value: float | None) -> Numbers | None:
    return None if value is None else np.array([value], dtype=np.float64)


def _moments(moments: wire.Moments | wire.Smoothed | None) -> Moments | None:
    if moments is None:
        return None
    deviation = None if moments.deviation is None else np.asarray(moments.deviation, dtype=np.float32)
    return Moments(mean=np.asarray(moments.mean, dtype=np.float32), deviation=deviation)


def _lists(moments: Moments | None) -> wire.Moments:
    assert moments is not None
    deviation = None if moments.deviation is None else moments.deviation.tolist()
    return wire.Moments(mean=moments.mean.tolist(), deviation=deviation)


def _quantiles(estimate: Estimate) -> wire.PredictiveQuantiles | None:
    if estimate.quantiles is None or estimate.quantile_levels is None:
        return None
    return wire.PredictiveQuantiles(levels=estimate.quantile_levels.tolist(), values=estimate.quantiles.tolist())


def _smoothed(estimate: Estimate) -> wire.Smoothed | None:
    smoothed, seq = estimate.smoothed, estimate.smoothed_seq
    if smoothed is None or seq is None or smoothed.deviation is None:
        return None
    return wire.Smoothed(seq=seq, mean=smoothed.mean.tolist(), deviation=smoothed.deviation.tolist())
