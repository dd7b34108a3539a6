"""Beliefs and estimates of any kind, compared tensor by tensor; the size of modules."""

import torch
from torch import Tensor

from avf_core.trees import tree_map

FIVE = torch.arange(5)


def close(a: object, b: object, tolerance: float = 1e-5) -> None:
    """Equal trees, to a tolerance."""

    def compare(x: Tensor, y: Tensor) -> Tensor:
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)
        return x

    tree_map(compare, a, b)


def exact(a: object, b: object) -> None:
    """Equal trees, bit for bit."""
    tree_map(lambda x, y: torch.testing.assert_close(x, y, rtol=0, atol=0, equal_nan=True) or x, a, b)


def assert_finite(tensor: Tensor) -> Tensor:
    """No NaN and no infinity."""
    assert bool(tensor.isfinite().all())
    return tensor


def count(module: torch.nn.Module) -> int:
    """How many parameters it has."""
    return sum(parameter.numel() for parameter in module.parameters())
