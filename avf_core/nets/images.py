"""Convolutional pyramids: a frame to a vector and back, through stages whose resolution is halved or doubled.

`vgg` and `dcgan` are those of Denton & Fergus, "Stochastic video generation with a learned prior" (2018); each width is
a stage, from the finest to the coarsest, and the coarsest has 4 x 4 pixels behind it. The encoder also returns the
output of each stage: skip connections, which the decoder reads where it was made for them.

The law: rows are independent of each other, but for batch normalisation in training.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import gcd
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from avf_core import memory
from avf_core.errors import ConfigurationError
from avf_core.native import pictures
from avf_core.native._layout import Pixels
from avf_core.nets.sloped import with_backward
from avf_core.nets.sloped_images import Backward, Doubling

EncoderName = Literal["vgg", "dcgan"]
NormName = Literal["batch", "group"]
Net = TypeVar("Net", bound=nn.Module)
SMALLEST = 4  # pixels a side, where convolution ends
GROUPS = 8
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def frame_size(widths: Sequence[int]) -> int:
    """The pixels a side of the frames that stages of these widths read: 64 for four of them."""
    return SMALLEST << len(widths)


def check_frame_size(size: int, widths: Sequence[int]) -> None:
    """Raise ConfigurationError unless the stages take frames of this size down to 4 x 4 pixels."""
    if not widths or min(widths) < 1 or size != frame_size(widths):
        raise ConfigurationError(
            f"frames of {size} x {size} pixels do not fit {len(widths)} stages, widths {list(widths)}: each stage "
            f"halves the frame, down to {SMALLEST} x {SMALLEST}; expected frames of {frame_size(widths)}"
        )


def encoder(kind: EncoderName, widths: Sequence[int], size: int, *, norm: NormName) -> "Encoder":
    """The encoder of this name, to vectors of `size` numbers in (-1, 1)."""
    stage = _vgg_encoder_stage if kind == "vgg" else _dcgan_encoder_stage
    stages = [stage(place, a, b, norm) for place, (a, b) in enumerate(pairwise([1, *widths]))]
    # Of a single pixel there is nothing to normalise but over the batch.
    normalized = [_VectorBatchNorm(size)] if norm == "batch" else []
    last = nn.Sequential(nn.Conv2d(widths[-1], size, SMALLEST), *normalized, nn.Tanh())
    return _channels_last(Encoder(stages, last, pooled=kind == "vgg"))


def decoder(
    kind: EncoderName, widths: Sequence[int], size: int, channels: int, *, norm: NormName, skips: bool
) -> "Decoder":
    """The decoder of this name, from vectors of `size` numbers to frames of `channels` numbers a pixel."""
    memory.keep_freed()
    first = nn.Sequential(nn.ConvTranspose2d(size, widths[-1], SMALLEST), _norm(norm, widths[-1]), nn.LeakyReLU(0.2))
    stage = _vgg_decoder_stage if kind == "vgg" else _dcgan_decoder_stage
    factor = 2 if skips else 1
    outputs = [channels, *widths[:-1]]
    stages = [stage(place, factor * widths[place], outputs[place], widths[place], norm) for place in range(len(widths))]
    return _channels_last(Decoder(first, list(reversed(stages)), enlarged=kind == "vgg"))


class Encoder(nn.Module):
    """Frames to vectors. Where `pooled`, a stage keeps the resolution and pooling halves it; else the stage does."""

    def __init__(self, stages: Sequence[nn.Module], last: nn.Module, *, pooled: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.last = last
        self.pooled = pooled

    def forward(
        self, frames: Float[Tensor, "batch 1 height width"]
    ) -> tuple[Float[Tensor, "batch size"], list[Float[Tensor, "batch _ _ _"]]]:
        """The vectors, and the output of every stage, the finest first."""
        skips = []
        for stage in self.stages:
            frames = stage(frames)
            skips.append(frames)
            frames = F.max_pool2d(frames, 2) if self.pooled else frames
        vectors: Tensor = self.last(frames).flatten(1)
        return vectors, skips

    def vectors(self, frames: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch size"]:
        """The vectors alone: natively, where that can be."""
        net = pictures.net_for(self, pictures.Encoder, self._layers, frames)
        vectors: Tensor = self(frames)[0] if net is None else net.encode(frames)
        return vectors

    def _layers(self) -> list[pictures.Layer] | None:
        return None if self.pooled else _described(self.stages, self.last)


class Decoder(nn.Module):
    """Vectors to frames. Where `enlarged`, resolution is doubled by repeating pixels; else each stage doubles it."""

    def __init__(self, first: nn.Module, stages: Sequence[nn.Module], *, enlarged: bool) -> None:
        super().__init__()
        self.first = first
        self.stages = nn.ModuleList(stages)
        self.enlarged = enlarged

    def forward(
        self, vectors: Float[Tensor, "batch size"], skips: Sequence[Float[Tensor, "batch _ _ _"]]
    ) -> Float[Tensor, "batch channels height width"]:
        """The frames; `skips` as the encoder gives them, or none. Natively, where that can be."""
        if (net := self._net(vectors, skips)) is not None:
            return net.decode(vectors)
        frames: Tensor = self.first(vectors[:, :, None, None])
        for place, stage in enumerate(self.stages, start=1):
            frames = F.interpolate(frames, scale_factor=2.0, mode="nearest") if self.enlarged else frames
            frames = stage(torch.cat([frames, skips[-place]], dim=1) if skips else frames)
        return frames

    def _net(self, vectors: Tensor, skips: Sequence[Tensor]) -> pictures.Decoder | None:
        return None if skips else pictures.net_for(self, pictures.Decoder, self._layers, vectors)

    def _layers(self) -> list[pictures.Layer] | None:
        return None if self.enlarged else _described([self.first, *self.stages[:-1]], self.stages[-1])

    def energy_slope(
        self,
        vectors: Float[Tensor, "batch size"],
        skips: Sequence[Float[Tensor, "batch _ _ _"]],
        pixels: Pixels,
        x: Float[Tensor, "observations pixels"],
        observed: Tensor | None,
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch size"]] | None:
        """-log p(x) of such pixels and its slope by the vectors, natively; None where that cannot be.

        Vector i is of the observation i modulo their number.
        """
        net = self._net(vectors, skips)
        return None if net is None else net.slope(vectors, pixels, x, observed)

    @torch.no_grad()
    def with_backward(
        self, vectors: Float[Tensor, "batch size"], skips: Sequence[Float[Tensor, "batch _ _ _"]]
    ) -> tuple[Float[Tensor, "batch channels height width"], Backward]:
        """The frames as in evaluation, and the way from their gradient to that of the vectors."""
        frames, first = with_backward(self.first, vectors[:, :, None, None])
        steps: list[tuple[torch.Size, Backward]] = []
        for place, stage in enumerate(self.stages, start=1):
            shape = frames.shape
            frames = F.interpolate(frames, scale_factor=2.0, mode="nearest") if self.enlarged else frames
            frames, step = with_backward(stage, torch.cat([frames, skips[-place]], dim=1) if skips else frames)
            steps.append((shape, step))

        def backward(slope: Tensor) -> Tensor:
            for shape, step in reversed(steps):
                slope = step(slope)[:, : shape[1]]
                if self.enlarged:
                    slope = F.avg_pool2d(slope, 2, divisor_override=1)
            return first(slope).flatten(1)

        return frames, backward


def _described(stages: Iterable[nn.Module], last: nn.Module) -> list[pictures.Layer] | None:
    """The layers of stages of one convolution each, and of the last one; None where they are others."""
    layers = []
    for stage in stages:
        parts = list(stage) if isinstance(stage, nn.Sequential) else [stage]
        if len(parts) != 3 or not isinstance(parts[0], CONVOLUTIONS) or not isinstance(parts[1], nn.GroupNorm):
            return None
        layers.append(pictures.Layer(parts[0], parts[1]))
    parts = list(last) if isinstance(last, nn.Sequential) else [last]
    if not isinstance(parts[0], CONVOLUTIONS) or any(isinstance(part, nn.BatchNorm2d) for part in parts):
        return None
    return [*layers, pictures.Layer(parts[0], None)]


def _channels_last(net: Net) -> Net:
    """The net with its weights laid out as oneDNN likes them."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


