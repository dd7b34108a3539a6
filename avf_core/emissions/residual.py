"""residual: the observation by its difference from the last one, with heavy tails and scales by place.

    x_t = skip(x_{t-1}, .., x_{t-frames}) + r(z_t, ...) + s_t e_t

The skip is the last observation; of pictures, and where `channels` is not 0, with what a small convolutional network
makes of the last few, which also says the scales: large where things move. With `kernel`, it first says for each pixel
how much it is of each pixel around it (dynamic filters: De Brabandere et al. 2016), so that what moves is carried to
where it goes. Network and decoder move the mean in units of the scale, so that neither begins as noise; the decoder
corrects scales and the share of the tails, too. Numbers of a place (a pixel, a channel) have a log-scale of their own
beside. e is a logistic, or with probability w one of `WIDER` times its scale. Levels are integrated over. Before the
first observation the skip is a mean with a scale for each place, which `begin` takes from the training data.

With `raster`, pixels of pictures also hear what is left of those before them (`_raster`), by weights that the network
says, and so do pixels of the first picture.

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
from avf_core.emissions._raster import REACH, Raster, around, weights_of
from avf_core.emissions._two_scales import LOGISTIC, WIDER, TwoScales
from avf_core.emissions.base import MEMORY, Output, Units
from avf_core.errors import ConfigurationError
from avf_core.nets import MLP

NUMBERS = 3  # of a place that a decoder says: of mean, log-scale, and log-odds of the tails
CORRECTION = 0.1  # what a decoder's numbers are multiplied by: it begins as no correction
ODDS = -2.0  # log-odds of the tails at first
STAYS = 5.0  # log-odds of a pixel's staying where it is, beside each place around it, at first
FOLLOWING = -2.0  # log-odds of how much of the scale follows neighbours at first
LEAST, MOST = 1e-4, 1e4  # scales, of standardised observations
LAST, SEEN, SKIP = f"{MEMORY}last", f"{MEMORY}seen", f"{MEMORY}skip"


@dataclass(frozen=True, kw_only=True)
class Config:
    """frames: how many observations the network hears. channels: its width; 0, or vectors, for none.

    raster: whether pixels of pictures hear those before them; vectors never do.
    kernel: the side, in pixels, of the square around a pixel from which the last picture is carried; 0 for none.
    """

    frames: int = 3
    channels: int = 16
    raster: bool = True
    kernel: int = 0

    def __post_init__(self) -> None:
        if self.frames < 1 or self.channels < 0:
            raise ConfigurationError(
                f"frames is {self.frames} and channels {self.channels}, expected at least 1 and at least 0"
            )
        if self.kernel < 0 or (self.kernel and not (self.kernel % 2 and self.channels)):
            raise ConfigurationError(
                f"kernel is {self.kernel} and channels {self.channels}, expected 0, or an odd side and channels"
            )


EXAMPLES: Mapping[str, Config] = {
    "network": Config(frames=2, channels=2),
    "carried": Config(frames=2, channels=2, kernel=3),
    "last": Config(frames=1, channels=0),
}


class Emission(base.Emission):
    """The last observation, corrected."""

    of_levels = True
    config: Config

    def __init__(self, config: Config, units: Units, size: int, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(config, units, size, shape)
        self.picture = (shape[0], shape[1]) if shape is not None and len(shape) == 2 else None
        self.heard = len(REACH) + 1 if config.raster and self.picture else 0
        moves = config.channels and self.picture
        said = NUMBERS + self.heard
        self.motion = Motion(config.frames, config.channels, said + config.kernel**2) if moves else None
        if self.motion is not None and config.kernel:
            with torch.no_grad():
                self.motion.said.bias[said + config.kernel**2 // 2] = STAYS  # type: ignore[index]
        self.place_log_scale = nn.Parameter(torch.full((size,), -3.0))
        self.start_mean = nn.Parameter(torch.zeros(size))
        self.start_log_scale = nn.Parameter(torch.zeros(size))
        # What is said of neighbours' weights, and of the scale's following: after observations, and before any.
        near = torch.tensor([0.0] * len(REACH) + [FOLLOWING]).repeat(2, 1)[:, : self.heard]
        self.near = base.learned(near, self.heard > 0)

    @torch.no_grad()
    def begin(
        self,
        sequences: Sequence[Float[ndarray, "_time observation"]],
        inputs: Sequence[Float[ndarray, "_time inputs"]] | None = None,
    ) -> None:
        """Before the first observation: mean and deviation of the training data, place by place.

        Neighbours' weights are the least squares of differences, and before the first observation of what is left.
        """
        clips = [self.units.standardize(torch.from_numpy(np.asarray(s, dtype=np.float32))) for s in sequences]
        frames, level = torch.cat(clips), self.units.bin / base.numbers(self.units.scale)[0]
        self.start_mean.copy_(frames.mean(0))
        left = self._begun(1, frames - self.start_mean)
        scale = left.square().mean(0).sqrt() / LOGISTIC.deviation
        self.start_log_scale.copy_(torch.log(scale.clamp(min=level)))
        moved = torch.cat([clip.diff(dim=0) for clip in clips])
        if len(moved):
            size = self._begun(0, moved).abs().mean(0)
            size = size if self.picture is None else size.mean().expand(self.size)
            self.place_log_scale.copy_(torch.log((size / LOGISTIC.absolute).clamp(min=0.5 * level)))

    def _begun(self, row: int, errors: Float[Tensor, "time observation"]) -> Float[Tensor, "time observation"]:
        """What neighbours do not tell of these errors, by weights that are set to do it best."""
        if not self.heard or self.picture is None:
            return errors
        self.near[row, : len(REACH)] = _least_squares(errors, self.picture)
        return errors - (weights_of(self.near[row, : len(REACH), None]) * around(errors, self.picture)).sum(-2)

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

    @property
    def warming(self) -> int:
        """The first observation stands for all that are remembered."""
        return 1

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
        carried = self._carried(frames[..., 0, :], moved[..., NUMBERS + self.heard :, :])
        further = carried + torch.exp(log_scale) * moved[..., 0, :]
        mean = torch.where(seen, further, self.start_mean.to(last.dtype))
        near = torch.where(
            seen[..., None],
            self.near[0, :, None] + moved[..., NUMBERS : NUMBERS + self.heard, :],
            self.near[1, :, None],
        )
        skip = torch.cat([torch.stack([mean, log_scale, moved[..., 2, :] + ODDS], dim=-2), near.to(last.dtype)], dim=-2)
        return {LAST: last, SEEN: memory[SEEN], SKIP: skip.flatten(-2)}

    def usual(self, context: State) -> Float[Tensor, "batch observation"] | None:
        """What noise of the skip's scales costs, nearly: its entropy, of narrow and wide noise apart; never under none.

        Where things move scales are large: what moves as is expected costs much, and is not strange.
        """
        if SKIP not in context:
            return None
        skip = torch.unflatten(context[SKIP], -1, (NUMBERS + self.heard, self.size))
        level = self.units.bin / base.numbers(self.units.scale)[0]
        wider = torch.sigmoid(skip[..., 2, :]) * math.log(WIDER)
        return F.softplus(2.0 * (skip[..., 1, :] + wider + LOGISTIC.entropy - math.log(level))) / 2.0

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
        corrections = output if output.shape[-1] == self.size else torch.unflatten(output, -1, (NUMBERS, self.size))
        skip = torch.unflatten(context[SKIP], -1, (NUMBERS + self.heard, self.size))
        further, wider, odds = (CORRECTION * at_least_float32(corrections)).unbind(-2)
        mean = skip[..., 0, :] + torch.exp(skip[..., 1, :]) * further
        log_scale = (skip[..., 1, :] + wider).clamp(math.log(LEAST), math.log(MOST))
        odds = skip[..., 2, :] + odds
        if not self.heard or self.picture is None:
            return TwoScales(mean, log_scale, odds, self.units)
        weights, following = weights_of(skip[..., NUMBERS:-1, :]), torch.sigmoid(skip[..., -1, :])
        moved = None
        if self.config.frames > 1:
            frames = torch.unflatten(context[LAST], -1, (self.config.frames, self.size))
            moved = (frames[..., 0, :] - frames[..., 1, :]).abs()
        return Raster(mean, log_scale, odds, weights, following, self.units, self.picture, moved)

    def _carried(
        self, newest: Float[Tensor, "*batch observation"], said: Float[Tensor, "*batch places observation"]
    ) -> Float[Tensor, "*batch observation"]:
        """The last observation; with a kernel, every pixel as a mean of those around it, by weights that are said."""
        side = self.config.kernel
        if self.picture is None or self.motion is None or not side:
            return newest
        padded = F.pad(newest.reshape(-1, 1, *self.picture), [side // 2] * 4, mode="replicate")
        around_it = F.unfold(padded, side).reshape(said.shape)
        return (torch.softmax(said, dim=-2) * around_it).sum(-2)

    def _moved(self, frames: Float[Tensor, "*batch frames observation"]) -> Float[Tensor, "*batch numbers observation"]:
        """What the network makes of the last frames; nothing where there is none."""
        if self.motion is None or self.shape is None:
            return frames.new_zeros(*frames.shape[:-2], NUMBERS + self.heard, self.size)
        pictures = frames.reshape(-1, self.config.frames, *self.shape).to(self.place_log_scale.dtype)
        maps = self.motion(pictures).flatten(2).to(frames.dtype)
        return torch.unflatten(maps, 0, frames.shape[:-2])


def _least_squares(errors: Float[Tensor, "time observation"], shape: tuple[int, int]) -> Float[Tensor, " neighbours"]:
    """What is said of the neighbours' weights that predict these best."""
    heard, each = around(errors, shape).transpose(-1, -2).flatten(0, 1).double(), errors.flatten().double()
    matrix = heard.T @ heard
    ridge = 1e-6 * torch.eye(len(REACH), dtype=matrix.dtype) * matrix.diagonal().mean().clamp(min=1e-12)
    found = torch.linalg.solve(matrix + ridge, heard.T @ each)
    total = found.abs().sum().clamp(min=1e-6)
    free: Tensor = found / total * torch.atanh(total.clamp(max=0.99))
    return free.to(errors.dtype)
