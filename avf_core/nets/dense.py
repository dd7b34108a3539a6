"""Fully connected networks: MLP, Gaussian heads, highway layers.

Sizes follow Marino, Cvitkovic & Yue (2018), Appendix B.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from avf_core.distributions import Gaussian

Activation = Callable[[Tensor], Tensor]


def clipped_leaky_relu(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Leaky ReLU with slope 1/3, clipped to [-3, 3]: SRNN's non-linearity (Fraccaro et al. 2016)."""
    return F.hardtanh(F.leaky_relu(x, 1.0 / 3.0), -3.0, 3.0)


ActivationName = Literal["clipped_leaky_relu", "relu"]
ACTIVATIONS: dict[str, Activation] = {"clipped_leaky_relu": clipped_leaky_relu, "relu": F.relu}


class MLP(nn.Module):
    """Fully connected layers of the given widths, each followed by the activation and, in training, dropout."""

    def __init__(self, input_size: int, widths: Sequence[int], activation: Activation, *, dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [input_size, *widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activation = activation
        self.dropout = dropout
        self.output_size = sizes[-1]

    def forward(self, x: Float[Tensor, "... input"]) -> Float[Tensor, "... output"]:
        """Shapes: (..., input_size) to (..., widths[-1])."""
        for layer in self.layers:
            x = self.activation(layer(x))
            if self.dropout and self.training:
                x = F.dropout(x, self.dropout)
        return x


class GaussianNet(nn.Module):
    """A trunk and two linear heads: the mean and the clamped log-variance of a diagonal Gaussian."""

    def __init__(self, trunk: MLP, size: int, *, log_variance_range: tuple[float, float]) -> None:
        super().__init__()
        self.trunk = trunk
        self.mean = nn.Linear(trunk.output_size, size)
        self.log_variance = nn.Linear(trunk.output_size, size)
        self.range = log_variance_range

    def forward(self, x: Float[Tensor, "... input"]) -> Gaussian:
        """Shapes: (..., input) to a Gaussian over (..., size)."""
        features = self.trunk(x)
        return Gaussian(self.mean(features), self.log_variance(features).clamp(*self.range))


class Highway(nn.Module):
    """A highway layer (Srivastava, Greff & Schmidhuber 2015) with ELU: g * elu(W x) + (1 - g) * carry(x).

    The carry is the identity, or a linear map where the sizes differ.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(input_size, output_size)
        self.gate = nn.Linear(input_size, output_size)
        self.carry = nn.Identity() if input_size == output_size else nn.Linear(input_size, output_size)

    def linears(self) -> list[nn.Linear]:
        """The linear maps of the input, in the order transform, gate, and carry where it is one."""
        return [part for part in (self.transform, self.gate, self.carry) if isinstance(part, nn.Linear)]

    def forward(self, x: Float[Tensor, "... input"]) -> Float[Tensor, "... output"]:
        """Shapes: (..., input_size) to (..., output_size)."""
        carried: Tensor = self.carry(x)
        return torch.lerp(carried, F.elu(self.transform(x)), torch.sigmoid(self.gate(x)))
