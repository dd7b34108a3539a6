"""What moved the world between two observations: inputs u_t, and the time dt_t that went by.

u_t is what was done or known *before* x_t (an agent's action between x_{t-1} and x_t, the hour of the day), and dt_t
the time since x_{t-1}. Both come with x_t. They enter the prior of z_t and the transition, and where a model says so
its decoder. A model that takes neither has the drive `FREE`.

The law: what a model is not told in its settings it is not told at a step, and the other way round; each misfit is an
error that names it. Only a dt may be left out: it is then the usual one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from avf_core.errors import ConfigurationError, InputError, TimeStepError

LONGEST = 10.0  # of |log(dt / usual dt)|, as networks read it


@dataclass(frozen=True, kw_only=True)
class Drive:
    """Inputs and dt of a step, or with an axis of time before; None for what a model does not take."""

    inputs: Float[Tensor, "*time batch inputs"] | None = None
    dt: Float[Tensor, "*time batch"] | None = None


FREE = Drive()
"""Of a model that takes no inputs, on a clock whose steps are all the same."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a model is told beside its observations; part of the `Config` of models that take a drive.

    `input_size`: the length of u_t. `input_center` and `input_scale`: one number an input, what is subtracted and
    divided by where networks read them (0 and 1 where not given). `decode_inputs`: the decoder reads u_t, too.
    `timed`: steps have a dt. `usual_dt`: the dt of a step that says none, and the unit of time within the model.
    """

    input_size: int = 0
    input_center: tuple[float, ...] = ()
    input_scale: tuple[float, ...] = ()
    decode_inputs: bool = False
    timed: bool = False
    usual_dt: float = 1.0

    def __post_init__(self) -> None:
        if self.input_size < 0:
            raise ConfigurationError(f"input_size is {self.input_size}, expected a number of inputs, or 0 for none")
        for name in ("input_center", "input_scale"):
            given = getattr(self, name)
            if given and len(given) != self.input_size:
                raise ConfigurationError(f"{name} has {len(given)} numbers, expected one for each of {self.input_size}")
        if not all(0.0 < scale < math.inf for scale in (*self.input_scale, self.usual_dt)):
            raise ConfigurationError(
                f"input_scale is {self.input_scale} and usual_dt {self.usual_dt}, expected numbers above 0"
            )
        if self.decode_inputs and not self.input_size:
            raise ConfigurationError("decode_inputs is set, but input_size is 0: there is nothing to decode")


class Reader(nn.Module):
    """How a model reads a drive: what fits it, and the numbers that its networks are given."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.input_size
        self.input_size, self.timed, self.usual_dt = size, config.timed, config.usual_dt
        center = torch.tensor(config.input_center or (0.0,) * size)
        scale = torch.tensor(config.input_scale or (1.0,) * size)
        self.register_buffer("center", center, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    @property
    def size(self) -> int:
        """The length of `features`: the inputs', and one number for dt."""
        return self.input_size + int(self.timed)

    def drive(
        self,
        inputs: Float[Tensor, "..."] | None,
        dt: Float[Tensor, "..."] | None,
        *,
        shape: tuple[int, ...],
        like: Tensor,
    ) -> Drive:
        """The drive of steps of this shape, on the device and in the precision of `like`.

        Raises InputError and TimeStepError where it does not fit the model.
        """
        return Drive(inputs=self._inputs(inputs, shape, like), dt=self._dt(dt, shape, like))

    def taken(self, drive: Drive, *, shape: tuple[int, ...], like: Tensor) -> Drive:
        """What the model takes of the drive that data have: no dt where it is not timed, the usual one where it is NaN.

        Raises InputError and TimeStepError where the rest does not fit.
        """
        dt = drive.dt if self.timed else None
        dt = None if dt is None else torch.where(dt.isnan(), self.usual_dt, dt)
        return self.drive(drive.inputs, dt, shape=shape, like=like)

    def resting(self, shape: tuple[int, ...], like: Tensor) -> Drive:
        """Inputs of zeros, and the usual dt."""
        inputs = like.new_zeros(*shape, self.input_size) if self.input_size else None
        return Drive(inputs=inputs, dt=like.new_full(shape, self.usual_dt) if self.timed else None)

    def features(self, drive: Drive) -> list[Float[Tensor, "*time batch features"]]:
        """What networks read of a drive, to be joined with what else they read; nothing where there is none."""
        read = [] if (inputs := self.inputs_of(drive)) is None else [inputs]
        if drive.dt is not None:
            read.append(torch.log(drive.dt / self.usual_dt).clamp(-LONGEST, LONGEST)[..., None])
        return read

    def inputs_of(self, drive: Drive) -> Float[Tensor, "*time batch inputs"] | None:
        """The inputs of a drive as networks read them; None where it has none."""
        return None if drive.inputs is None else self.standardised(drive.inputs)

    def read_of(self, sequences: Sequence[ndarray]) -> list[Float[ndarray, "_time inputs"]] | None:
        """The inputs that each of these sequences has, as networks read them; None for a model that takes none.

        Raises InputError where one has none.
        """
        if not self.input_size:
            return None
        given = [getattr(sequence, "inputs", None) for sequence in sequences]
        if any(inputs is None for inputs in given):
            raise InputError(f"the model takes {self.input_size} inputs a step, but a sequence has none")
        read = (self.standardised(torch.as_tensor(inputs)) for inputs in given)
        return [inputs.double().cpu().numpy() for inputs in read]

    def standardised(self, inputs: Float[Tensor, "*time batch inputs"]) -> Float[Tensor, "*time batch inputs"]:
        """Inputs on the scale of one."""
        assert isinstance(self.center, Tensor)
        assert isinstance(self.scale, Tensor)
        return (inputs - self.center) / self.scale

    def _inputs(self, inputs: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
        if not self.input_size:
            if inputs is not None:
                raise InputError("inputs were given, but the model takes none (input_size is 0): leave them out")
            return None
        expected = (*shape, self.input_size)
        if inputs is None:
            raise InputError(f"the model takes {self.input_size} inputs a step, but none were given: pass `inputs`")
        _check_tensor(inputs, "inputs", InputError)
        if tuple(inputs.shape) != expected:
            raise InputError(
                f"inputs have shape {tuple(inputs.shape)}, expected {expected}: {self.input_size} numbers for every row"
            )
        if not bool(inputs.isfinite().all()):
            raise InputError(
                "an input holds NaN or an infinity; expected finite numbers: inputs cannot be missing, say 0 for none"
            )
        return inputs.to(like)

    def _dt(self, dt: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
        if not self.timed:
            if dt is not None:
                raise TimeStepError(
                    "dt was given, but the model's steps are all the same (timed is false): leave it out"
                )
            return None
        if dt is None:
            return like.new_full(shape, self.usual_dt)
        _check_tensor(dt, "dt", TimeStepError)
        if tuple(dt.shape) != shape:
            raise TimeStepError(f"dt has shape {tuple(dt.shape)}, expected {shape}: one number for every row")
        found = dt.to(like)
        if not bool((found.isfinite() & (found > 0.0)).all()):
            worst = dt[~(found.isfinite() & (found > 0.0))][0].item()
            raise TimeStepError(f"dt is {worst:g}, expected a finite time above 0 since the observation before")
        return found


def _check_tensor(given: Any, name: str, error: type[Exception]) -> None:
    if not isinstance(given, Tensor) or given.is_complex():
        kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
        raise error(f"{name} are {kind}, expected a torch.Tensor of real numbers")
