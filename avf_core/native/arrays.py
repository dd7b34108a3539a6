"""What a step of rows gives, as arrays in the host's memory: side by side in one piece of it, which is asked for once.

The law: a step for which few rows are waited for costs no more calls than it must; numpy's cost a fraction of torch's.
"""

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avf_core import noise
from avf_core.native import _layout as layout

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]
Array = TypeVar("Array", bound=NDArray[Any])


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What a step of rows gave; `following` is empty where something was missing, and is to be fed back first.

    `moments` are the means and log-variances of prior and posterior, in this order. `outputs` are what the likelihood
    is made of, (rows, size) each; `drawn` are those at draws from the prior, (rows, draws, size), and `at_mean` those
    at its mean, both empty where no draws were asked for.
    """

    moments: Sequence[Floats]
    z: Floats
    free_energy: Floats
    reconstruction: Floats
    kl: Floats
    free_energies: Floats
    iterations: Whole
    outputs: Sequence[Floats]
    following: Mapping[str, Floats]
    memory: Mapping[str, Floats]
    drawn: Sequence[Floats] = ()
    at_mean: Sequence[Floats] = ()


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What a step of rows gave; `following` is empty where something was missing, and is to be fed back first."""

    prior: tuple[Tensor, Tensor]
    posterior: tuple[Tensor, Tensor]
    likelihood: Any
    z: Tensor
    free_energy: Tensor
    reconstruction: Tensor
    kl: Tensor
    free_energies: Tensor
    iterations: Tensor
    following: dict[str, Tensor]
    memory: dict[str, Tensor]

    @classmethod
    def of(cls, did: Arrays, likelihood: Any) -> "Stepped":
        """The same as tensors, which share its memory."""
        moments = [torch.from_numpy(one) for one in did.moments]
        return cls(
            prior=(moments[0], moments[1]),
            posterior=(moments[2], moments[3]),
            likelihood=likelihood,
            z=torch.from_numpy(did.z),
            free_energy=torch.from_numpy(did.free_energy),
            reconstruction=torch.from_numpy(did.reconstruction),
            kl=torch.from_numpy(did.kl),
            free_energies=torch.from_numpy(did.free_energies),
            iterations=torch.from_numpy(did.iterations),
            following={name: torch.from_numpy(one) for name, one in did.following.items()},
            memory={name: torch.from_numpy(one) for name, one in did.memory.items()},
        )


def address(array: NDArray[Any]) -> int:
    """Where an array begins."""
    found: int = array.__array_interface__["data"][0]
    return found


class Sheet:
    """Arrays of these shapes in one piece of memory, taken one after another."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        ends = list(accumulate(map(prod, shapes), initial=0))
        flat = np.empty(ends[-1], dtype=np.float32)
        begins = address(flat)
        parts = zip(pairwise(ends), shapes, strict=True)
        self._arrays = iter([flat[start:end].reshape(shape) for (start, end), shape in parts])
        self._addresses = iter([begins + 4 * end for end in ends])

    def take(self, count: int) -> tuple[list[Floats], list[int]]:
        """The next arrays, and where each begins."""
        numbers = range(count)
        return [next(self._arrays) for _ in numbers], [next(self._addresses) for _ in numbers]


def dense(arrays: Iterable[Array]) -> list[Array]:
    """The same arrays, each in one piece."""
    return [cast(Array, np.ascontiguousarray(array)) for array in arrays]


def pointers(places: Sequence[int]) -> Any:
    """So many addresses, as the library reads them."""
    return (ctypes.c_void_p * max(len(places), 1))(*places)


def pointers_of_two(places: Sequence[int]) -> Any:
    """The same of two, of which the second may be missing."""
    return (ctypes.c_void_p * 2)(*places)


def updates(told: NDArray[np.integer[Any]] | int, rows: int) -> tuple[Whole, int]:
    """The most updates of each row, and of any."""
    if isinstance(told, np.ndarray):
        return told.astype(np.int64, copy=False), int(told.max()) if rows else 0
    return np.full(rows, told, dtype=np.int64), told


def expected(sheet: Sheet, count: int, *, draws: int, mixed: bool) -> tuple[Sequence[Floats], Sequence[Floats], Any]:
    """The arrays of what is expected of a step's observation, `count` each, and what the library is asked for."""
    pair = ctypes.POINTER(layout.Expect) * 2
    if not draws:
        return (), (), pair()
    (drawn, places), (at_mean, others) = sheet.take(count), sheet.take(count)
    asked = layout.Expect(outputs=pointers_of_two(places), stream=noise.PREDICTION, draws=draws, mixed=mixed)
    alone = layout.Expect(outputs=pointers_of_two(others), mixed=mixed)
    return drawn, at_mean, pair(ctypes.pointer(asked), ctypes.pointer(alone))
