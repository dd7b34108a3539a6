"""Training data in the forms that programs have it in: arrays and tensors, torch's Datasets and DataLoaders."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy import ndarray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from avf_core.data import Sequences
from avf_core.errors import DataError

Given = Iterable[Any] | Dataset[Any]
"""Sequences (time, observation), in any of these forms; or batches of them, in a DataLoader or one array."""


def sequences_of(given: Given) -> Sequences:
    """All sequences of what was given; of tuples, as a TensorDataset has them, the first part is the sequence.

    Raises DataError for what has none of shape (time, observation).
    """
    if isinstance(given, ndarray | Tensor):
        whole = _array(given)
        found = [whole] if whole.ndim == 2 else list(whole)
    elif isinstance(given, DataLoader):
        found = [row for batch in given for row in _array(_first(batch))]
    else:
        found = [_array(_first(item)) for item in _items(given)]
    shapes = {sequence.ndim for sequence in found}
    if shapes != {2}:
        said = f"sequences of {sorted(shapes)} axes" if found else "no sequences"
        raise DataError(f"the data has {said}: expected arrays of shape (time, observation)")
    return found


def _items(given: Given) -> Iterator[Any]:
    """Of a Dataset that is read by places, those of its length: not all end by an IndexError."""
    if isinstance(given, Dataset):
        return (given[place] for place in range(len(given)))  # type: ignore[arg-type]
    return iter(given)


def _first(item: Any) -> Any:
    return item[0] if isinstance(item, tuple | list) else item


def _array(item: Any) -> ndarray:
    """As it is, where it is an array; it may know what moved it."""
    return item if isinstance(item, ndarray) else np.asarray(item.detach().cpu() if isinstance(item, Tensor) else item)
