"""autoregressive: keys that hear the keys below them, and the frames before (NADE: Larochelle & Murray 2011, on music
Boulanger-Lewandowski et al. 2012; weights shared by all keys: Johnson 2017).

    p(x_k = 1 | x_<k, x_{t-1}, ..) = sigmoid(bias_k + told(what k hears of the last frames, and of the keys below it))

The decoder says the biases, of all keys, and a shift of the hidden units, alike for all keys; what hears is the
emission's own, a small network that is the same for every key (`_keys`). What keys hear of the last frames is had once
a step: inference costs it nothing. log p and its gradient are one pass over the keys.

The probability of a key alone has no closed form: it is the average over draws of the keys below, so many in all,
whether of one latent or of several that are decoded together. That probabilities were heard in place of draws would
cost less and say less: of chorales it misses one note in six. Samples are exact, by the same recursion. A missing key
is taken as it is expected (inference) or drawn (what is fed back) given the keys below it, and those above it are
scored as if that had been observed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import Likelihood, at_least_float32
from avf_core.emissions import base
from avf_core.emissions._keys import PATHS, Keyboard, KeyByKey
from avf_core.emissions.base import MEMORY, Output, Units
from avf_core.errors import ConfigurationError
from avf_core.nets import MLP

SELDOM = -3.0  # log-odds of a key at first
LAST, HEARD = f"{MEMORY}last", f"{MEMORY}heard"


@dataclass(frozen=True, kw_only=True)
class Config:
    """units: of both hidden layers. frames: how many before this one are heard, and `reach` how many keys either way.

    below: how many keys of this frame are heard, those below. dropout: of the hidden units, in training.
    """

    units: int = 64
    frames: int = 4
    reach: int = 12
    below: int = 48
    dropout: float = 0.0

    def __post_init__(self) -> None:
        least = {"units": 1, "frames": 1, "reach": 0, "below": 1}
        wrong = [
            f"{name} is {getattr(self, name)}" for name, at_least in least.items() if getattr(self, name) < at_least
        ]
        if wrong or not 0.0 <= self.dropout < 1.0:
            raise ConfigurationError(
                f"{', '.join(wrong) or f'dropout is {self.dropout}'}: expected at least 1 unit, frame and key below, "
                "a reach of at least 0, and dropout within [0, 1)"
            )


EXAMPLES: Mapping[str, Config] = {
    "small": Config(units=3, frames=2, reach=1, below=2),
    "thinned": Config(units=4, frames=1, reach=8, below=8, dropout=0.5),
}


class Emission(base.Emission):
    """An estimator of what sounds key by key, its biases and shift said by the decoder."""

    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    widens = "bernoulli"
    config: Config

    def __init__(self, config: Config, units: Units, size: int, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(config, units, size, shape)
        self.keyboard = Keyboard(size, units=config.units, frames=config.frames, reach=config.reach, below=config.below)

    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """A linear map to the biases and the shift."""
        final = nn.Linear(trunk.output_size, self.size + self.config.units)
        with torch.no_grad():
            final.bias[: self.size] = SELDOM
        return nn.Sequential(trunk, final)

    @property
    def warming(self) -> int:
        """Until as many frames were heard as are remembered."""
        return self.config.frames

    def initial(self, batch_size: int, *, like: Tensor) -> State:
        """Silence."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {LAST: like.new_zeros(batch_size, self.config.frames * self.size, dtype=dtype)}

    def remember(self, context: State, x: Float[Tensor, "batch observation"]) -> State:
        """The last frames, the newest last."""
        last = context[LAST]
        return {LAST: torch.cat([last[..., self.size :], x.to(last.dtype)], dim=-1)}

    def context(self, memory: State) -> State:
        """The memory, and what every key hears of it."""
        if LAST not in memory:
            return {}
        frames = torch.unflatten(memory[LAST], -1, (self.config.frames, self.size))
        return {LAST: memory[LAST], HEARD: at_least_float32(self.keyboard.heard(frames)).flatten(-2)}

    def contexts(self, memory: State, xs: Float[Tensor, "time batch observation"]) -> State:
        """Windows of the whole roll, heard as one batch."""
        before = torch.unflatten(memory[LAST], -1, (self.config.frames, self.size))
        roll = torch.cat([before, xs[:-1].to(before.dtype).transpose(0, 1)], dim=1)
        windows = roll.unfold(1, self.config.frames, 1).permute(1, 0, 3, 2)
        return self.context({LAST: windows.flatten(-2)})

    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """The estimator with these biases and this shift."""
        if not isinstance(output, Tensor):
            raise TypeError(f"expected biases, not {type(output).__name__}")
        bias, shift = torch.split(at_least_float32(output), [self.size, self.config.units], dim=-1)
        heard = torch.unflatten(context[HEARD], -1, (self.size, self.config.units))
        return KeyByKey(
            bias=bias,
            shift=shift,
            heard=heard.expand(*bias.shape[:-1], -1, -1),
            kept=self._kept(shift),
            paths=_paths(bias, samples=bias.shape[0] if bias.ndim == heard.ndim else 1),
            keyboard=self.keyboard,
        )

    def sloped(
        self, output: Output, context: State, x: Float[Tensor, "batch observation"], observed: Tensor | None
    ) -> tuple[Float[Tensor, "... batch"], Output]:
        """Written out, but for dropout."""
        found = self.likelihood_of(output, context)
        assert isinstance(found, KeyByKey)
        assert isinstance(output, Tensor)
        if found.kept is not None:
            return super().sloped(output, context, x, observed)
        with torch.no_grad():
            energy, by_bias, by_shift = found.slopes(x, observed)
        return energy, torch.cat([by_bias, by_shift.to(by_bias.dtype)], dim=-1).to(output.dtype)

    def _kept(self, shift: Float[Tensor, "... units"]) -> Float[Tensor, "... 2 units"] | None:
        """Which units of both layers stay, and by how much these count more; None outside of training."""
        if not self.training or not self.config.dropout:
            return None
        stays = 1.0 - self.config.dropout
        return shift.new_empty(*shift.shape[:-1], 2, shift.shape[-1]).bernoulli_(stays).div_(stays)


def _paths(bias: Float[Tensor, "... keys"], *, samples: int) -> Int64[Tensor, "... paths"]:
    """Which paths each likelihood hears: where there is a leading axis of several samples, all of them together."""
    each = -(-PATHS // samples)
    numbers = torch.arange(samples * each, device=bias.device).view(samples, each) % PATHS
    rows = numbers[0] if samples == 1 else numbers.view(samples, *[1] * (bias.ndim - 2), each)
    return rows.expand(*bias.shape[:-1], each)