class _VectorBatchNorm(nn.BatchNorm2d):
    """Batch norm of single pixels. A batch of one has no spread: it is normalised by what was seen before."""

    def forward(self, x: Float[Tensor, "batch size 1 1"]) -> Float[Tensor, "batch size 1 1"]:
        if self.training and len(x) == 1:
            mean, variance = self.running_mean, self.running_var
            return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False, eps=self.eps)
        return super().forward(x)


def _norm(name: NormName, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if name == "batch" else nn.GroupNorm(gcd(GROUPS, channels), channels)


def _layer(convolution: nn.Module, channels: int, norm: NormName) -> nn.Sequential:
    return nn.Sequential(convolution, _norm(norm, channels), nn.LeakyReLU(0.2))


def _same(inputs: int, outputs: int, norm: NormName) -> nn.Sequential:
    return _layer(nn.Conv2d(inputs, outputs, 3, padding=1), outputs, norm)


def _vgg_encoder_stage(place: int, inputs: int, width: int, norm: NormName) -> nn.Module:
    """Two layers in the two finest stages, three in the others."""
    deeper = [_same(width, width, norm) for _ in range(1 if place < 2 else 2)]
    return nn.Sequential(_same(inputs, width, norm), *deeper)


def _vgg_decoder_stage(place: int, inputs: int, outputs: int, width: int, norm: NormName) -> nn.Module:
    """The layers of the encoder's stage, backwards."""
    first = _same(inputs, width, norm)
    if place == 0:
        return nn.Sequential(first, nn.ConvTranspose2d(width, outputs, 3, padding=1))
    deeper = [_same(width, width, norm)] if place > 1 else []
    return nn.Sequential(first, *deeper, _same(width, outputs, norm))


def _dcgan_encoder_stage(place: int, inputs: int, width: int, norm: NormName) -> nn.Module:
    return _layer(nn.Conv2d(inputs, width, 4, stride=2, padding=1), width, norm)


def _dcgan_decoder_stage(place: int, inputs: int, outputs: int, width: int, norm: NormName) -> nn.Module:
    doubled = Doubling(inputs, outputs)
    return doubled if place == 0 else _layer(doubled, outputs, norm)
