"""Whether a filter's forecasts lose to a vector autoregression's, on data that neither was fitted to.

    rival = Rival.of(train, valid)
    rival.ahead_of(filter, valid)          ->  {24: 0.031}: better by 3.1 % at 24 steps

The law: both forecast from the same places, and what is told is beyond noise: by more than `LEVEL` in the root of the
mean square, and by more than `ERRORS` standard errors of paired differences, over stretches, as neighbours err alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from avf_core.analysis.baselines import HORIZONS, Scale, forecast_squares, origins
from avf_core.analysis.stepwise import averages
from avf_core.analysis.verdict import LEVEL, chosen_manner
from avf_core.analysis.verdict import forecast_squares as filter_squares
from avf_core.autoregression import Linear, filtered, fit
from avf_core.data import numbers
from avf_core.filtering import Filter

PLACES = 100  # from which forecasts are made
PATHS = 20  # of each
STRETCHES = 10
ERRORS = 2.0


@dataclass(frozen=True, kw_only=True)
class Rival:
    """The autoregression of some training data, its order chosen by validation data, and the scale of its errors."""

    baseline: Linear
    scale: Scale

    @classmethod
    def of(cls, train: Sequence[ndarray], valid: Sequence[ndarray]) -> "Rival | None":
        """None where there is too little to fit one."""
        scale = Scale.of([numbers(sequence).astype(np.float64) for sequence in train])
        standard = [scale.standardize(map(numbers, split)) for split in (train, valid)]
        found = [each for each in fit(*standard) if each.name.startswith("VAR")]
        return cls(baseline=found[0], scale=scale) if found else None

    def ahead_of(
        self, filter: Filter, valid: Sequence[ndarray], *, horizons: Sequence[int] = HORIZONS
    ) -> dict[int, float]:
        """By horizon, where it forecasts better than the filter beyond noise, by which part of its error."""
        within = [horizon for horizon in horizons if horizon < max(map(len, valid))]
        if not within:
            return {}
        starts = origins(list(valid), lead=self.baseline.reach, horizon=max(within), starts=PLACES)
        standard = self.scale.standardize(map(numbers, valid))
        filled = [filtered(self.baseline, sequence)[1] for sequence in standard]
        own = forecast_squares(self.baseline, standard, filled, horizons=within, starts=starts)
        manner = chosen_manner(filter, valid, horizons=within, starts=PLACES, scale=self.scale, paths=PATHS)
        theirs = filter_squares(filter, valid, starts, horizons=within, scale=self.scale, paths=PATHS, manner=manner)
        found = {horizon: behind(theirs[horizon], own[horizon]) for horizon in within}
        return {horizon: part for horizon, part in found.items() if part > 0.0}


def behind(squares: Sequence[ndarray], rival: Sequence[ndarray]) -> float:
    """By which part of the rival's error, the root of the mean square, the first is larger; 0 where noise may say so.

    Both are the squared errors of channels from the same places, in time's order.
    """
    known = ~np.isnan(rival).all(1)
    first, second = (np.nanmean(np.asarray(each)[known], axis=1) for each in (squares, rival))
    if len(first) < 2 * STRETCHES:
        return 0.0
    apart = averages(first - second, STRETCHES)
    larger = float((first.mean() / second.mean()) ** 0.5) - 1.0
    certain = float(apart.mean()) > ERRORS * float(apart.std(ddof=1)) / STRETCHES**0.5
    return larger if certain and larger > LEVEL else 0.0
