"""Estimates of the sub-protocol `avf.v1.bin`: numbers as they are in memory, and what the bytes of one are.

    payload, little-endian     u64 epoch | u64 durable_seq | f64 free_energy, reconstruction, kl, surprise
                               | u32 iterations | u8 durability | 3 bytes of zero | `count` arrays
    an array                   u16 name | u16 zero | u32 numbers | so many f32

The law: what was not sent, or is not known, is None and no number; whatever the bytes are, MalformedFrame is all that
is raised.
"""

import math
import struct
from dataclasses import dataclass
from typing import TypeAlias, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

import avf_wire as wire
from avf_wire.errors import ProtocolError

Floats: TypeAlias = NDArray[np.float32]

DURABILITIES = ("none", "group", "behind", "wait")
"""By their codes."""
PARTS = ("prior", "posterior", "prediction", "likelihood")
FREE_ENERGIES = 1
"""The name of that array. Those of the parts' means are 2, 4, 6, 8, of their deviations 3, 5, 7, 9."""

FIXED = struct.Struct("<QQddddIBxxx")
"""What stands before the arrays."""
_ARRAY = struct.Struct("<HHI")
UNKNOWN = 0xFFFF_FFFF_FFFF_FFFF
"""A durable_seq that is not said."""


class MalformedFrame(ProtocolError):  # noqa: N818 - like the other errors of the client
    """These bytes are no message of `avf.v1.bin`; the text says what was expected."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """A distribution by mean and standard deviation (N,); no deviation where it is Bernoulli."""

    mean: Floats
    deviation: Floats | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """ESTIMATE: the fields of `wire.Estimate`, energies in nats; None in place of arrays that were not sent."""

    epoch: int
    seq: int
    free_energy: float
    reconstruction: float
    kl: float
    iterations: int
    durability: wire.Durability
    surprise: float | None = None
    durable_seq: int | None = None
    free_energies: Floats | None = None
    prior: Moments | None = None
    posterior: Moments | None = None
    prediction: Moments | None = None
    likelihood: Moments | None = None


def mean_name(part: str) -> int:
    """The name of the array of a part's means."""
    return 2 * PARTS.index(part) + 2


def deviation_name(part: str) -> int:
    """The name of the array of a part's deviations."""
    return mean_name(part) + 1


def estimate_of(message: wire.Estimate, *, durable_seq: int | None = None, arrays: bool = True) -> Estimate:
    """The estimate of the other sub-protocol, without its arrays where they are not wanted."""
    return Estimate(
        epoch=message.epoch,
        seq=message.seq,
        free_energy=message.free_energy,
        reconstruction=message.reconstruction,
        kl=message.kl,
        iterations=message.iterations,
        durability=message.durability,
        surprise=message.surprise,
        durable_seq=durable_seq,
        free_energies=np.asarray(message.free_energies, dtype=np.float32) if arrays else None,
        prior=_moments(message.prior) if arrays else None,
        posterior=_moments(message.posterior) if arrays else None,
        prediction=_moments(message.prediction) if arrays else None,
        likelihood=_moments(message.likelihood) if arrays else None,
    )


def message_of(
    estimate: Estimate, *, observation: wire.Observation | msgspec.UnsetType = msgspec.UNSET
) -> wire.Estimate:
    """The estimate, which has all its arrays, as the other sub-protocol says it: their numbers as they are."""
    assert estimate.free_energies is not None
    return wire.Estimate(
        epoch=estimate.epoch,
        seq=estimate.seq,
        free_energy=estimate.free_energy,
        reconstruction=estimate.reconstruction,
        kl=estimate.kl,
        free_energies=estimate.free_energies.tolist(),
        iterations=estimate.iterations,
        prior=_lists(estimate.prior),
        posterior=_lists(estimate.posterior),
        prediction=_lists(estimate.prediction),
        likelihood=_lists(estimate.likelihood),
        durability=estimate.durability,
        durable_seq=estimate.durable_seq,
        surprise=estimate.surprise,
        observation=observation,
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
    arrays = _named(count, payload[FIXED.size :])
    parts = {
        part: Moments(mean=arrays[mean_name(part)], deviation=arrays.get(deviation_name(part)))
        for part in PARTS
        if mean_name(part) in arrays
    }
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
        **parts,
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
    """The arrays that there are, in the order of their names."""
    found: list[tuple[int, Floats | None]] = [(FREE_ENERGIES, estimate.free_energies)]
    for part in PARTS:
        moments: Moments | None = getattr(estimate, part)
        if moments is not None:
            found += [(mean_name(part), moments.mean), (deviation_name(part), moments.deviation)]
    return [_ARRAY.pack(name, 0, len(x)) + x.astype("<f4").tobytes() for name, x in found if x is not None]


def _named(count: int, payload: memoryview) -> dict[int, Floats]:
    """The arrays by their names; names that this release does not know are kept, and not read by it."""
    arrays: dict[int, Floats] = {}
    for _ in range(count):
        if len(payload) < _ARRAY.size:
            raise MalformedFrame(f"{len(payload)} bytes are left, expected the header of an array: {_ARRAY.size} bytes")
        name, _zero, numbers = _ARRAY.unpack_from(payload)
        end = _ARRAY.size + 4 * numbers
        if len(payload) < end:
            raise MalformedFrame(
                f"array {name} of {numbers} numbers is cut: {len(payload) - _ARRAY.size} bytes are left"
            )
        arrays[name] = np.frombuffer(payload[_ARRAY.size : end], dtype="<f4")
        payload = payload[end:]
    if payload:
        raise MalformedFrame(f"{len(payload)} bytes are left after {count} arrays")
    return arrays


def _moments(moments: wire.Moments) -> Moments:
    deviation = None if moments.deviation is None else np.asarray(moments.deviation, dtype=np.float32)
    return Moments(mean=np.asarray(moments.mean, dtype=np.float32), deviation=deviation)


def _lists(moments: Moments | None) -> wire.Moments:
    assert moments is not None
    deviation = None if moments.deviation is None else moments.deviation.tolist()
    return wire.Moments(mean=moments.mean.tolist(), deviation=deviation)
