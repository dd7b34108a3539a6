"""The E-step of a clip by the native executor, and the gradients of an update model that learns from it.

A `Training` is an engine whose parameters move: it copies them anew where they were trained. A `Lesson` is one clip:
steps that are inferred under a theta that stands still, and what phi has to learn from them.

The law: latents, F and gradients are those of `avf_core.training.walks` and of the procedure's own study, which are the
reference, and compute what has no plan. A procedure's parameters have their gradients in memory of their own, which
stays from clip to clip: touching new pages costs more than the products.
"""

import ctypes
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from avf_core.native import _layout as layout
from avf_core.native import library, running
from avf_core.native.engine import Engine, State, addresses, threads
from avf_core.native.plan import InferencePlan, Undescribed, whole_panels

Weigh = Callable[[Tensor, Tensor], Tensor]


class Training:
    """The engine of a filter in training, and the gradients of its procedure. Raises Undescribed."""

    def __init__(self, parts: Any, found: library.Library, *, mixed: bool) -> None:
        model, inference, registers = running.plans(parts)
        _check_learns(inference)
        assert inference.descent is not None
        self.iterations = inference.descent.iterations
        self.functions = found.functions
        self.engine = Engine(registers, model, inference, library=found, mixed=mixed, learns=True)
        self.handle = self.functions.avf_training_new(self.engine.handle)
        self._end = weakref.finalize(self, self.functions.avf_training_free, self.handle)
        self.layers = [layer for operation in inference.infer.operations for layer in operation.layers]
        _check_reaches(parts.inference, self.layers)
        self._gradients = [(torch.empty_like(layer.weight), torch.empty_like(layer.bias)) for layer in self.layers]

    def begin(self) -> None:
        """Copy all parameters anew."""
        self.engine.refresh("predict", "features", "decode", "infer", "transition")

    def hold(self, applications: int) -> None:
        """Make room for so many."""
        self.functions.avf_training_hold(self.handle, applications)

    def learn(self, weight: Tensor) -> None:
        """Set the gradients of the procedure's parameters to those of the weighted sum of F over all applications."""
        lesson = self._lesson(weight, [(*values, *gradients, *[None] * 4) for values, gradients in self._pairs()])
        self.functions.avf_learn(self.handle, ctypes.byref(lesson))
        for layer, (by_weight, by_bias) in zip(self.layers, self._gradients, strict=True):
            layer.weight.grad, layer.bias.grad = by_weight, by_bias

    def move(self, weight: Tensor, optimizer: torch.optim.AdamW, *, clip_norm: float) -> float:
        """A step of the optimiser by these gradients, clipped where `clip_norm` is above 0; their norm.

        Where that is not finite, nothing has moved. All parameters are copied anew.
        """
        (group,) = optimizer.param_groups
        values = [value for layer in self.layers for value in (layer.weight, layer.bias)]
        states = [_moments(optimizer, value) for value in values]
        made = int(states[0]["step"]) + 1
        rate, (first, second) = float(group["lr"]), group["betas"]
        adam = layout.Adam(
            first,
            second,
            group["eps"],
            rate,
            group["weight_decay"],
            rate / (1.0 - first**made),
            math.sqrt(1.0 - second**made),
            clip_norm,
        )
        moments = [(one["exp_avg"], one["exp_avg_sq"]) for one in states]
        both = zip(self._pairs(), moments[::2], moments[1::2], strict=True)
        lesson = self._lesson(weight, [(*of, None, None, *ours, *theirs) for (of, _), ours, theirs in both])
        norm: float = self.functions.avf_move(self.handle, ctypes.byref(lesson), ctypes.byref(adam))
        if math.isfinite(norm):
            torch._foreach_add_([one["step"] for one in states], 1.0)
            torch.autograd.graph.increment_version(values)
        return norm

    def _pairs(self) -> list[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
        """Weight and bias of each layer, and their gradients."""
        return [((layer.weight, layer.bias), of) for layer, of in zip(self.layers, self._gradients, strict=True)]

    def _lesson(self, weight: Tensor, tensors: Sequence[tuple[Tensor | None, ...]]) -> layout.Lesson:
        """All applications, each by its weight; `tensors` are those of each layer, in the order of `Learned`."""
        learned, kept = [], iter(tensors)
        for place, operation in enumerate(self.engine.inference.infer.operations):
            column = 0
            for layer, of in zip(operation.layers, kept, strict=False):
                rows = layer.out_features // operation.parts
                for part in range(operation.parts):
                    at = [None if one is None else one.data_ptr() + 4 * part * rows * one.stride(0) for one in of]
                    learned.append(layout.Learned(*at, rows, place, column))
                    column += whole_panels(rows)
        return layout.Lesson(
            weight.data_ptr(),
            (layout.Learned * len(learned))(*learned),
            len(learned),
            len(weight),
            torch.get_num_threads(),
            self.engine.mixed,
        )


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a lesson is of: a clip as the filter hears it, and which of its numbers were observed, all where None."""

    xs: Tensor
    observed: Tensor | None
    real: Tensor
    seeds: Tensor
    kl_weight: float


class Lesson:
    """A clip, inferred step by step."""

    def __init__(self, training: Training, state: State, watched: Watched, *, online: bool) -> None:
        """From the model's state before the first step; `online`, phi learns from each step by itself."""
        self.training, self.state, self.watched = training, dict(state), watched
        steps, rows = watched.real.shape
        size = training.engine.model.z.size
        self.mean, self.log_variance, self.z = (watched.xs.new_empty(steps, rows, size) for _ in range(3))
        self._prior = [watched.xs.new_empty(rows, size) for _ in range(2)]
        self._energies = watched.xs.new_empty(steps, training.iterations, rows)
        self._from = self._to = 0  # steps that were noted since the last renewal
        self._moved = False  # whether the engine has phi as it is
        training.begin()
        training.hold((1 if online else steps) * training.iterations * rows)

    @torch.no_grad()
    def infer(self, t: int) -> None:
        """Step t, from the prior to the latent that the next one follows: mean, log-variance and z have them."""
        engine, watched = self.training.engine, self.watched
        rows = len(watched.seeds)
        x = watched.xs[t].contiguous()
        observed = None if watched.observed is None else watched.observed[t].contiguous()
        following = {name: x.new_empty(rows, register.size) for name, register in engine.model.following.items()}
        kept, made = addresses(self.state, engine.model.state), addresses(following, engine.model.state)
        number = torch.full_like(watched.seeds, t)
        step = layout.Step(
            state=ctypes.addressof(kept[0]),
            following=ctypes.addressof(made[0]),
            x=x.data_ptr(),
            observed=None if observed is None else observed.data_ptr(),
            seed=watched.seeds.data_ptr(),
            step=number.data_ptr(),
            prior_mean=self._prior[0].data_ptr(),
            prior_log_variance=self._prior[1].data_ptr(),
            posterior_mean=self.mean[t].data_ptr(),
            posterior_log_variance=self.log_variance[t].data_ptr(),
            z=self.z[t].data_ptr(),
            tolerance=-1.0,
            budget=-1.0,
            rows=rows,
            most=self.training.iterations,
            threads=threads(rows),
            mixed=engine.mixed,
        )
        study = layout.Study(
            step=step,
            free_energy=self._energies[t].data_ptr(),
            kl_weight=watched.kl_weight,
            at=(t - self._from) * self.training.iterations * rows,
        )
        self.training.functions.avf_study(self.training.handle, ctypes.byref(study))
        self.state, self._to = following, t + 1

    @torch.no_grad()
    def backward(self, weigh: Weigh) -> None:
        """See `avf_core.inference.base.Study`."""
        self.training.learn(self._weight(weigh))
        self._moved = False

    @torch.no_grad()
    def move(self, weigh: Weigh, optimizer: torch.optim.AdamW, *, clip_norm: float) -> float:
        """A step of phi by the gradients of `backward`, in one go with them: see `Training.move`."""
        norm = self.training.move(self._weight(weigh), optimizer, clip_norm=clip_norm)
        self._moved = True
        return norm

    def renew(self) -> None:
        """See `avf_core.inference.base.Study`."""
        if not self._moved:
            self.training.engine.refresh("infer")
        self._from = self._to

    def _weight(self, weigh: Weigh) -> Tensor:
        """That of each application since the last renewal."""
        noted = slice(self._from, self._to)
        energies = self._energies[noted]
        real = self.watched.real[noted, None].expand(energies.shape)
        return weigh(energies.flatten(), real.flatten()).to(energies.dtype).contiguous()


_trainings: "weakref.WeakKeyDictionary[nn.Module, dict[bool, Training | None]]" = weakref.WeakKeyDictionary()


def training_of(parts: Any, *data: Tensor, mixed: bool) -> Training | None:
    """The training of a filter on such data, with the search in bfloat16 where `mixed` and the machine has it.

    None where torch trains it: see `running`. `parts` has a `model` and an `inference`.
    """
    found = library.load()
    if running.chosen() == "off" or found is None:
        return None
    if any(one.dtype is not torch.float32 or not one.is_cpu for one in data):
        return None
    kept = _trainings.setdefault(parts, {})
    mixed = mixed and found.mixes
    if mixed not in kept:
        try:
            kept[mixed] = Training(parts, found, mixed=mixed)
        except Undescribed as reason:
            running.say(f"training is computed by torch: {reason}")
            kept[mixed] = None
    return kept[mixed]


def _moments(optimizer: torch.optim.AdamW, parameter: Tensor) -> dict[str, Tensor]:
    """What Adam keeps of a parameter; before its first step, as it begins."""
    state: dict[str, Tensor] = optimizer.state[parameter]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
    return state


def _check_reaches(inference: nn.Module, layers: Sequence[nn.Linear]) -> None:
    """Raise Undescribed unless what is to be trained is these layers, all of them and nothing else."""
    reached = {id(parameter) for layer in layers for parameter in layer.parameters()}
    if reached != {id(parameter) for parameter in inference.parameters() if parameter.requires_grad}:
        raise Undescribed("a procedure with other parameters to train than those of its layers has no lessons")


def _check_learns(inference: InferencePlan) -> None:
    """Raise Undescribed unless the program is a chain of layers, from what is asked to what is said."""
    if inference.descent is None:
        raise Undescribed("a procedure that does not descend has no lessons")
    if inference.descent.dropout:
        raise Undescribed("dropout in an update model has no description")
    read = inference.asked
    for operation in inference.infer.operations:
        learned = bool(operation.layers) and all(layer.bias is not None for layer in operation.layers)
        if operation.read is not read or not learned or operation.other is not None:
            raise Undescribed(f"{operation.kind} has no way back to parameters here")
        read = operation.out
    if (read,) != inference.said:
        raise Undescribed("an update model that says what it does not end with has no way back")
