"""LSTMs over a stretch whose inputs are all known, and back again, by the executor: see `avf_core.nets.recurrent`.

The law: states and slopes are those of torch, which computes what is not float32, or not on the processor.
"""

import ctypes
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from avf_core.native import _layout as layout
from avf_core.native import library, running

States = tuple[Tensor, Tensor, Tensor]


def possible(*tensors: Tensor) -> bool:
    """Whether the executor computes recurrences of these."""
    if any(one.dtype is not torch.float32 or not one.is_cpu for one in tensors):
        return False
    return running.chosen() != "off" and library.load() is not None


def forward(
    projected: Float[Tensor, "time batch gates"],
    weight: Float[Tensor, "gates hidden"],
    hidden: Float[Tensor, "batch hidden"],
    cell: Float[Tensor, "batch hidden"],
) -> States:
    """Hidden and cell states after each step, and the gates as they were bent."""
    steps, rows, size = len(projected), *hidden.shape
    hiddens, cells = projected.new_empty(2, steps, rows, size)
    gates = torch.empty_like(projected, memory_format=torch.contiguous_format)
    read = {"weight": weight, "projected": projected, "hidden": hidden, "cell": cell}
    _call("avf_recur", {**read, "gates": gates, "hiddens": hiddens, "cells": cells})
    return hiddens, cells, gates


def backward(
    weight: Tensor, cell: Tensor, cells: Tensor, gates: Tensor, by_hiddens: Tensor, by_cells: Tensor
) -> States:
    """The slopes of what was projected, and of hidden and cell state before the first step."""
    by_projected, by_hidden, by_cell = (torch.empty_like(gates), torch.empty_like(cell), torch.empty_like(cell))
    read = {"weight": weight, "cell": cell, "cells": cells, "gates": gates}
    slopes = {"by_hiddens": by_hiddens, "by_cells": by_cells}
    made = {"by_projected": by_projected, "by_hidden": by_hidden, "by_cell": by_cell}
    _call("avf_recur_back", {**read, **slopes, **made})
    return by_projected, by_hidden, by_cell


def _call(name: str, tensors: dict[str, Tensor]) -> None:
    """What is written is contiguous; copies are made of what is read and is not."""
    found = library.load()
    assert found is not None
    held = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
    steps, rows, gates = held["gates"].shape
    addresses: dict[str, Any] = {key: tensor.data_ptr() for key, tensor in held.items()}
    sizes = {"steps": steps, "rows": rows, "size": gates // 4, "threads": torch.get_num_threads()}
    getattr(found.functions, name)(ctypes.byref(layout.Recurrence(**addresses, **sizes)))
