"""One group of signs: its moving average over steps, and how far that is from what is usual.

The law: nothing of it is fitted to anything but normal data, and averages are in single precision, as they are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.analysis.tables import Tables
from avf_core.errors import DataError
from avf_core.signs import Sign

RIDGE = 0.01  # of the diagonal of a second moment, that is added to it
LEAST = 1e-9  # a squared distance
DIGITS = 6  # of a card's numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class Listened:
    """One group: its mean on normal data, a root L of S^-1 = L L', and how T is distributed."""

    sign: Sign
    mean: Float64[ndarray, " size"]
    root: Float64[ndarray, "size size"]
    distances: ReferenceDistribution

    @classmethod
    def fit(cls, sign: Sign, sequences: Sequence[Float64[ndarray, "_time _size"]]) -> "Listened":
        """Of the signs of steps on normal data, a sequence an array."""
        mean = np.concatenate(sequences).mean(axis=0)
        averages = [averages_of(each - mean, sign.memory) for each in sequences]
        heard = np.concatenate(averages)
        moment = heard.T @ heard / len(heard)
        moment += np.diag(RIDGE * moment.diagonal() + LEAST)
        root = np.linalg.cholesky(np.linalg.inv(moment))
        distances = ReferenceDistribution.fit(_distance(sign, heard, root))
        return cls(sign=sign, mean=mean, root=root, distances=distances)

    def as_dict(self) -> dict[str, Any]:
        """For a model card."""
        numbers = {"mean": _rounded(self.mean), "root": [_rounded(row) for row in self.root]}
        return {**asdict(self.sign), **numbers, "distances": self.distances.as_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Listened":
        """Read what `as_dict` gave. Raises DataError where it is none."""
        try:
            sign = Sign(
                name=str(data["name"]),
                size=int(data["size"]),
                memory=float(data["memory"]),
                above=bool(data["above"]),
                weight=float(data["weight"]),
                bins=int(data["bins"]),
            )
            mean, root = (np.array(data[name], dtype=np.float64) for name in ("mean", "root"))
            distances = ReferenceDistribution.from_dict(data["distances"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no reference of signs: {error!r}") from error
        if mean.shape != (sign.size,) or root.shape != (sign.size, sign.size) or not sign.memory >= 1.0:
            raise DataError(f"this is no reference of signs: {sign.name} has a mean of {mean.shape}, {root.shape}")
        return cls(sign=sign, mean=mean, root=root, distances=distances)


class Together:
    """The groups of a reference, heard at once."""

    def __init__(self, groups: Sequence[Listened]) -> None:
        self._parts = list(zip(groups, _columns([group.sign for group in groups]), strict=True))
        self._weights = np.array([[group.sign.weight] for group in groups])
        self._distances = Tables([group.distances for group in groups])

    def nats(self, averages: Float64[ndarray, "rows signs"]) -> Float64[ndarray, "groups rows"]:
        """-log P(T >= T_t) of each group's moving averages, times its weight."""
        distances = np.stack([_distance(group.sign, averages[:, own], group.root) for group, own in self._parts])
        found: ndarray = -np.log(self._distances.above(distances)) * self._weights
        return found


def by_group(listened: Sequence[Sign], signs: Float64[ndarray, "rows signs"]) -> list[ndarray]:
    """The columns of each group."""
    return [signs[:, own] for own in _columns(listened)]


def _columns(listened: Sequence[Sign]) -> list[slice]:
    """Where each group stands."""
    ends = np.cumsum([sign.size for sign in listened]).tolist()
    return [slice(end - sign.size, end) for sign, end in zip(listened, ends, strict=True)]


def averages_of(values: Float64[ndarray, "time size"], memory: float) -> Float64[ndarray, "time size"]:
    """The moving averages of a sequence, from 0."""
    found, now = np.empty_like(values), np.zeros(values.shape[1])
    for t, value in enumerate(values):
        now = single(now + (value - now) / memory)
        found[t] = now
    return found


def single(values: Float64[ndarray, "*shape"]) -> Float64[ndarray, "*shape"]:
    """In single precision, as it is kept."""
    return values.astype(np.float32).astype(np.float64)


def _distance(
    sign: Sign, averages: Float64[ndarray, "rows size"], root: Float64[ndarray, "size size"]
) -> Float64[ndarray, " rows"]:
    """T."""
    if sign.above:
        one: ndarray = averages[:, 0] * root[0, 0]
        return one
    whitened = np.matmul(root.T, averages[..., None])  # row by row: one is the same to the last bit in any batch
    found: ndarray = np.log((whitened**2).sum(axis=(1, 2)) + LEAST)
    return found


def _rounded(values: Float64[ndarray, " size"]) -> list[float]:
    """So many digits that no p-value moves."""
    return [float(f"{value:.{DIGITS}g}") for value in values]
