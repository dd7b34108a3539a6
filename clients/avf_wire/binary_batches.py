"""Estimates of a batch as messages of `avf.v1.bin`, and what is made of such a message without reading its arrays.

The law: a message is the same, byte for byte, as `binary.encode` makes it of each estimate alone. All rows of a batch
have arrays of the same lengths, so that one table holds them, and a column of it is filled at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

import avf_wire as wire
from avf_wire.binary import HEADER, MAGIC, Kind
from avf_wire.binary_arrays import FIRST, HEAD, SCALARS, TYPES, Numbers, type_code
from avf_wire.binary_estimates import DURABILITIES, FIXED, UNKNOWN, decode

LENGTHS_KNOWN = 256  # of arrays, whose tables are kept
_SEQ, _DURABLE_SEQ, _ARRAYS = 8, 24, HEADER.size + FIXED.size  # where these begin in a message


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """The estimates of a batch by columns (B,), energies in nats, and by rows of arrays (B, N).

    `durability` holds codes; `surprise` is NaN where it is null. `arrays` are named as in the protocol: first those of
    `SCALARS`, then the others in the order of their names.
    """

    epoch: NDArray[np.uint64]
    seq: NDArray[np.uint64]
    free_energy: Numbers
    reconstruction: Numbers
    kl: Numbers
    surprise: NDArray[np.float64]
    iterations: Numbers | NDArray[np.uint32]
    durability: NDArray[np.uint8]
    arrays: Mapping[int, Numbers]


COLUMNS = ("epoch", "seq", "free_energy", "reconstruction", "kl", "surprise", "iterations", "durability")


def encode(estimates: Estimates) -> list[bytes]:
    """The message of every row; what is safe is not said in it."""
    form = tuple((name, type_code(x.dtype), x.shape[1]) for name, x in estimates.arrays.items())
    table = np.repeat(_blank(form), len(estimates.seq))
    for column in COLUMNS:
        table[column] = getattr(estimates, column)
    for name, x in estimates.arrays.items():
        table[str(name)] = x
    data, width = table.tobytes(), table.dtype.itemsize
    return [data[start : start + width] for start in range(0, len(data), width)]


def durability_code(durability: wire.Durability) -> int:
    """The code of a durability."""
    return DURABILITIES.index(durability)


def with_durable_seq(message: bytes, durable_seq: int) -> bytes:
    """The estimate of this message, that says what is safe by now."""
    return message[:_DURABLE_SEQ] + durable_seq.to_bytes(8, "little") + message[_DURABLE_SEQ + 8 :]


def without_arrays(message: bytes) -> bytes:
    """The estimate of this message, without its arrays but for those of one number each."""
    count, end = 0, _ARRAYS
    while end < len(message):
        name, _, words = HEAD.unpack_from(message, end)
        if name not in _ALONE:
            break
        count, end = count + 1, end + HEAD.size + 4 * words
    return HEADER.pack(MAGIC, Kind.ESTIMATE, count, end - HEADER.size, 0)[:_SEQ] + message[_SEQ:end]


def summary_of(message: bytes) -> wire.Summary:
    """The scalars of this message, as the other sub-protocol says them."""
    _, _, count, _, seq = HEADER.unpack_from(scalars := without_arrays(message))
    estimate = decode(count, seq=seq, payload=memoryview(scalars)[HEADER.size :])
    return wire.Summary(
        epoch=estimate.epoch,
        seq=seq,
        free_energy=estimate.free_energy,
        reconstruction=estimate.reconstruction,
        kl=estimate.kl,
        iterations=estimate.iterations,
        durability=estimate.durability,
        surprise=estimate.surprise,
        durable_seq=estimate.durable_seq,
        alarm=estimate.alarm,
        **{field: getattr(estimate, field) for field in SCALARS},
    )


_ALONE = frozenset(FIRST)


@lru_cache(LENGTHS_KNOWN)
def _blank(form: tuple[tuple[int, int, int], ...]) -> NDArray[np.void]:
    """A table of one row, with all that does not change; `form` has of each array its name, type and length."""
    fixed = [("epoch", "<u8"), ("durable_seq", "<u8"), ("free_energy", "<f8"), ("reconstruction", "<f8")]
    fixed += [("kl", "<f8"), ("surprise", "<f8"), ("iterations", "<u4"), ("durability", "u1"), ("zero", "V3")]
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [("head", f"V{_SEQ}"), ("seq", "<u8"), *fixed]
    for name, code, length in form:
        fields += [(f"name {name}", "<u2"), (f"type {name}", "<u2"), (f"words {name}", "<u4")]
        fields += [(str(name), TYPES[code].str, (length,))]
    blank = np.zeros(1, dtype=np.dtype(fields))
    blank["head"] = HEADER.pack(MAGIC, Kind.ESTIMATE, len(form), blank.dtype.itemsize - HEADER.size, 0)[:_SEQ]
    blank["durable_seq"] = UNKNOWN
    for name, code, length in form:
        blank[f"name {name}"], blank[f"type {name}"] = name, code
        blank[f"words {name}"] = length * TYPES[code].itemsize // 4
    return blank
