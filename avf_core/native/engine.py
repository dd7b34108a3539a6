"""An engine: a plan with the matrices of its parameters, which steps rows.

The law: a step is a pure function of belief and observation, and a row's result the same bits in any batch and with
any number of threads.
"""

import ctypes
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from avf_core import noise
from avf_core.native import _layout as layout
from avf_core.native._lowering import Lowered
from avf_core.native.crossing import Crossing
from avf_core.native.library import Library
from avf_core.native.plan import Block, InferencePlan, ModelPlan, Operation, Registers, whole_panels

State = Mapping[str, Tensor]


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
        rows, latent = len(x), self.model.z.size
        configured = 0 if self.inference.descent is None else self.inference.descent.iterations
        each, most = _limits(configured if limits is None else limits, rows)
        moments, scalars = x.new_empty(5, rows, latent).unbind(), x.new_empty(3, rows).unbind()
        energies, iterations = x.new_empty(rows, most + 1), seed.new_empty(rows)
        outputs = [x.new_empty(rows, register.size) for register in self.model.outputs]
        following = {name: x.new_empty(rows, register.size) for name, register in self.model.following.items()}
        remembered = {name: x.new_empty(rows, register.size) for name, register in self.inference.remembered.items()}
        kept = [addresses(state, self.model.state), addresses(memory, self.inference.memory)]
        made = [addresses(following, self.model.state), addresses(remembered, self.inference.memory)]
        visited = ctypes.c_int32(0)
        inputs = [tensor.contiguous() for tensor in (x, seed, number)]
        mask = None if observed is None else observed.contiguous()
        step = layout.Step(
            ctypes.addressof(kept[0][0]),
            ctypes.addressof(kept[1][0]),
            ctypes.addressof(made[0][0]) if mask is None else None,
            ctypes.addressof(made[1][0]),
            inputs[0].data_ptr(),
            None if mask is None else mask.data_ptr(),
            inputs[1].data_ptr(),
            inputs[2].data_ptr(),
            each.data_ptr(),
            *[tensor.data_ptr() for tensor in moments],
            _two(outputs),
            *[tensor.data_ptr() for tensor in scalars],
            energies.data_ptr(),
            iterations.data_ptr(),
            ctypes.addressof(visited),
            -1.0 if tolerance is None else tolerance,
            -1.0 if budget is None else budget,
            rows,
            most,
            1,
            self.mixed,
            self._fewer(samples),
        )
        self._run("step", step, rounds=lambda: visited.value + 1)
        width = visited.value + 1
        return Stepped(
            prior=(moments[0], moments[1]),
            posterior=(moments[2], moments[3]),
            likelihood=self.model.emission.likelihood(outputs, state),
            z=moments[4],
            free_energy=scalars[0],
            reconstruction=scalars[1],
            kl=scalars[2],
            free_energies=energies if width == most + 1 else energies[:, :width].contiguous(),
            iterations=iterations,
            following=following if mask is None else {},
            memory=remembered,
        )

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


def _limits(told: Tensor | int, rows: int) -> tuple[Tensor, int]:
    """The most updates of each row, and of any."""
    if isinstance(told, Tensor):
        each = told.to(torch.int64).contiguous()
        return each, int(each.max()) if rows else 0
    return torch.full((rows,), told, dtype=torch.int64), told


def addresses(tensors: State, names: Mapping[str, Any]) -> tuple[Any, list[Tensor]]:
    """The addresses of tensors in the order of `names`, and the tensors that must live as long."""
    held = [tensors[name].contiguous() for name in names]
    return (ctypes.c_void_p * max(len(held), 1))(*[tensor.data_ptr() for tensor in held]), held


def _two(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * 2)(*[tensor.data_ptr() for tensor in tensors])
