"""A stack of highway layers and its heads that records what it reads, so that its backward pass can wait.

An update model is applied one iteration after another, and trained on all of them at once. Automatic differentiation
would either keep a graph for each application, whose backward passes are as many products of few rows, or apply it a
second time to all rows. Here an application leaves a `Record`; records are joined, and one backward pass of few large
products gives the gradients of the parameters. Nothing flows back into what was read.

The law: values and gradients are those of the layers themselves, in the precision asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from avf_core.nets.dense import Highway


@dataclass(frozen=True)
class LayerRecord:
    """What a highway layer read, and the three things it made of it; nothing for what it carried as it was read."""

    read: Float[Tensor, "batch input"]
    bent: Float[Tensor, "batch output"]
    gate: Float[Tensor, "batch output"]
    carried: Float[Tensor, "batch output"] | None


@dataclass(frozen=True)
class Record:
    """One application, or several joined: the layers', then what the heads read and how dropout scaled it."""

    layers: tuple[LayerRecord, ...]
    read: Float[Tensor, "batch hidden"]
    dropout: Float[Tensor, "batch hidden"] | None


class Product:
    """Linear layers that read the same, as one product; a copy of their weights in the precision asked for."""

    def __init__(self, layers: Sequence[nn.Linear], dtype: torch.dtype) -> None:
        self.layers = layers
        self.weight = torch.cat([layer.weight.detach().to(dtype) for layer in layers])
        self.bias = torch.cat([layer.bias.detach().to(dtype) for layer in layers])
        self.by_weight = torch.empty_like(self.weight)

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the weights anew."""
        parts = zip(self.layers, self._parts(self.weight), self._parts(self.bias), strict=True)
        for layer, weight, bias in parts:
            weight.copy_(layer.weight)
            bias.copy_(layer.bias)

    def __call__(self, read: Float[Tensor, "batch input"]) -> Float[Tensor, "batch outputs"]:
        """The outputs of all layers beside each other."""
        return F.linear(read, self.weight, self.bias)

    def backward(self, slope: Float[Tensor, "batch outputs"], read: Float[Tensor, "batch input"]) -> None:
        """Set the parameters' gradients, given that of the outputs."""
        torch.mm(slope.t(), read, out=self.by_weight)
        parts = zip(self.layers, self._parts(self.by_weight), self._parts(slope.sum(0)), strict=True)
        for layer, by_weight, by_bias in parts:
            _set_gradient(layer.weight, by_weight)
            _set_gradient(layer.bias, by_bias)

    def _parts(self, joined: Tensor) -> tuple[Tensor, ...]:
        """Each layer's rows."""
        return torch.split(joined, [layer.out_features for layer in self.layers])


class RecordedHighways:
    """Highway layers and heads on them, applied without a graph."""

    def __init__(self, trunk: Sequence[Highway], heads: nn.Linear, *, dropout: float, dtype: torch.dtype) -> None:
        self.dropout, self.dtype = dropout, dtype
        self.trunk = [Product(layer.linears(), dtype) for layer in trunk]
        self.heads = Product([heads], dtype)

    def refresh(self) -> None:
        """Follow the parameters after a step of their optimiser."""
        for product in (*self.trunk, self.heads):
            product.refresh()

    @torch.no_grad()
    def __call__(self, features: Float[Tensor, "batch features"]) -> tuple[Float[Tensor, "batch outputs"], Record]:
        """What the heads say, and the record of it. Dropout is that of training."""
        read, layers = features.to(self.dtype), []
        for product in self.trunk:
            layer = _highway(product, read)
            layers.append(layer)
            read = torch.lerp(read if layer.carried is None else layer.carried, layer.bent, layer.gate)
        dropout = F.dropout(torch.ones_like(read), self.dropout) if self.dropout else None
        read = read if dropout is None else read * dropout
        return self.heads(read), Record(tuple(layers), read, dropout)

    @torch.no_grad()
    def backward(self, record: Record, slope: Float[Tensor, "batch outputs"]) -> None:
        """Set the gradients of all parameters, given that of what the heads said."""
        slope = slope.to(self.dtype)
        self.heads.backward(slope, record.read)
        slope = slope @ self.heads.weight
        if record.dropout is not None:
            slope = slope * record.dropout
        for place in reversed(range(len(self.trunk))):
            product, layer = self.trunk[place], record.layers[place]
            by_carried, by_outputs = _highway_backward(slope, layer)
            product.backward(by_outputs, layer.read)
            if place:  # what the first layer read is data
                slope = by_outputs @ product.weight
                slope = slope if by_carried is None else slope.add_(by_carried)


def _highway(product: Product, read: Tensor) -> LayerRecord:
    size = product.layers[0].out_features
    transformed, gate, *carried = torch.split(product(read), size, dim=-1)
    return LayerRecord(read, F.elu(transformed), torch.sigmoid(gate), carried[0] if carried else None)


def _highway_backward(slope: Tensor, layer: LayerRecord) -> tuple[Tensor | None, Tensor]:
    """The gradients of what was carried as it was read, if it was, and of the product's outputs."""
    carried = layer.read if layer.carried is None else layer.carried
    by_bent = slope * layer.gate
    by_carried = slope - by_bent
    parts = [
        torch.ops.aten.elu_backward(by_bent, 1.0, 1.0, 1.0, True, layer.bent),
        torch.ops.aten.sigmoid_backward(slope * (layer.bent - carried), layer.gate),
    ]
    if layer.carried is None:
        return by_carried, torch.cat(parts, dim=-1)
    return None, torch.cat([*parts, by_carried], dim=-1)


def _set_gradient(parameter: Tensor, gradient: Tensor) -> None:
    """In the memory of the gradient before, where there was one: touching new pages costs more than the copy."""
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype, copy=True)
    else:
        parameter.grad.copy_(gradient)
