"""residual: the observation by its difference from the last one, with heavy tails and scales by place.

    x_t = skip(x_{t-1}, .., x_{t-frames}) + r(z_t, ...) + s_t e_t

The skip is the last observation; of pictures, and where `channels` is not 0, with what a small convolutional network
makes of the last few, which also says the scales: large where things move. Network and decoder move
the mean in units of the scale, so that neither begins as noise; the decoder corrects scales and the share of the tails,
too. Numbers of a place (a pixel, a channel) have a log-scale of their own beside. e is a logistic, or
with probability w one of `WIDER` times its scale. Levels are integrated over. Before the first observation the skip is
a mean with a scale for each place, which `begin` takes from the training data.

What the network makes of the memory is had once a step: inference costs it nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import Likelihood, at_least_float32
from avf_core.emissions import base
from avf_core.emissions._motion import Motion
from avf_core.emissions._noise import Logistic
from avf_core.emissions.base import MEMORY, Output, Units
from avf_core.errors import ConfigurationError
from avf_core.nets import MLP

WIDER = 4.0  # the tails' scale, in scales
NUMBERS = 3  # of a place that a decoder says: of mean, log-scale, and log-odds of the tails
CORRECTION = 0.1  # what a decoder's numbers are multiplied by: it begins as no correction
ODDS = -2.0  # log-odds of the tails at first
LEAST, MOST = 1e-4, 1e4  # scales, of standardised observations
BISECTIONS = 60
LAST, SEEN, SKIP = f"{MEMORY}last", f"{MEMORY}seen", f"{MEMORY}skip"


@dataclass(frozen=True, kw_only=True)
class Config:
    """frames: how many observations the network hears. channels: its width; 0, or vectors, for none."""

    frames: int = 3
    channels: int = 16

    def __post_init__(self) -> None:
        if self.frames < 1 or self.channels < 0:
            raise ConfigurationError(
                f"frames is {self.frames} and channels {self.channels}, expected at least 1 and at least 0"
            )


EXAMPLES: Mapping[str, Config] = {"network": Config(frames=2, channels=2), "last": Config(frames=1, channels=0)}


@dataclass(frozen=True)
class TwoScales:
    """Levels of a logistic that is, with some probability, `WIDER` times as wide; in standardised units."""

    center: Float[Tensor, "... observation"]
    log_scale: Float[Tensor, "... observation"]
    odds: Float[Tensor, "... observation"]
    units: Units

    def log_prob(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """log P of the level around each number, in nats."""
        error = self.units.standardize(x).to(self.center.dtype) - self.center
        width, noise = self.units.bin / base.numbers(self.units.scale)[0], Logistic()
        narrow = noise.log_probability(error, self.log_scale, width=width) - F.softplus(self.odds)
        wide = noise.log_probability(error, self.log_scale + math.log(WIDER), width=width) - F.softplus(-self.odds)
        return torch.logaddexp(narrow, wide)

    @property
    def mean(self) -> Float[Tensor, "... observation"]:
        """The expected observation."""
        return self.units.restore(self.center)

    @property
    def log_variance(self) -> Float[Tensor, "... observation"]:
        """Of both together, levels left aside."""
        wide = torch.log1p((WIDER**2 - 1.0) * torch.sigmoid(self.odds))
        return self.units.restore_log_variance(2.0 * self.log_scale + wide + math.log(math.pi**2 / 3.0))

    def cdf(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """The probability of numbers up to x, levels left aside."""
        position = (self.units.standardize(x).to(self.center.dtype) - self.center) * torch.exp(-self.log_scale)
        return self._reached(position)

    def _reached(self, position: Tensor) -> Tensor:
        return torch.lerp(torch.sigmoid(position), torch.sigmoid(position / WIDER), torch.sigmoid(self.odds))

    def sample(self, uniform: Float[Tensor, "... observation"]) -> Float[Tensor, "... observation"]:
        """The quantiles at `uniform`, by bisection between those of the two; not rounded to levels."""
        inner = Logistic().quantile(uniform).to(self.center.dtype)
        ends = torch.stack([inner, WIDER * inner])
        low, high = ends.amin(0), ends.amax(0)
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            below = self._reached(middle) < uniform
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return self.units.restore(self.center + torch.exp(self.log_scale) * 0.5 * (low + high))


class Emission(base.Emission):
    """The last observation, corrected."""

    of_levels = True
    config: Config

    def __init__(self, config: Config, units: Units, size: int, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(config, units, size, shape)
        pictures = shape is not None and len(shape) == 2
        self.motion = Motion(config.frames, config.channels, NUMBERS) if config.channels and pictures else None
        self.place_log_scale = nn.Parameter(torch.full((size,), -3.0))
        self.start_mean = nn.Parameter(torch.zeros(size))
        self.start_log_scale = nn.Parameter(torch.zeros(size))

    @torch.no_grad()
    def begin(self, sequences: Sequence[Float[ndarray, "_time observation"]]) -> None:
        """Before the first observation: mean and deviation of the training data, place by place."""
        frames = self.units.standardize(torch.from_numpy(np.concatenate(list(sequences)).astype(np.float32)))
        self.start_mean.copy_(frames.mean(0))
        scale = frames.std(0, correction=0) / Logistic().deviation
        self.start_log_scale.copy_(torch.log(scale.clamp(min=self.units.bin / base.numbers(self.units.scale)[0])))

    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """A linear map to the corrections of every place."""
        return nn.Sequential(trunk, nn.Linear(trunk.output_size, NUMBERS * self.size))

    @property
    def channels(self) -> int:
        """Corrections of mean, log-scale, and the tails' log-odds."""
        return NUMBERS

    def of_maps(
        self, maps: Float[Tensor, "*samples batch channels observation"], *, log_variance_range: tuple[float, float]
    ) -> Output:
        """The corrections are the maps."""
        return maps

    def initial(self, batch_size: int, *, like: Tensor) -> State:
        """Nothing was seen."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        last = like.new_zeros(batch_size, self.config.frames * self.size, dtype=dtype)
        return {LAST: last, SEEN: last.new_zeros(batch_size, 1)}

    def remember(self, context: State, x: Float[Tensor, "batch observation"]) -> State:
        """The last observations, the newest first; the first one stands for those before it, too."""
        last = context[LAST]
        newest = self.standardize(x).to(last.dtype)
        shifted = torch.cat([newest, last[..., : last.shape[-1] - self.size]], dim=-1)
        only = newest.repeat(*[1] * (newest.ndim - 1), self.config.frames)
        return {LAST: torch.where(context[SEEN] > 0.0, shifted, only), SEEN: torch.ones_like(context[SEEN])}

    def context(self, memory: State) -> State:
        """The memory, and what is expected of it: mean, log-scale and log-odds of every place."""
        if LAST not in memory:
            return {}
        last, seen = memory[LAST], memory[SEEN] > 0.0
        frames = torch.unflatten(last, -1, (self.config.frames, self.size))
        moved = self._moved(frames)
        log_scale = torch.where(seen, self.place_log_scale + moved[..., 1, :], self.start_log_scale).to(last.dtype)
        further = frames[..., 0, :] + torch.exp(log_scale) * moved[..., 0, :]
        mean = torch.where(seen, further, self.start_mean.to(last.dtype))
        skip = torch.stack([mean, log_scale, moved[..., 2, :] + ODDS], dim=-2)
        return {LAST: last, SEEN: memory[SEEN], SKIP: skip.flatten(-2)}

    def contexts(self, memory: State, xs: Float[Tensor, "time batch observation"]) -> State:
        """The network hears all steps as one batch."""
        memories = [{name: memory[name] for name in (LAST, SEEN)}]
        for x in xs[:-1]:
            memories.append(self.remember(memories[-1], x))
        return self.context({name: torch.stack([step[name] for step in memories]) for name in (LAST, SEEN)})

    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """The skip, corrected."""
        if not isinstance(output, Tensor):
            raise TypeError(f"expected corrections, not {type(output).__name__}")
        corrections = output if output.shape[-1] == self.size else self._by_number(output)
        skip = self._by_number(context[SKIP])
        further, wider, odds = (CORRECTION * at_least_float32(corrections)).unbind(-2)
        mean = skip[..., 0, :] + torch.exp(skip[..., 1, :]) * further
        log_scale, odds = skip[..., 1, :] + wider, skip[..., 2, :] + odds
        return TwoScales(mean, log_scale.clamp(math.log(LEAST), math.log(MOST)), odds, self.units)

    def _by_number(self, flat: Float[Tensor, "*batch all"]) -> Float[Tensor, "*batch numbers observation"]:
        """With an axis of what the numbers of a place are of."""
        return torch.unflatten(flat, -1, (NUMBERS, self.size))

    def _moved(self, frames: Float[Tensor, "*batch frames observation"]) -> Float[Tensor, "*batch numbers observation"]:
        """What the network makes of the last frames; nothing where there is none."""
        if self.motion is None or self.shape is None:
            return frames.new_zeros(*frames.shape[:-2], NUMBERS, self.size)
        pictures = frames.reshape(-1, self.config.frames, *self.shape).to(self.place_log_scale.dtype)
        maps = self.motion(pictures).flatten(2).to(frames.dtype)
        return torch.unflatten(maps, 0, frames.shape[:-2])
