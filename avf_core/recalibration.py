"""What a model's probabilities turned out to mean: predictions corrected by what data of the same kind said of them.

A model that is wrong about its noise says 90 % and covers 75. Of data that it did not learn from, the numbers
u = P(X <= x) that it said of every value tell how: R(u), the part of them below u, is what its u means (Kuleshov,
Fenner & Ermon 2018), so that the corrected cdf is R(P(X <= x)), and the quantile at p is the model's own at R^-1(p).

The law: it is one map for all steps and dimensions, which leaves the order of values as it is. It is fitted on a split
that is not reported on, it is kept in the checkpoint's card, and the card says so.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from avf_core.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Recalibration:
    """The map R, linear between `said` and `found`, which begin at 0, end at 1 and rise; and the factor of deviations.

    With `spread`, mean +- 1.645 deviations hold 90 % of the values. Raises ConfigurationError for other numbers.
    """

    said: tuple[float, ...]
    found: tuple[float, ...]
    spread: float

    def __post_init__(self) -> None:
        if (
            len(self.said) != len(self.found)
            or not _rises(self.said)
            or not _rises(self.found)
            or not self.spread > 0.0
        ):
            raise ConfigurationError("this is no recalibration: expected levels that rise from 0 to 1, and a factor")

    def meaning(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """R(u): the probability that is meant where u is said."""
        return _between(u, self.said, self.found)

    def saying(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """R^-1(p): what is said where p is meant."""
        return _between(p, self.found, self.said)

    def as_dict(self) -> dict[str, Any]:
        """The map for a model card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Recalibration":
        """Read what `as_dict` gave. Raises ConfigurationError where that is none."""
        try:
            said, found = (tuple(float(v) for v in data[name]) for name in ("said", "found"))
            return cls(said=said, found=found, spread=float(data["spread"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"this is no recalibration: {error!r}") from error


def _rises(levels: tuple[float, ...]) -> bool:
    rising = all(a < b for a, b in pairwise(levels))
    return len(levels) > 1 and rising and levels[0] == 0.0 and levels[-1] == 1.0


def _between(values: Tensor, levels: tuple[float, ...], others: tuple[float, ...]) -> Tensor:
    """Linear interpolation."""
    x, y = (torch.tensor(t, dtype=torch.float64, device=values.device) for t in (levels, others))
    v = values.double().clamp(0.0, 1.0)
    above = torch.searchsorted(x, v.contiguous()).clamp(1, len(x) - 1)
    part = (v - x[above - 1]) / (x[above] - x[above - 1])
    return (y[above - 1] + part * (y[above] - y[above - 1])).to(values.dtype)
