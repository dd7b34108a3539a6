"""Plans: what a model, an emission and an inference procedure say of themselves, so that others may compute them.

A plan is data: registers, and programs of few operations on them. A part that has a plan is computed by the native
executor; one that has none, or is derived from a class that has, is computed by torch. Nothing here knows a model.

    plan     = model.plan(registers)            programs: predict, features, decode, transition
    infer    = inference.plan(registers, plan)  a program, and by which rule its words move the posterior

The law: a plan says exactly what the part's own torch code computes in evaluation. That code is the reference, and
tests hold the one to the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

PANEL = 32  # rows of registers are padded to a multiple of it; so is each part of a register

ActivationName = Literal["identity", "relu", "clipped_leaky_relu", "elu", "clamp"]
LikelihoodName = Literal["bernoulli", "gaussian", "discretized", "discretized_authors", "linear_prediction"]
OperationName = Literal["linear", "paste", "cut", "highway", "lstm", "standardize", "loudness", "power", "hear"]
Block = tuple[Tensor, Tensor | None]
"""Rows of a matrix and their biases."""
Weights = Callable[[], Sequence[Block]]
"""A matrix in blocks, one below the other, read anew whenever parameters have changed."""


def whole_panels(size: int) -> int:
    """So many numbers, padded."""
    return -(-size // PANEL) * PANEL


class Undescribed(Exception):  # noqa: N818
    """A part has no plan, and why: not an error, torch computes it."""


@dataclass(frozen=True)
class Register:
    """Rows of `size` numbers, or of as many `parts` of that size; one row a sequence, or one a sample."""

    index: int
    size: int
    parts: int = 1
    sampled: bool = False


class Registers:
    """All registers of a plan."""

    def __init__(self) -> None:
        self.all: list[Register] = []

    def new(self, size: int, *, parts: int = 1, sampled: bool = False) -> Register:
        """One more."""
        register = Register(len(self.all), size, parts, sampled)
        self.all.append(register)
        return register


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation; what its fields mean for each kind is said in source/plan.hpp."""

    kind: OperationName
    read: Register
    out: Register
    other: Register | None = None
    second: Register | None = None
    gates: Register | None = None
    weights: Weights | None = None
    layers: tuple[nn.Linear, ...] = ()  # whose parameters the blocks are, each cut in so many
    parts: int = 1
    activation: ActivationName = "identity"
    offset: int = 0
    low: float = 0.0
    high: float = 1.0


