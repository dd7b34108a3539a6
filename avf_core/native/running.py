"""Which path computes a filter's steps: the native executor where it can, torch everywhere else.

    AVF_NATIVE   auto      native where the filter describes itself and the library is built (the default)
                 off       torch alone
                 float32   native, in float32; an error where there is no library
                 mixed     native, the search for the posterior in bfloat16; an error where the library has none

The law: torch is the reference. A step of a filter in training, in another precision, on another device or with
gradients is torch's; so is one that does not describe itself. An engine holds copies of parameters: when these have
changed, it is made anew. Fused optimisers change them without a word, and so are asked for one. Which path a filter is
computed by is said once, in the log of `avf_core.native`.
"""

import contextlib
import logging
import os
import weakref
from collections.abc import Iterator
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from avf_core.errors import ConfigurationError
from avf_core.memory import keep_freed
from avf_core.native import library, trial
from avf_core.native.engine import Engine
from avf_core.native.plan import InferencePlan, ModelPlan, Registers, Undescribed, plan_of

log = logging.getLogger("avf_core.native")

Choice = Literal["auto", "off", "float32", "mixed"]
CHOICES: tuple[str, ...] = get_args(Choice)

_forced: list[Choice] = []
_process: list[Choice] = []


def chosen() -> Choice:
    """What was asked for: by `using`, by `choose`, else by AVF_NATIVE. Raises ConfigurationError for any other word."""
    if _forced or _process:
        return (_forced or _process)[-1]
    value = os.environ.get("AVF_NATIVE", "auto")
    if value not in CHOICES:
        raise ConfigurationError(f"AVF_NATIVE is {value!r}, expected one of {', '.join(CHOICES)}")
    return cast(Choice, value)


def choose(choice: Choice) -> None:
    """From now on, in this process."""
    _process[:] = [choice]


@contextlib.contextmanager
def using(choice: Choice) -> Iterator[None]:
    """Within this context all filters are computed by this choice."""
    _forced.append(choice)
    try:
        yield
    finally:
        _forced.pop()


class Runner:
    """The engine of one filter, as long as its parameters are what they were."""

    def __init__(self, parts: nn.Module, choice: Choice) -> None:
        self.choice = choice
        self.parameters = [
            (module._parameters, name, parameter, stamp(parameter))
            for module in parts.modules()
            for name, parameter in module._parameters.items()
            if parameter is not None
        ]
        self.trained = [module for module in parts.modules() if isinstance(module, nn.Dropout)]
        self.engine = _engine(parts, choice)

    def is_current(self) -> bool:
        """Whether every parameter is the same, with the values that were copied."""
        for held, name, parameter, (address, version) in self.parameters:  # at every step, so without further calls
            if held[name] is not parameter or parameter.data_ptr() != address:
                return False
            if version is not None and parameter._version != version:
                return False
        return True

    def wants_gradients(self) -> bool:
        """Whether something is to be differentiated."""
        return torch.is_grad_enabled() and any(parameter.requires_grad for _, _, parameter, _ in self.parameters)


_runners: "weakref.WeakKeyDictionary[nn.Module, Runner]" = weakref.WeakKeyDictionary()


def engine_for(parts: Any, *data: Tensor) -> Engine | None:
    """The engine that computes a filter's steps on such data; None where torch does.

    `parts` has a `model` and an `inference`.
    """
    choice = chosen()
    if choice == "off" or parts.training or parts.model.training or parts.inference.training:
        return None
    if any(one.dtype is not torch.float32 or not one.is_cpu or one.requires_grad for one in data):
        return None
    runner = _runners.get(parts)
    if runner is None or runner.choice != choice or not runner.is_current():
        runner = _runners[parts] = Runner(parts, choice)
    return None if runner.engine is None or runner.wants_gradients() else runner.engine


def _changed(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """What an optimiser has moved is another version of itself."""
    torch.autograd.graph.increment_version([one for group in optimizer.param_groups for one in group["params"]])


register_optimizer_step_post_hook(_changed)


def stamp(parameter: Tensor) -> tuple[int, int | None]:
    """What changes when a parameter's values do; a tensor of inference mode has no version, and never will."""
    return parameter.data_ptr(), None if parameter.is_inference() else parameter._version


def _engine(parts: Any, choice: Choice) -> Engine | None:
    found = library.load()
    if found is None:
        if choice != "auto":
            raise ConfigurationError(f"AVF_NATIVE is {choice}, and there is no native executor: {library.why_not()}")
        say(f"steps are computed by torch; of the native executor, {library.why_not()}")
        return None
    try:
        model, inference, registers = plans(parts)
    except Undescribed as reason:
        say(f"steps are computed by torch: {reason}")
        return None
    if choice == "mixed" and not found.mixes:
        raise ConfigurationError("AVF_NATIVE is mixed, and this machine does not multiply in bfloat16: say float32")
    engine = Engine(registers, model, inference, library=found, mixed=choice == "mixed")
    if choice == "auto" and found.mixes and trial.worth_trying(parts, inference, engine):
        model, inference, registers = plans(parts)
        engine = trial.better(parts, engine, Engine(registers, model, inference, library=found, mixed=True))
    keep_freed()  # what large batches return is allocated anew at every step
    precision = "the search in bfloat16" if engine.mixed else "in float32"
    say(f"steps of {type(parts.model).__module__} are computed natively ({found.variant}), {precision}")
    return engine


def plans(parts: Any) -> tuple[ModelPlan, InferencePlan, Registers]:
    """How a filter describes itself. Raises Undescribed."""
    if any(parameter.dtype != torch.float32 for parameter in parts.parameters()):
        raise Undescribed("parameters are not in float32")
    registers = Registers()
    model: ModelPlan = plan_of(parts.model, registers)
    inference: InferencePlan = plan_of(parts.inference, registers, model)
    return model, inference, registers


_said: set[str] = set()


def say(what: str) -> None:
    """In the log, once a process."""
    if what not in _said:
        _said.add(what)
        log.info(what)
