"""From plans to the structures that the library reads.

The law: what is lowered stays alive as long as the engine that was made of it; the library copies matrices, but reads
registers and operations where they lie.
"""

import ctypes
import math
from collections.abc import Iterable, Sequence
from ctypes import POINTER, c_float, c_int32, cast

from avf_core import noise
from avf_core.native import _layout as layout
from avf_core.native.plan import PANEL, InferencePlan, ModelPlan, Operation, Program, Register, whole_panels

KINDS = ("linear", "paste", "cut", "highway", "lstm", "standardize", "loudness", "power", "hear")
ACTIVATIONS = ("identity", "relu", "clipped_leaky_relu", "elu", "clamp")
LIKELIHOODS = ("bernoulli", "gaussian", "discretized", "discretized_authors", "linear_prediction")
NOISES = ("gaussian", "logistic", "student-t")
RULES = ("gated", "learned_sgd")
PROGRAMS = ("predict", "features", "decode", "infer", "transition")


class Lowered:
    """A plan as the library reads it, and all that its addresses are of."""

    def __init__(self, registers: Sequence[Register], model: ModelPlan, inference: InferencePlan) -> None:
        self.programs = {
            "predict": model.predict,
            "features": model.features,
            "decode": model.decode,
            "infer": inference.infer,
            "transition": model.transition,
        }
        self.operations = {name: _operations(program) for name, program in self.programs.items()}
        self.kept: list[object] = [self.operations]
        self.plan = layout.Plan(
            registers=self._keep(_registers(registers)),
            register_count=len(registers),
            state=self._indices(model.state.values()),
            following=self._indices(model.following[name] for name in model.state),
            memory=self._indices(inference.memory.values()),
            remembered=self._indices(inference.remembered[name] for name in inference.memory),
            state_count=len(model.state),
            memory_count=len(inference.memory),
            x=model.x.index,
            z=model.z.index,
            seen=model.seen.index,
            prior_mean=model.prior[0].index,
            prior_log_variance=model.prior[1].index,
            latents=model.latents.index,
            outputs=_two(model.outputs),
            asked=-1 if inference.asked is None else inference.asked.index,
            said=_two(inference.said),
            latent_size=model.z.size,
            observation_size=model.x.size,
            likelihood=LIKELIHOODS.index(model.emission.kind),
            framing=_framing(model),
            bin=model.emission.bin,
            center=self._units(model.emission.center, model.x.size, beyond=0.0),
            scale=self._units(model.emission.scale, model.x.size, beyond=1.0),
            shift=self._units([2.0 * math.log(scale) for scale in model.emission.scale], model.x.size, beyond=0.0),
            lowest=inference.latent_log_variance[0],
            highest=inference.latent_log_variance[1],
            procedure=int(inference.descent is None),
            posterior_stream=noise.POSTERIOR,
            iteration_stream=noise.ITERATION,
            common_stream=noise.COMMON,
        )
        self._lower_descent(inference)
        for name, operations in self.operations.items():
            setattr(self.plan, name, layout.Program(cast(operations, POINTER(layout.Operation)), len(operations)))

    def _lower_descent(self, inference: InferencePlan) -> None:
        descent = inference.descent
        if descent is None:
            self.plan.samples = self.plan.guard_samples = 1
            self.plan.whitened = int(inference.relative)
            return
        self.plan.samples, self.plan.scheduled = max(descent.samples), len(descent.samples)
        self.plan.schedule = self._numbers(descent.samples)
        self.plan.rule = RULES.index(descent.rule)
        for name in (
            "whitened",
            "normalize_mean",
            "reads_observation",
            "iterations",
            "antithetic",
            "keep_best",
        ):
            setattr(self.plan, name, int(getattr(descent, name)))
        for name in ("common_samples", "guard_samples", "reach", "gradient_scale"):
            setattr(self.plan, name, getattr(descent, name))

    def _keep(self, array: ctypes.Array[layout.Register]) -> ctypes.Array[layout.Register]:
        self.kept.append(array)
        return array

    def _units(self, values: Sequence[float], size: int, *, beyond: float) -> ctypes.Array[c_float]:
        """One number for each of an observation's, and what stands in the padding."""
        each = list(values) * (size if len(values) == 1 else 1)
        array = (c_float * (size + PANEL))(*each, *[beyond] * PANEL)
        self.kept.append(array)
        return array

    def _indices(self, registers: Iterable[Register]) -> ctypes.Array[c_int32]:
        return self._numbers([register.index for register in registers])

    def _numbers(self, numbers: Sequence[int]) -> ctypes.Array[c_int32]:
        array = (c_int32 * max(len(numbers), 1))(*numbers)
        self.kept.append(array)
        return array


def _framing(model: ModelPlan) -> layout.Framing:
    """How samples of a frame hear each other, and where those before it stand."""
    of = model.emission.framing
    if of is None:
        return layout.Framing(history=-1)
    (history,) = (model.state[name] for name in model.emission.memory)
    return layout.Framing(
        history=history.index,
        order=of.order,
        filtering=of.filtering,
        gains=of.gains,
        reactive=of.reactive,
        spectral=int(of.spectral),
        noise=NOISES.index(of.noise),
        absolute=of.absolute,
        level=of.level,
    )


def _registers(registers: Sequence[Register]) -> ctypes.Array[layout.Register]:
    return (layout.Register * len(registers))(
        *(layout.Register(register.size, _stride(register), int(register.sampled)) for register in registers)
    )


def _stride(register: Register) -> int:
    """Whole panels; rows a multiple of a kilobyte apart would fall on the same lines of a cache."""
    width = register.parts * whole_panels(register.size)
    return width + 16 if width % 256 == 0 else width


def _two(registers: Sequence[Register]) -> ctypes.Array[c_int32]:
    return (c_int32 * 2)(*([register.index for register in registers] + [-1, -1])[:2])


def _index(register: Register | None) -> int:
    return -1 if register is None else register.index


def _operations(program: Program) -> ctypes.Array[layout.Operation]:
    lowered = (layout.Operation * len(program.operations))(*map(_operation, program.operations))
    read_later: set[int] = set()
    for operation in reversed(lowered):  # the order in which slopes come to a register
        operation.adds = int(operation.read in read_later)
        read_later.add(operation.read)
    return lowered


def _operation(operation: Operation) -> layout.Operation:
    return layout.Operation(
        kind=KINDS.index(operation.kind),
        read=operation.read.index,
        other=_index(operation.other),
        out=operation.out.index,
        second=_index(operation.second),
        gates=_index(operation.gates),
        matrix=-1,
        slope=-1,
        activation=ACTIVATIONS.index(operation.activation),
        offset=operation.offset,
        low=operation.low,
        high=operation.high,
    )
