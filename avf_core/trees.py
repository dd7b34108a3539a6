"""Maps over values made of tensors: frozen dataclasses, dicts and tuples of them.

Beliefs, distributions and estimates are such values; stacking, selecting and moving them is one function here.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Bool
from torch import Tensor

Tree = TypeVar("Tree")


def tree_map(function: Callable[..., Tensor], first: Tree, *others: Tree) -> Tree:
    """Apply `function` to each tensor of `first`, together with the tensors at its place in `others`.

    What is not a tensor is taken from `first` unchanged.
    """
    mapped: Tree = _map(function, first, *others)
    return mapped


def _map(function: Callable[..., Tensor], first: Any, *others: Any) -> Any:
    if isinstance(first, Tensor):
        return function(first, *others)
    if isinstance(first, dict):
        return {key: _map(function, value, *(o[key] for o in others)) for key, value in first.items()}
    if isinstance(first, tuple):
        return tuple(_map(function, value, *(o[i] for o in others)) for i, value in enumerate(first))
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        mapped = {name: _map(function, getattr(first, name), *(getattr(o, name) for o in others)) for name in names}
        return type(first)(**mapped)
    return first


def stack_time(steps: Sequence[Tree]) -> Tree:
    """Join values of successive steps along a new leading axis, time."""
    return tree_map(lambda *tensors: torch.stack(tensors), *steps)


def concatenate(rows: Sequence[Tree]) -> Tree:
    """Join values along their leading axis, the batch."""
    return tree_map(lambda *tensors: torch.cat(tensors), *rows)


def take(tree: Tree, rows: Tensor | slice | int) -> Tree:
    """Select rows of the leading axis, or the one row of a number, without the axis."""
    return tree_map(lambda tensor: tensor[rows], tree)


def where(condition: Tensor, first: Tree, second: Tree) -> Tree:
    """Row i of `first` where `condition[i]`, else row i of `second`; condition has shape (batch,)."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return tree_map(choose, first, second)


def finite_rows(*trees: Tree) -> Bool[Tensor, " batch"]:
    """For every row of a batch, whether all numbers of these trees are finite."""
    masks: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        masks.append(torch.isfinite(tensor).reshape(tensor.shape[0], -1).all(-1))
        return tensor

    for tree in trees:
        tree_map(note, tree)
    return torch.stack(masks).all(0)