@dataclass
class Program:
    """Operations in order, written down by calls that return the registers of results.

    `sampled`: on one row a sample; such programs are differentiated, and are linear layers with activations only.
    """

    registers: Registers
    sampled: bool = False
    operations: list[Operation] = field(default_factory=list)

    def linear(
        self,
        read: Register,
        layer: nn.Linear,
        *,
        other: Register | None = None,
        activation: ActivationName = "identity",
        limits: tuple[float, float] = (0.0, 1.0),
        parts: int = 1,
    ) -> Register:
        """activation(W read + b + other); `limits` are those of `clamp`. The output may be laid out in `parts`."""
        out = self.registers.new(layer.out_features // parts, parts=parts, sampled=self.sampled)
        self.mapped(
            read,
            lambda: blocks([layer], parts),
            out,
            other=other,
            activation=activation,
            limits=limits,
            layers=(layer,),
            parts=parts,
        )
        return out

    def mapped(
        self,
        read: Register,
        weights: Weights,
        out: Register,
        *,
        other: Register | None = None,
        activation: ActivationName = "identity",
        limits: tuple[float, float] = (0.0, 1.0),
        layers: tuple[nn.Linear, ...] = (),
        parts: int = 1,
    ) -> None:
        """`linear` of any matrix, into a register; the blocks may be the parameters of `layers`, each in `parts`."""
        low, high = limits
        self._add(
            Operation(
                kind="linear",
                read=read,
                out=out,
                other=other,
                weights=weights,
                layers=layers,
                parts=parts,
                activation=activation,
                low=low,
                high=high,
            )
        )

    def added(self, read: Register, weight: Callable[[], Tensor], onto: Register) -> None:
        """onto + W read, into that register, which has gone through no activation."""
        self._add(Operation(kind="linear", read=read, out=onto, weights=lambda: [(weight(), None)], offset=1))

    def joined(self, reads: Sequence[Register]) -> Register:
        """Registers side by side."""
        if len(reads) == 1:
            return reads[0]
        out = self.registers.new(sum(read.size for read in reads))
        at = 0
        for read in reads:
            self._add(Operation(kind="paste", read=read, out=out, offset=at))
            at += read.size
        return out

    def highway(self, read: Register, linears: Sequence[nn.Linear]) -> Register:
        """A highway layer with ELU: transform, gate, and carry where it is a linear map."""
        out = self.registers.new(linears[0].out_features)
        gates = self.registers.new(out.size, parts=len(linears))
        self._add(
            Operation(
                kind="highway",
                read=read,
                out=out,
                gates=gates,
                weights=lambda: blocks(linears),
                layers=tuple(linears),
                offset=int(len(linears) == 3),
            )
        )
        return out

    def lstm(self, read: Register, hidden: Register, cell: Register, layer: nn.LSTMCell) -> tuple[Register, Register]:
        """One step of an LSTM: hidden and cell."""
        following, kept = self.registers.new(layer.hidden_size), self.registers.new(layer.hidden_size)
        gates = self.registers.new(layer.hidden_size, parts=4)

        def weights() -> Sequence[Block]:
            joined = torch.cat([layer.weight_ih, layer.weight_hh], dim=1)
            return list(zip(joined.chunk(4), (layer.bias_ih + layer.bias_hh).chunk(4), strict=True))

        self._add(
            Operation(
                kind="lstm",
                read=self.joined([read, hidden]),
                other=cell,
                out=following,
                second=kept,
                gates=gates,
                weights=weights,
            )
        )
        return following, kept

    def standardized(self, x: Register) -> Register:
        """The observation (x - center) / scale, by the emission's units."""
        out = self.registers.new(x.size)
        self._add(Operation(kind="standardize", read=x, out=out))
        return out

    def cut(self, read: Register, size: int, *, offset: int) -> Register:
        """So many numbers of a register."""
        out = self.registers.new(size)
        self._add(Operation(kind="cut", read=read, out=out, offset=offset))
        return out

    def loudness(self, power: Register, *, above: Register | None = None) -> Register:
        """The log amplitude of a power; how far it lies `above` another."""
        out = self.registers.new(1)
        self._add(Operation(kind="loudness", read=power, other=above, out=out))
        return out

    def power(self, frame: Register, power: Register, count: Register, *, memory: int) -> tuple[Register, Register]:
        """The running power after a frame, and how many frames count in it, at most `memory`."""
        out, counted = self.registers.new(1), self.registers.new(1)
        self._add(
            Operation(kind="power", read=frame, other=power, gates=count, out=out, second=counted, high=float(memory))
        )
        return out, counted

    def heard(self, window: Register, level: Register, *, frame: int, size: int) -> Register:
        """So many numbers of a window that ends with a frame: those of avf_core/nets/spectra.py."""
        out = self.registers.new(size)
        self._add(Operation(kind="hear", read=window, other=level, out=out, offset=frame))
        return out

    def remembered(
        self, emission: "EmissionPlan", memory: Mapping[str, Register], standardized: Register
    ) -> dict[str, Register]:
        """What an emission remembers after an observation: the last of what was before and of that."""
        following = {}
        for name in emission.memory:
            joined = self.joined([memory[name], standardized])
            following[name] = self.cut(joined, memory[name].size, offset=standardized.size)
        return following

    def _add(self, operation: Operation) -> None:
        if self.sampled and operation.kind != "linear":
            raise Undescribed(f"{operation.kind} has no backward pass here")
        self.operations.append(operation)


def blocks(layers: Sequence[nn.Linear], parts: int = 1) -> list[Block]:
    """The parameters of layers that read the same, each cut into so many parts."""
    cut: list[Block] = []
    for layer in layers:
        biases = [None] * parts if layer.bias is None else layer.bias.chunk(parts)
        cut += zip(layer.weight.chunk(parts), biases, strict=True)
    return cut


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Linear prediction within frames: what the decoder's numbers are, and by which noise samples lie off."""

    order: int
    filtering: int
    gains: int
    reactive: int
    spectral: bool
    noise: str
    absolute: float
    level: float


@dataclass(frozen=True, kw_only=True)
class EmissionPlan:
    """A likelihood of closed form, and what the decoder's output registers become in torch, beside a belief's state.

    `memory` names what is remembered, and how many of the last standardised numbers that are.
    """

    kind: LikelihoodName
    bin: float
    center: tuple[float, ...]  # one for all of an observation, or one for each of its numbers
    scale: tuple[float, ...]
    likelihood: Callable[[Sequence[Tensor], Mapping[str, Tensor]], Any]
    memory: dict[str, int] = field(default_factory=dict)
    framing: Framing | None = None

    def remembers(self, registers: Registers) -> dict[str, Register]:
        """Registers of what is remembered."""
        return {name: registers.new(size) for name, size in self.memory.items()}


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """A model: what it reads and makes by name, and the programs between.

    predict: from `state` to `context` and `prior`. features: from `x` to `seen`. decode, sampled: from `latents` and
    context to `outputs`. transition: from state, x, seen and z to `following`, reading nothing that predict made.
    """

    state: dict[str, Register]
    following: dict[str, Register]
    context: dict[str, Register]
    prior: tuple[Register, Register]
    x: Register
    seen: Register
    z: Register
    latents: Register
    outputs: tuple[Register, ...]
    predict: Program
    features: Program
    decode: Program
    transition: Program
    emission: EmissionPlan


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How an iterative procedure goes on: see the `Config` of avf_core/inference/iterative.py."""

    rule: Literal["gated", "learned_sgd"]
    whitened: bool
    normalize_mean: bool
    reads_observation: bool
    iterations: int
    samples: tuple[int, ...]  # of each iteration, the last of all after it
    antithetic: bool
    keep_best: bool
    common_samples: int
    guard_samples: int
    reach: float
    gradient_scale: float
    dropout: float  # of what the heads read, in training


@dataclass(frozen=True, kw_only=True)
class InferencePlan:
    """A procedure: its program, and what that reads and says.

    With a `descent` the program reads `asked` (four terms of the latent, and what is seen of the observation), and
    `said` is one register of four parts. Without one it reads features, context and memory, and says mean and
    log-variance of the posterior, in the prior's units where `relative`, and what it remembers.
    """

    infer: Program
    said: tuple[Register, ...]
    asked: Register | None = None
    descent: Descent | None = None
    memory: dict[str, Register] = field(default_factory=dict)
    remembered: dict[str, Register] = field(default_factory=dict)
    relative: bool = False
    latent_log_variance: tuple[float, float]


def plan_of(part: Any, *arguments: Any) -> Any:
    """The plan of a part, by its own class: what a derived class changed, an inherited plan would not say.

    Raises Undescribed.
    """
    if "plan" not in vars(type(part)):
        raise Undescribed(f"{type(part).__module__}.{type(part).__qualname__} does not describe itself")
    return part.plan(*arguments)
