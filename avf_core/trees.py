"""Maps over values made of tensors: frozen dataclasses, dicts and tuples of them.

Beliefs, distributions and estimates are such values; stacking, selecting and moving them is one function here.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Tree = TypeVar("Tree")


def tree_map(function: Callable[..., Tensor], first: Tree, *others: Tree) -> Tree:
    """Apply `function` to each tensor of `first`, together with the tensors at its place in `others`.

    What is not a tensor is taken from `first` unchanged.
    """
    value: Any = first
    if isinstance(value, Tensor):
        return function(value, *others)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: tree_map(function, getattr(value, f.name), *(getattr(o, f.name) for o in others))
            for f in dataclasses.fields(value)
        }
        return type(value)(**fields)  # type: ignore[return-value]
    if isinstance(value, dict):
        mapped = {k: tree_map(function, v, *(o[k] for o in others)) for k, v in value.items()}  # type: ignore[index]
        return mapped  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(  # type: ignore[return-value]
            tree_map(function, v, *(o[i] for o in others))  # type: ignore[index]
            for i, v in enumerate(value)
        )
    return first


def stack_time(steps: Sequence[Tree]) -> Tree:
    """Join values of successive steps along a new leading axis, time."""
    return tree_map(lambda *tensors: torch.stack(tensors), *steps)


def concatenate(rows: Sequence[Tree]) -> Tree:
    """Join values along their leading axis, the batch."""
    return tree_map(lambda *tensors: torch.cat(tensors), *rows)


def take(tree: Tree, rows: Tensor | slice) -> Tree:
    """Select rows of the leading axis."""
    return tree_map(lambda tensor: tensor[rows], tree)


def where(condition: Tensor, first: Tree, second: Tree) -> Tree:
    """Row i of `first` where `condition[i]`, else row i of `second`; condition has shape (batch,)."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return tree_map(choose, first, second)
