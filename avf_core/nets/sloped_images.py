"""Layers of pictures whose gradient with respect to what they read is written out; `sloped` says what for.

Convolutions and their gradients are those of oneDNN, which likes pictures with the channels of a pixel side by side:
weights that lie so (`channels_last`) make whole networks do so.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

Backward = Callable[[Any], Tensor]
"""From the gradient of what was made to that of what was read."""

FEW = 16  # maps: oneDNN computes as many at once, and transposes convolutions to fewer slowly


class Doubling(nn.ConvTranspose2d):
    """A transposed 4 x 4 convolution of stride 2, which doubles a picture.

    To few maps it is made as one 2 x 2 convolution to the four pixels that each corner between pixels becomes.
    """

    taps: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1)
        taps = torch.tensor([[2, 0], [3, 1]])  # of the odd and the even pixel around a corner, by its two neighbours
        self.register_buffer("taps", taps, persistent=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Shapes: (batch, inputs, height, width) to (batch, outputs, 2 height, 2 width)."""
        if self.out_channels >= FEW:
            return super().forward(x, output_size)
        inputs, outputs = self.weight.shape[:2]
        four = self.weight[:, :, self.taps][:, :, :, :, self.taps].permute(1, 2, 4, 0, 3, 5)
        four = four.reshape(4 * outputs, inputs, 2, 2).contiguous(memory_format=torch.channels_last)
        assert self.bias is not None
        corners = F.conv2d(x, four, self.bias.repeat_interleave(4), padding=1)
        return F.pixel_shuffle(corners, 2)[:, :, 1:-1, 1:-1].contiguous()


def _convolution(net: nn.Conv2d, x: Tensor) -> tuple[Tensor, Backward]:
    shape = x.shape

    def backward(slope: Tensor) -> Tensor:
        by_x: Tensor = conv2d_input(shape, net.weight, slope, net.stride, net.padding)  # type: ignore[no-untyped-call]
        return by_x

    return net(x), backward


def _transposed(net: nn.ConvTranspose2d, x: Tensor) -> tuple[Tensor, Backward]:
    stride, padding = net.stride, net.padding
    return net(x), lambda slope: F.conv2d(slope, net.weight, None, stride, padding)


def _group_norm(net: nn.GroupNorm, x: Tensor) -> tuple[Tensor, Backward]:
    batch, channels, pixels = x.shape[0], x.shape[1], x.shape[2:].numel()
    sizes = (batch, channels, pixels, net.num_groups)
    y, mean, rstd = torch.native_group_norm(x, net.weight, net.bias, *sizes, net.eps)

    def backward(slope: Tensor) -> Tensor:
        wanted = [True, False, False]
        by_x, *_ = torch.ops.aten.native_group_norm_backward(slope, x, mean, rstd, net.weight, *sizes, wanted)
        return by_x  # type: ignore[no-any-return]

    return y, backward


def _batch_norm(net: nn.BatchNorm2d, x: Tensor) -> tuple[Tensor, Backward]:
    """As in evaluation: a scale and a shift of each channel."""
    assert net.running_var is not None
    scale = (net.weight * torch.rsqrt(net.running_var + net.eps))[:, None, None]
    return net(x), lambda slope: slope * scale


def _leaky_relu(net: nn.LeakyReLU, x: Tensor) -> tuple[Tensor, Backward]:
    y, bend = net(x), net.negative_slope
    return y, lambda slope: torch.ops.aten.leaky_relu_backward(slope, y, bend, True)


def _tanh(net: nn.Tanh, x: Tensor) -> tuple[Tensor, Backward]:
    y = net(x)
    return y, lambda slope: torch.ops.aten.tanh_backward(slope, y)


LAYERS: dict[type[nn.Module], Callable[[Any, Tensor], tuple[Tensor, Backward]]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed,
    Doubling: _transposed,
    nn.GroupNorm: _group_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LeakyReLU: _leaky_relu,
    nn.Tanh: _tanh,
}
