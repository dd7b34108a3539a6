"""Fully connected networks whose gradient with respect to what they read is written out.

Inference wants the gradient of F at every iterate, with respect to the latent alone: a handful of products of few rows.
Automatic differentiation spends more time on keeping its books than on these products.

The law: values and gradients are those of automatic differentiation, in the precision of the layers.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avf_core.distributions import Gaussian
from avf_core.nets.dense import MLP, Activation, GaussianNet, clipped_leaky_relu
from avf_core.nets.sloped_images import LAYERS, Backward


def activate(activation: Activation, x: Tensor) -> tuple[Tensor, Backward]:
    """An activation's value, and its backward pass. Raises KeyError for one that has none here."""
    return _ACTIVATE[activation](x)


@torch.no_grad()
def with_backward(net: nn.Module, x: Tensor) -> tuple[Any, Backward]:
    """What a net makes of `x`, as in evaluation, and its backward pass; from that of its moments where it is Gaussian.

    For Linear, Sequential, MLP, GaussianNet and the layers of pictures; TypeError names any other.
    """
    if isinstance(net, nn.Linear):
        return net(x), lambda slope: slope @ net.weight
    if isinstance(net, nn.Sequential):
        return _chain([partial(with_backward, part) for part in net], x)
    if isinstance(net, MLP):
        return _mlp(net, x)
    if isinstance(net, GaussianNet):
        return _gaussian(net, x)
    if type(net) in LAYERS:
        return LAYERS[type(net)](net, x)
    raise TypeError(f"{type(net).__name__} has no backward pass of its own: use automatic differentiation")


def _chain(parts: Sequence[Callable[[Tensor], tuple[Any, Backward]]], x: Tensor) -> tuple[Any, Backward]:
    steps: list[Backward] = []
    for part in parts:
        x, step = part(x)
        steps.append(step)

    def backward(slope: Any) -> Tensor:
        for step in reversed(steps):
            slope = step(slope)
        return slope  # type: ignore[no-any-return]

    return x, backward


def _mlp(net: MLP, x: Tensor) -> tuple[Tensor, Backward]:
    activated = partial(activate, net.activation)
    return _chain([part for layer in net.layers for part in (partial(with_backward, layer), activated)], x)


def _gaussian(net: GaussianNet, x: Tensor) -> tuple[Gaussian, Backward]:
    features, trunk = with_backward(net.trunk, x)
    free = net.log_variance(features)

    def backward(slope: Gaussian) -> Tensor:
        low, high = net.range
        inside = slope.log_variance * ((free >= low) & (free <= high))
        return trunk(slope.mean @ net.mean.weight + inside @ net.log_variance.weight)

    return Gaussian(net.mean(features), free.clamp(*net.range)), backward


def _relu(x: Tensor) -> tuple[Tensor, Backward]:
    y = F.relu(x)
    return y, lambda slope: torch.ops.aten.threshold_backward(slope, y, 0.0)


def _clipped_leaky_relu(x: Tensor) -> tuple[Tensor, Backward]:
    bent = F.leaky_relu(x, 1.0 / 3.0)

    def backward(slope: Tensor) -> Tensor:
        inside = torch.ops.aten.hardtanh_backward(slope, bent, -3.0, 3.0)
        return torch.ops.aten.leaky_relu_backward(inside, bent, 1.0 / 3.0, True)  # type: ignore[no-any-return]

    return F.hardtanh(bent, -3.0, 3.0), backward


_ACTIVATE: dict[Activation, Callable[[Tensor], tuple[Tensor, Backward]]] = {
    F.relu: _relu,
    clipped_leaky_relu: _clipped_leaky_relu,
}
