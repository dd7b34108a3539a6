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


class Room:
    """A step of so many rows as the library is told of it, with places for what it gives: made once, and filled anew.

    `groups` are the shapes of all floats that a step gives: `moments` (five, z the last), `outputs`, `energies` (four),
    `following`, `remembered`, and, where draws are asked for, `drawn` and `at_mean`. One call at a time may use it.
    """

    def __init__(self, groups: Mapping[str, Sequence[tuple[int, ...]]], *, draws: int, most: int, mixed: bool) -> None:
        shapes = [shape for group in groups.values() for shape in group]
        ends = list(accumulate(map(prod, shapes), initial=0))
        self._size = ends[-1]
        self._parts = [(start, end, shape) for (start, end), shape in zip(pairwise(ends), shapes, strict=True)]
        self._offsets = 4 * np.array(ends, dtype=np.int64)  # one more than there are arrays: so no list is empty
        self._places = np.zeros_like(self._offsets)
        bounds = pairwise(accumulate(map(len, groups.values()), initial=0))
        self._spans = {name: slice(*each) for name, each in zip(groups, bounds, strict=True)}
        states, memories, outputs = (len(groups[name]) for name in ("following", "remembered", "outputs"))
        rows = groups["moments"][0][0]
        self._limits = np.full(rows, most, dtype=np.int64)
        self._read = np.zeros(states + memories + 1, dtype=np.int64)
        self._visited = ctypes.c_int32(0)
        self._expected = [
            layout.Expect(stream=noise.PREDICTION, draws=draws, mixed=mixed),
            layout.Expect(mixed=mixed),
        ]
        self.step = layout.Step(
            state=address(self._read),
            memory=address(self._read[states:]),
            remembered=address(self._places[self._spans["remembered"].start :]),
            visited=ctypes.addressof(self._visited),
            rows=rows,
            most=most,
            mixed=mixed,
        )
        if draws:
            self.step.expected[:] = [ctypes.pointer(one) for one in self._expected]
        self._written = [
            *[(_words(self.step, "prior_mean", 5), "moments"), (_words(self.step, "likelihood", outputs), "outputs")],
            (_words(self.step, "free_energy", 4), "energies"),
        ]
        for one, name in zip(self._expected, ("drawn", "at_mean") if draws else (), strict=False):
            self._written.append((_words(one, "outputs", outputs), name))

    def fill(
        self,
        held: Sequence[Floats],
        *,
        whole: Sequence[Whole],
        limits: Whole | None,
        observed: NDArray[np.bool_] | None,
        iterations: Whole,
    ) -> dict[str, list[Floats]]:
        """Tell the step where all is; gives the arrays that it will write, by their groups.

        `held` are state, memory and x, `whole` seed and number, all in one piece each. Without `limits` each row has as
        many updates as any.
        """
        flat, step = np.empty(self._size, dtype=np.float32), self.step
        np.add(self._offsets, address(flat), out=self._places)
        for words, name in self._written:
            words[:] = self._places[self._spans[name]]
        *read, step.x = map(address, held)
        self._read[: len(read)] = read
        step.seed, step.step = map(address, whole)
        step.limits = address(self._limits if limits is None else limits)
        step.observed = None if observed is None else address(observed)
        step.following = address(self._places[self._spans["following"].start :]) if observed is None else None
        step.iterations = address(iterations)
        arrays = [flat[start:end].reshape(shape) for start, end, shape in self._parts]
        return {name: arrays[span] for name, span in self._spans.items()}

    @property
    def visited(self) -> int:
        """How many updates the step made, once it is made."""
        return self._visited.value


def _words(structure: ctypes.Structure, field: str, count: int) -> NDArray[np.int64]:
    """So many addresses in a structure, from this field on."""
    start = getattr(type(structure), field).offset // 8
    return np.frombuffer(memoryview(structure), dtype=np.int64)[start : start + count]


def dense(arrays: Iterable[Array]) -> list[Array]:
    """The same arrays, each in one piece."""
    return [cast(Array, np.ascontiguousarray(array)) for array in arrays]
