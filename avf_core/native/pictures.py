"""Decoders and encoders of pictures in the executor: a row at a time, with the slope of their likelihood.

A network is described by its layers; the executor has those of 4 x 4 convolutions of stride 2 with group norm and leaky
ReLU, between pictures of one channel, or a few maps, and a vector. `running` says when they are used.

The law: what is made of a row is the same bits in any batch and with any number of threads.
"""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from avf_core.native import library, running
from avf_core.native._layout import Pixels
from avf_core.native.engine import threads
from avf_core.native.plan import EmissionPlan

LANES = 16  # channels come in so many: vectors of every machine divide it
MOST_MAPS = 2
MISSING: Any = object()


@dataclass(frozen=True)
class Layer:
    """A convolution, and the norm that follows it before a leaky ReLU; none after the last."""

    convolution: nn.Conv2d | nn.ConvTranspose2d
    norm: nn.GroupNorm | None


class Net:
    """A network with copies of its parameters; `name` is that of the executor's functions."""

    def __init__(self, name: str, layers: Sequence[Layer], vector: int, widths: Sequence[int], found: library.Library):
        self.functions, self.vector = found.functions, vector
        self.copied = [
            (part._parameters, name, tensor, running.stamp(tensor))
            for layer in layers
            for part in _parts(layer)
            for name, tensor in part._parameters.items()
            if tensor is not None
        ]
        norms = [layer.norm for layer in layers if layer.norm is not None]
        weights = [tensor for layer in layers for tensor in _tensors(layer)]
        held = [tensor.detach().contiguous() for tensor in weights]
        self.handle: int = getattr(self.functions, f"avf_{name}_new")(
            vector,
            len(layers) - 1,
            (ctypes.c_int32 * len(widths))(*widths),
            (ctypes.c_int32 * len(norms))(*[norm.num_groups for norm in norms]),
            norms[0].eps,
            (ctypes.c_void_p * len(held))(*[tensor.data_ptr() for tensor in held]),
        )
        self._end = weakref.finalize(self, getattr(self.functions, f"avf_{name}_free"), self.handle)

    def is_current(self) -> bool:
        """Whether every parameter is the same, with the values that were copied."""
        return all(held[name] is tensor and running.stamp(tensor) == was for held, name, tensor, was in self.copied)

    def is_trained(self) -> bool:
        """Whether a parameter wants its gradient."""
        return any(tensor.requires_grad for _, _, tensor, _ in self.copied)


class Decoder(Net):
    """From vectors to maps."""

    def __init__(self, layers: Sequence[Layer], found: library.Library) -> None:
        first = layers[0].convolution
        widths = [layer.convolution.out_channels for layer in layers]
        super().__init__("decoder", layers, first.in_channels, widths, found)
        self.side, self.maps = 4 << (len(layers) - 1), widths[-1]

    def decode(self, vectors: Tensor) -> Tensor:
        """The maps of vectors, (batch, maps, side, side)."""
        vectors = vectors.contiguous()
        maps = vectors.new_empty(len(vectors), self.maps, self.side, self.side)
        self.functions.avf_decoder_decode(
            self.handle, vectors.data_ptr(), len(vectors), maps.data_ptr(), threads(len(vectors))
        )
        return maps

    def slope(self, vectors: Tensor, pixels: Pixels, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """-log p(x) in nats, and its slope by the vectors; row i is of the observation i modulo their number."""
        vectors, x = vectors.contiguous(), x.contiguous()
        observed = None if observed is None else observed.contiguous()
        energy, by_vectors = vectors.new_empty(len(vectors)), torch.empty_like(vectors)
        self.functions.avf_decoder_slope(
            self.handle,
            ctypes.byref(pixels),
            vectors.data_ptr(),
            x.data_ptr(),
            None if observed is None else observed.data_ptr(),
            len(vectors),
            len(x),
            energy.data_ptr(),
            by_vectors.data_ptr(),
            threads(len(vectors)),
        )
        return energy, by_vectors


class Encoder(Net):
    """From frames to vectors."""

    def __init__(self, layers: Sequence[Layer], found: library.Library) -> None:
        widths = [layer.convolution.out_channels for layer in layers]
        super().__init__("encoder", layers, widths[-1], widths[:-1], found)

    def encode(self, frames: Tensor) -> Tensor:
        """The vectors of frames, (batch, vector)."""
        frames = frames.contiguous()
        vectors = frames.new_empty(len(frames), self.vector)
        self.functions.avf_encoder_encode(
            self.handle, frames.data_ptr(), len(frames), vectors.data_ptr(), threads(len(frames))
        )
        return vectors


_nets: "weakref.WeakKeyDictionary[nn.Module, Net | None]" = weakref.WeakKeyDictionary()
Kind = TypeVar("Kind", bound=Net)


def net_for(
    owner: nn.Module,
    kind: Callable[[Sequence[Layer], library.Library], Kind],
    describe: Callable[[], Sequence[Layer] | None],
    data: Tensor,
) -> Kind | None:
    """The executor's form of a network with layers as described, for such data; None where torch computes it."""
    if owner.training or data.dtype is not torch.float32 or not data.is_cpu or running.chosen() == "off":
        return None
    held = _nets.get(owner, MISSING)
    if held is MISSING or (held is not None and not held.is_current()):
        layers, found = describe(), library.load()
        held = _nets[owner] = kind(layers, found) if found is not None and layers and _known(layers) else None
    if held is None or (torch.is_grad_enabled() and (data.requires_grad or held.is_trained())):
        return None
    return cast(Kind, held)


def pixels_of(emission: EmissionPlan, log_variance_range: tuple[float, float]) -> Pixels | None:
    """The likelihood of pixels; None where the executor has it not for pictures."""
    if emission.kind not in ("discretized", "gaussian") or len(emission.center) + len(emission.scale) > 2:
        return None
    width = emission.bin if emission.kind == "discretized" else 0.0
    return Pixels(width, emission.center[0], emission.scale[0], *log_variance_range)


def _tensors(layer: Layer) -> list[Tensor]:
    """Weight and bias of the convolution and of the norm."""
    return [tensor for part in _parts(layer) for tensor in (part.weight, part.bias) if tensor is not None]


def _parts(layer: Layer) -> list[nn.Conv2d | nn.ConvTranspose2d | nn.GroupNorm]:
    return [layer.convolution] if layer.norm is None else [layer.convolution, layer.norm]


def _known(layers: Sequence[Layer]) -> bool:
    """Whether the executor has such layers: in float32, with channels in whole vectors."""
    *normed, last = layers
    first = layers[0].convolution
    decodes = isinstance(first, nn.ConvTranspose2d)
    fits = last.convolution.out_channels <= MOST_MAPS if decodes else last.norm is None
    fits &= all(layer.norm is not None and layer.convolution.out_channels % LANES == 0 for layer in normed)
    fits &= len({layer.norm.eps for layer in normed if layer.norm is not None}) == 1
    whole = len(_tensors(last)) == 2 and all(len(_tensors(layer)) == 4 for layer in normed)
    return fits and whole and all(tensor.dtype is torch.float32 for layer in layers for tensor in _tensors(layer))
