"""An engine: a plan with the matrices of its parameters, which steps rows.

The law: a step is a pure function of belief and observation, and a row's result the same bits in any batch and with
any number of threads.
"""

import ctypes
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avf_core import noise
from avf_core.native import _layout as layout
from avf_core.native._lowering import Lowered
from avf_core.native.arrays import Arrays, Floats, Room, Stepped, Whole, dense
from avf_core.native.crossing import Crossing
from avf_core.native.library import Library
from avf_core.native.plan import Block, InferencePlan, ModelPlan, Operation, Registers, whole_panels

State = Mapping[str, Tensor]

ROOMS_KEPT = 256
"""Sizes of steps, by rows, updates and draws, that the library is told of without making all of it anew."""


class Engine:
    """Steps rows of one model and one procedure, whose parameters it has copied.

    Where it `learns`, the procedure's program has a way back to what it read.
    """

    def __init__(
        self,
        registers: Registers,
        model: ModelPlan,
        inference: InferencePlan,
        *,
        library: Library,
        mixed: bool,
        learns: bool = False,
    ) -> None:
        self.model, self.inference, self.mixed = model, inference, mixed
        self._functions = library.functions
        self._crossings = {name: Crossing() for name in ("step", "expect", "advance")}
        self._lowered = Lowered(registers.all, model, inference)
        self.handle = self._functions.avf_new(ctypes.byref(self._lowered.plan))
        self._end = weakref.finalize(self, self._functions.avf_free, self.handle)
        self._rooms: dict[tuple[int, int, int], Room] = {}  # that no call uses
        self.searched = 0  # weights that the search multiplies with in each iteration
        for name in self._lowered.programs:
            searched = name == "decode" or (name == "infer" and inference.descent is not None)
            for place, (operation, lowered) in enumerate(self._operations(name)):
                if operation.weights is None:
                    continue
                blocks, halved = operation.weights(), mixed and searched
                sloped = name == "decode" or (name == "infer" and learns and place > 0)
                single = not halved or name == "decode"
                lowered.matrix = self._matrix(blocks, single=single, halves=halved)
                if sloped:
                    lowered.slope = self._matrix(blocks, single=not halved, halves=halved, turned=True)
                self.searched += sum(weight.numel() for weight, _ in blocks) * searched

    def _matrix(self, blocks: Sequence[Block], *, single: bool, halves: bool, turned: bool = False) -> int:
        """The number of a matrix of these blocks, each padded to whole panels, or of its transpose."""
        rows, inputs = [len(weight) for weight, _ in blocks], blocks[0][0].shape[1]
        outputs = rows[0] if len(rows) == 1 else sum(whole_panels(one) for one in rows)
        sizes = (inputs, outputs) if turned else (outputs, inputs)
        found: int = self._functions.avf_matrix(self.handle, *sizes, single, halves)
        self._fill(found, blocks, turned=turned)
        return found

    @torch.no_grad()
    def _fill(self, matrix: int, blocks: Sequence[Block], *, turned: bool) -> None:
        """Copy a matrix's values."""
        held = [(weight.contiguous(), None if bias is None else bias.contiguous()) for weight, bias in blocks]
        parts = (layout.Part * len(held))(
            *[layout.Part(one.data_ptr(), None if bias is None else bias.data_ptr(), len(one)) for one, bias in held]
        )
        self._functions.avf_pack(self.handle, matrix, parts, len(held), turned)

    def refresh(self, *programs: str) -> None:
        """Copy the parameters of these programs anew."""
        for name in programs:
            for operation, lowered in self._operations(name):
                blocks = operation.weights() if operation.weights else []
                for matrix, turned in ((lowered.matrix, False), (lowered.slope, True)):
                    if matrix >= 0:
                        self._fill(matrix, blocks, turned=turned)

    def _operations(self, name: str) -> Iterable[tuple[Operation, layout.Operation]]:
        """The operations of a program, as plans say them and as the library reads them."""
        return zip(self._lowered.programs[name].operations, self._lowered.operations[name], strict=True)

    def multiplier(self, weight: Tensor, *, halves: bool = False) -> Callable[[Tensor], Tensor]:
        """x W^T by the kernels of the step, in bfloat16 where `halves`: for those who measure or test them."""
        matrix, columns = self._matrix([(weight, None)], single=not halves, halves=halves), len(weight)

        def multiply(x: Tensor) -> Tensor:
            y = x.new_empty(len(x), whole_panels(columns))
            self._functions.avf_product(self.handle, matrix, x.data_ptr(), len(x), y.data_ptr(), halves)
            return y[:, :columns]

        return multiply

    def step(
        self,
        state: State,
        memory: State,
        x: Tensor,
        *,
        observed: Tensor | None,
        seed: Tensor,
        number: Tensor,
        limits: Tensor | int | None,
        tolerance: float | None,
        budget: float | None,
        samples: int | None = None,
    ) -> Stepped:
        """One step of the rows of a belief; `limits` are the updates that each may be given, None as configured.

        `observed` is None where everything was; `samples` are the most of an iteration, None as configured.
        """
        did = self.arrays(
            {name: tensor.numpy() for name, tensor in state.items()},
            {name: tensor.numpy() for name, tensor in memory.items()},
            x.numpy(),
            observed=None if observed is None else observed.numpy(),
            seed=seed.numpy(),
            number=number.numpy(),
            limits=limits.numpy() if isinstance(limits, Tensor) else limits,
            tolerance=tolerance,
            budget=budget,
            samples=samples,
        )
        return Stepped.of(did, self.model.emission.likelihood([torch.from_numpy(one) for one in did.outputs], state))

    def arrays(
        self,
        state: Mapping[str, Floats],
        memory: Mapping[str, Floats],
        x: Floats,
        *,
        observed: NDArray[np.bool_] | None,
        seed: Whole,
        number: Whole,
        limits: NDArray[np.integer[Any]] | int | None,
        tolerance: float | None = None,
        budget: float | None = None,
        samples: int | None = None,
        draws: int = 0,
    ) -> Arrays:
        """`step` of arrays; with `draws` also what was expected of x, at so many draws from the prior and at its mean.

        These are those of `expected`, which would have to make the prior again.
        """
        rows = len(x)
        configured = 0 if self.inference.descent is None else self.inference.descent.iterations
        told = configured if limits is None else limits
        each = told.astype(np.int64, copy=False) if isinstance(told, np.ndarray) else None
        most = (int(told.max()) if rows else 0) if isinstance(told, np.ndarray) else told
        room = self._rooms.pop((rows, most, draws), None) or self._room(rows, most, draws)
        mask = None if observed is None else np.ascontiguousarray(observed)
        held = dense([*[state[n] for n in self.model.state], *[memory[n] for n in self.inference.memory], x])
        whole, iterations = dense([seed, number]), np.empty(rows, dtype=np.int64)
        made = room.fill(held, whole=whole, limits=each, observed=mask, iterations=iterations)
        room.step.tolerance = -1.0 if tolerance is None else tolerance
        room.step.budget = -1.0 if budget is None else budget
        room.step.samples = self._fewer(samples)
        self._run("step", room.step, rounds=lambda: room.visited + 1)
        width = room.visited + 1
        if len(self._rooms) >= ROOMS_KEPT:
            self._rooms.clear()
        self._rooms[rows, most, draws] = room
        (*moments, z), (free_energy, reconstruction, kl, free_energies) = made["moments"], made["energies"]
        return Arrays(
            moments=moments,
            z=z,
            free_energy=free_energy,
            reconstruction=reconstruction,
            kl=kl,
            free_energies=free_energies if width == most + 1 else np.ascontiguousarray(free_energies[:, :width]),
            iterations=iterations,
            outputs=made["outputs"],
            following=dict(zip(self.model.state, made["following"], strict=True)) if mask is None else {},
            memory=dict(zip(self.inference.memory, made["remembered"], strict=True)),
            drawn=made.get("drawn", ()),
            at_mean=made.get("at_mean", ()),
        )

    def _room(self, rows: int, most: int, draws: int) -> Room:
        """Where a step of so many rows, of at most so many updates, is told."""
        latents, sizes = self.model.z.size, [register.size for register in self.model.outputs]
        groups: dict[str, list[tuple[int, ...]]] = {
            "moments": [(rows, latents)] * 5,
            "outputs": [(rows, size) for size in sizes],
            "energies": [(rows,)] * 3 + [(rows, most + 1)],
            "following": [(rows, self.model.following[name].size) for name in self.model.state],
            "remembered": [(rows, self.inference.remembered[name].size) for name in self.inference.memory],
        }
        if draws:
            groups |= {"drawn": [(rows, draws, size) for size in sizes], "at_mean": groups["outputs"]}
        return Room(groups, draws=draws, most=most, mixed=self.mixed)

    def _fewer(self, samples: int | None) -> int:
        """The most gradient samples of an iteration, as the library takes them: 0 where they are as configured."""
        if samples is None or self.inference.descent is None:
            return 0
        return max(2, samples - samples % 2) if self.inference.descent.antithetic else samples

    def expected(self, state: State, *, seed: Tensor, number: Tensor, draws: int) -> Any:
        """The likelihoods at draws from the prior of the next step, (rows, draws, ...); without draws at its mean."""
        rows, shape = len(seed), (draws,) if draws else ()
        outputs = [torch.empty(rows, *shape, register.size) for register in self.model.outputs]
        kept = addresses(state, self.model.state)
        seed, number = seed.contiguous(), number.contiguous()
        asked = layout.Expect(
            ctypes.addressof(kept[0]),
            seed.data_ptr(),
            number.data_ptr(),
            _two(outputs),
            noise.PREDICTION,
            draws,
            rows,
            1,
            self.mixed,
        )
        self._run("expect", asked, rounds=lambda: max(draws, 1))
        return self.model.emission.likelihood(outputs, state)

    def advance(self, state: State, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        """The state after an observation of which some was imputed."""
        rows = len(x)
        following = {name: x.new_empty(rows, register.size) for name, register in self.model.following.items()}
        kept, made = addresses(state, self.model.state), addresses(following, self.model.state)
        x, z = x.contiguous(), z.contiguous()
        advance = layout.Advance(
            ctypes.addressof(kept[0]), ctypes.addressof(made[0]), x.data_ptr(), z.data_ptr(), rows, 1
        )
        self._run("advance", advance)
        return following

    def _run(self, name: str, of: Any, *, rounds: Callable[[], int] = lambda: 1) -> None:
        """A call, by one thread or by all, whichever is faster; `rounds` says of how many like parts it was."""
        crossing, began = self._crossings[name], time.perf_counter()
        of.threads = crossing.threads(of.rows, torch.get_num_threads())
        getattr(self._functions, f"avf_{name}")(self.handle, ctypes.byref(of))
        crossing.took(of.rows, of.threads, (time.perf_counter() - began) / rounds())


def threads(rows: int) -> int:
    """How many threads share rows that take long: one each, up to torch's number."""
    return max(1, min(torch.get_num_threads(), rows))


def addresses(tensors: State, names: Mapping[str, Any]) -> tuple[Any, list[Tensor]]:
    """The addresses of tensors in the order of `names`, and the tensors that must live as long."""
    held = [tensors[name].contiguous() for name in names]
    return (ctypes.c_void_p * max(len(held), 1))(*[tensor.data_ptr() for tensor in held]), held


def _two(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * 2)(*[tensor.data_ptr() for tensor in tensors])
