"""Which observations of the past an autoregression of some sequences hears, and how much its weights are held back.

    choose(train, valid)    ->  order, period, ridge

The law: lags say as much as any, and forecast as well as any, and are no more than that takes. All is decided by
validation data, as a baseline's order is; where there are none, by the ends of the training data, after a fit to what
comes before them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from avf_core.autoregression import FLOOR, ORDERS, Linear, carried, filtered, lags, least_squares, periods

AHEAD = (1, 2, 4, 8, 16, 24)  # steps ahead, at each of which lags are judged alike
NEARLY = 0.01  # of the logarithm of a mean square error of forecasts, which counts for nothing
PLACES = 100  # of a sequence, from which that is done
HELD_OUT = 5  # one step in so many of the training data is its end; as many of validation data are its beginning
LONGEST = 20_000  # steps that lags are chosen by: the last ones
SEASONAL = 7  # the order, below which a period is tried with it
MEMORY = 4096  # numbers of the past that a model may remember
WIDEST = 384  # numbers of the past that a prediction may hear
RIDGES = (0.0, 0.003, 0.01, 0.03)  # of the mean square of what is heard


class Lags(NamedTuple):
    """The order and the period, 0 for none, of an autoregression, and its ridge."""

    order: int
    period: int = 0
    ridge: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How a fit says what comes: -log p of each step, and squared errors of forecasts by steps ahead, in order."""

    energies: Float[ndarray, " steps"]
    squares: Mapping[int, Float[ndarray, "places channels"]]

    @property
    def error(self) -> float:
        """The mean, over steps ahead at which anything was observed, of the logarithm of the mean square; else 0."""
        means = [float(np.nanmean(found)) for found in self.squares.values() if not np.isnan(found).all()]
        return float(np.mean(np.log(np.maximum(means, FLOOR)))) if means else 0.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """Standardised sequences, and what drives them, a row a step, where something does."""

    sequences: Sequence[ndarray]
    inputs: Sequence[ndarray] | None = None

    def cut(self, start: Callable[[int], int], end: Callable[[int], int]) -> "Part":
        """Of each sequence the steps between these places, which are functions of its length."""
        among = [slice(start(len(sequence)), end(len(sequence))) for sequence in self.sequences]
        moved = self.inputs and [u[where] for u, where in zip(self.inputs, among, strict=True)]
        return Part(sequences=[s[where] for s, where in zip(self.sequences, among, strict=True)], inputs=moved)

    @property
    def given(self) -> list[ndarray | None]:
        """The inputs of each sequence."""
        return list(self.inputs) if self.inputs is not None else [None for _ in self.sequences]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is fitted to, and what is judged on: each of the latter from a step on, where all lags have a past."""

    train: Part
    held_out: Part
    starts: Sequence[int]
    filled: list[ndarray] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "filled", [carried(sequence) for sequence in self.train.sequences])

    @classmethod
    def of(cls, train: Part, valid: Part | None) -> "Trial":
        """Judged on `valid`, but for the beginnings of its sequences; without it, on the ends of `train`."""
        if valid is not None:
            return cls(train=train, held_out=valid, starts=[len(s) // HELD_OUT for s in valid.sequences])
        fitted_on = train.cut(lambda length: 0, lambda length: length - length // HELD_OUT)
        return cls(train=fitted_on, held_out=train, starts=[len(s) for s in fitted_on.sequences])

    def judged(self, heard: Lags) -> Judged:
        """A fit with these lags."""
        chosen = lags(heard.order, heard.period)
        fitted = least_squares(self.train.sequences, self.filled, chosen, self.train.inputs, ridge=heard.ridge)
        found = [filtered(fitted, s, u) for s, u in zip(self.held_out.sequences, self.held_out.given, strict=True)]
        energies = [energy[start:] for (energy, _), start in zip(found, self.starts, strict=True)]
        return Judged(energies=np.concatenate(energies), squares=self._squares(fitted, [filled for _, filled in found]))

    def _squares(self, fitted: Linear, wholes: Sequence[ndarray]) -> dict[int, ndarray]:
        """Over `AHEAD`, from places after the starts. `wholes` have no gaps, and begin with as many steps as are
        heard."""
        squares: dict[int, list[ndarray]] = {ahead: [] for ahead in AHEAD}
        for sequence, u, whole, start in zip(
            self.held_out.sequences, self.held_out.given, wholes, self.starts, strict=True
        ):
            farthest = min(AHEAD[-1], len(sequence) - start)
            starts = np.unique(np.linspace(start, len(sequence) - farthest, PLACES).astype(int))
            past = np.stack([whole[t : t + fitted.reach] for t in starts], axis=1)
            for ahead in range(1, farthest + 1):
                heard = np.concatenate([past[len(past) - lag] for lag in fitted.lags], axis=1)
                mean = fitted.offset + heard @ fitted.weights.T
                if fitted.driving is not None and u is not None:
                    mean = mean + u[starts + ahead - 1] @ fitted.driving.T
                if ahead in squares:
                    squares[ahead].append((sequence[starts + ahead - 1] - mean) ** 2)
                past = np.concatenate([past[1:], mean[None]])
        return {ahead: np.concatenate(found) for ahead, found in squares.items() if found}


def choose(train: Part, valid: Part | None = None) -> Lags:
    """The lags of the autoregression that says well how these sequences go on, and its ridge.

    Of those that are within a standard error of the best in nats (Breiman et al. 1984), the shortest one that forecasts
    as well as any, at each of `AHEAD` steps; so lags that do not help are left out. Of ridges with the same lags it is
    the one that forecasts best.
    """
    trial = Trial.of(train.cut(lambda length: max(0, length - LONGEST), lambda length: length), valid)
    found = [Lags(order, period) for order in ORDERS for period in (0, *periods(trial.train.sequences))]
    tried = [each._replace(ridge=ridge) for each in found if _possible(each, trial.train) for ridge in RIDGES]
    if not tried:
        return Lags(1)
    scored = {heard: trial.judged(heard) for heard in tried}
    best = min((judged.energies for judged in scored.values()), key=lambda energies: float(energies.mean()))
    level = {heard: judged.error for heard, judged in scored.items() if within_an_error(judged.energies - best)}
    least = min(level.values())
    nearly = {heard: error for heard, error in level.items() if error <= least + NEARLY}
    return min(nearly, key=lambda heard: (_count(heard), nearly[heard]))


def within_an_error(behind: Float[ndarray, " steps"]) -> bool:
    """Whether what is behind, in nats of each step, is so by no more than a standard error."""
    return bool(behind.mean() <= behind.std() / max(1, len(behind)) ** 0.5)


def _count(heard: Lags) -> int:
    return len(lags(heard.order, heard.period))


def _possible(heard: Lags, train: Part) -> bool:
    lengths = [len(sequence) for sequence in train.sequences]
    channels, rows = train.sequences[0].shape[1], sum(lengths)
    numbers, reach = channels * _count(heard), heard.period + heard.order
    small = numbers + 1 <= rows // 10 and numbers <= WIDEST and channels * reach <= MEMORY
    return small and reach < max(lengths) // 4 and (heard.period == 0 or heard.order < min(heard.period, SEASONAL))
