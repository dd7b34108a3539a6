"""What a model's probabilities turned out to mean: predictions corrected by what data of the same kind said of them.

A model that is wrong about its noise says 90 % and covers 75. Of data that it did not learn from, the numbers
u = P(X <= x) that it said of every value tell how: R(u), the part of them below u, is what its u means (Kuleshov,
Fenner & Ermon 2018), so that the corrected cdf is R(P(X <= x)), and the quantile at p is the model's own at R^-1(p).

The law: it is one map for all steps and dimensions, which leaves the order of values as it is. It is fitted on a split
that is not reported on, it is kept in the checkpoint's card, and the card says so.

Where a likelihood knows how much observations changed lately, predictions are stretched about their means before that:
a camera that is quieter than those of the training data is heard in the last two pictures, and so is what moves.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from avf_core.errors import ConfigurationError

LOUDEST = 3.0  # stretched deviations of one dimension's change, as whole observations are judged by: edges move far
FARTHEST = 4.0  # times, that a whole observation is stretched more, or less, than is usual


class Changing(Protocol):
    """A likelihood that knows how much observations changed lately."""

    @property
    def changes(self) -> tuple[Float[Tensor, "... observation"], Float[Tensor, "... observation"]] | None:
        """Between the last two observations: of every dimension, and the mean around it, which is never 0.

        None where it does not know.
        """
        ...


def knows_changes(likelihood: object) -> TypeGuard[Changing]:
    """Whether a likelihood is one of these, by its class."""
    return hasattr(type(likelihood), "changes")


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """How much wider predictions are than they say, by what changed between the last two observations.

    By place: where the change around a dimension, in deviations, has the logarithm `ratios`, errors are exp(`factors`)
    times what is said, linear between. Then as a whole: by the mean change in stretched deviations, each LOUDEST at
    most, beside what its logarithm is `usual`. Where nothing changed, nothing is known, and nothing is stretched.
    """

    ratios: tuple[float, ...]
    factors: tuple[float, ...]
    usual: float = 0.0

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (*self.ratios, *self.factors, self.usual)))
        if not (1 < len(self.ratios) == len(self.factors) and _rise(self.ratios) and finite):
            raise ConfigurationError("this is no stretch: expected ratios that rise, and a factor for each")

    def of(
        self,
        change: Float[Tensor, "*batch dimension"],
        nearby: Float[Tensor, "*batch dimension"],
        deviation: Float[Tensor, "*batch dimension"],
    ) -> Float[Tensor, "*batch dimension"]:
        """The factor of every dimension: by its change, by the mean of those around it, and by what is said."""
        far = math.log(FARTHEST)
        whole = (self.whole(change, nearby, deviation) - self.usual).clamp(-far, far)
        moved = change.amax(-1, keepdim=True) > 0.0
        return torch.where(moved, self._by_place(nearby, deviation) * torch.exp(whole), 1.0)

    def whole(
        self,
        change: Float[Tensor, "*batch dimension"],
        nearby: Float[Tensor, "*batch dimension"],
        deviation: Float[Tensor, "*batch dimension"],
    ) -> Float[Tensor, "*batch 1"]:
        """The logarithm of the mean change, in deviations that are stretched by place."""
        sizes = (change / (deviation * self._by_place(nearby, deviation))).clamp(max=LOUDEST)
        found = sizes.mean(-1, keepdim=True)
        return found.clamp(min=torch.finfo(found.dtype).tiny).log()

    def _by_place(self, nearby: Tensor, deviation: Tensor) -> Tensor:
        return torch.exp(_between(torch.log(nearby / deviation), self.ratios, self.factors))


@dataclass(frozen=True, kw_only=True)
class Recalibration:
    """The map R, linear between `said` and `found`, which begin at 0, end at 1 and rise; and the factor of deviations.

    With `spread`, mean +- 1.645 deviations hold 90 % of the values; with a `stretch`, both are of what is stretched.
    Raises ConfigurationError for other numbers.
    """

    said: tuple[float, ...]
    found: tuple[float, ...]
    spread: float
    stretch: Stretch | None = None

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
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Recalibration":
        """Read what `as_dict` gave. Raises ConfigurationError where that is none."""
        try:
            said, found = (tuple(float(v) for v in data[name]) for name in ("said", "found"))
            stretch = _stretch(data["stretch"]) if "stretch" in data else None
            return cls(said=said, found=found, spread=float(data["spread"]), stretch=stretch)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"this is no recalibration: {error!r}") from error


def _stretch(data: Mapping[str, Any]) -> Stretch:
    ratios, factors = (tuple(float(v) for v in data[name]) for name in ("ratios", "factors"))
    return Stretch(ratios=ratios, factors=factors, usual=float(data["usual"]))


def _rises(levels: tuple[float, ...]) -> bool:
    return len(levels) > 1 and _rise(levels) and levels[0] == 0.0 and levels[-1] == 1.0


def _rise(levels: tuple[float, ...]) -> bool:
    return all(a < b for a, b in pairwise(levels))


def _between(values: Tensor, levels: tuple[float, ...], others: tuple[float, ...]) -> Tensor:
    """Linear interpolation; beyond the levels what holds at their ends."""
    x, y = (torch.tensor(t, dtype=torch.float64, device=values.device) for t in (levels, others))
    v = values.double().clamp(levels[0], levels[-1])
    above = torch.searchsorted(x, v.contiguous()).clamp(1, len(x) - 1)
    part = (v - x[above - 1]) / (x[above] - x[above - 1])
    return (y[above - 1] + part * (y[above] - y[above - 1])).to(values.dtype)
