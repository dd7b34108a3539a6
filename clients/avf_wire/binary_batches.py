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
from avf_wire.binary_estimates import DURABILITIES, FIXED, UNKNOWN, Floats, decode

LENGTHS_KNOWN = 256  # of arrays, whose tables are kept
_SEQ, _DURABLE_SEQ, _ARRAYS = 8, 24, HEADER.size + FIXED.size  # where these begin in a message


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """The estimates of a batch by columns (B,), energies in nats, and by rows of arrays (B, N).

    `durability` holds codes; `surprise` is NaN where it is null. `arrays` are named as in the protocol, in the order of
    their names.
    """

    epoch: NDArray[np.uint64]
    seq: NDArray[np.uint64]
    free_energy: Floats
    reconstruction: Floats
    kl: Floats
    surprise: NDArray[np.float64]
    iterations: Floats | NDArray[np.uint32]
    durability: NDArray[np.uint8]
    arrays: Mapping[int, Floats]


COLUMNS = ("epoch", "seq", "free_energy", "reconstruction", "kl", "surprise", "iterations", "durability")


def encode(estimates: Estimates) -> list[bytes]:
    """The message of every row; what is safe is not said in it."""
    table = np.repeat(_blank(tuple((name, x.shape[1]) for name, x in estimates.arrays.items())), len(estimates.seq))
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
    """The estimate of this message, without its arrays."""
    return _NO_ARRAYS + message[_SEQ:_ARRAYS]


def summary_of(message: bytes) -> wire.Summary:
    """The scalars of this message, as the other sub-protocol says them."""
    seq = int.from_bytes(message[_SEQ : HEADER.size], "little")
    estimate = decode(0, seq=seq, payload=memoryview(message)[HEADER.size : _ARRAYS])
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
    )


_NO_ARRAYS = HEADER.pack(MAGIC, Kind.ESTIMATE, 0, FIXED.size, 0)[:_SEQ]


@lru_cache(LENGTHS_KNOWN)
def _blank(lengths: tuple[tuple[int, int], ...]) -> NDArray[np.void]:
    """A table of one row, with all that does not change; `lengths` are those of the arrays by their names."""
    fixed = [("epoch", "<u8"), ("durable_seq", "<u8"), ("free_energy", "<f8"), ("reconstruction", "<f8")]
    fixed += [("kl", "<f8"), ("surprise", "<f8"), ("iterations", "<u4"), ("durability", "u1"), ("zero", "V3")]
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [("head", f"V{_SEQ}"), ("seq", "<u8"), *fixed]
    for name, length in lengths:
        fields += [(f"name {name}", "<u2"), (f"zero {name}", "<u2"), (f"length {name}", "<u4")]
        fields += [(str(name), "<f4", (length,))]
    blank = np.zeros(1, dtype=np.dtype(fields))
    blank["head"] = HEADER.pack(MAGIC, Kind.ESTIMATE, len(lengths), blank.dtype.itemsize - HEADER.size, 0)[:_SEQ]
    blank["durable_seq"] = UNKNOWN
    for name, length in lengths:
        blank[f"name {name}"], blank[f"length {name}"] = name, length
    return blank
