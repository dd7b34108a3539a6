"""Textbook predictors of real-valued sequences, fitted on the data a filter was trained on and scored on what it is
scored on, in the same units: nats per step, and errors of forecasts in deviations of the training data.

    independent   every channel a Gaussian of its own, the past unheard
    persistence   the next observation is the last one, with Gaussian steps
    var           x_t = c + sum_k A_k x_{t-k} + e_t, e_t ~ N(0, S): a vector autoregression (Lütkepohl 2005, chapter 2)
    seasonal      of one channel: what was one period ago, with Gaussian steps

All four are one thing: a linear map of the last observations with Gaussian noise. Orders and periods are chosen by the
validation split. The law: a baseline is given every advantage that a reader of its name would expect. It hears of a
gap what the filter hears: the channels that were observed, from which it fills the others by their conditional mean.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from avf_core.autoregression import Linear, filtered, fit, path
from avf_core.data import numbers
from avf_core.errors import DataError

HORIZONS = (1, 6, 24)
STARTS = 200  # forecasts that are scored

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A baseline on a split. `errors`: of the mean of a forecast, by its horizon, as the root of the mean square over
    all that was observed, in deviations of a channel's training data.

    `energies` are the nats of every step, one sequence after another; `squares`, by horizon, the mean squared error of
    each forecast, in the order of their starts.
    """

    name: str
    nats: float
    errors: dict[int, float]
    energies: Float[ndarray, " steps"]
    squares: dict[int, Float[ndarray, " starts"]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All baselines that fit the data, the best in nats first. `steps` were scored; forecasts are from `starts`, in
    units of `scale`."""

    scores: tuple[Score, ...]
    steps: int
    starts: tuple[tuple[int, int], ...]
    scale: "Scale"

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        rows = {s.name: {"nats": s.nats, "errors": {str(h): e for h, e in s.errors.items()}} for s in self.scores}
        return {"steps": self.steps, "starts": len(self.starts), "rows": rows}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """By channel, the mean and the deviation of the training data, in which forecasts are scored."""

    mean: Float[ndarray, " channels"]
    deviation: Float[ndarray, " channels"]

    @classmethod
    def of(cls, train: Sequence[ndarray]) -> "Scale":
        """Of these sequences. Raises DataError where a channel has no number."""
        rows = np.concatenate(train)
        if np.isnan(rows).all(0).any():
            raise DataError(f"channel {int(np.isnan(rows).all(0).argmax())} of the training data has no number")
        deviation = np.nanstd(rows, axis=0)
        return cls(mean=np.nanmean(rows, axis=0), deviation=np.where(deviation > 0.0, deviation, 1.0))

    def standardize(self, sequences: Iterable[ndarray]) -> list[ndarray]:
        """In these units."""
        return [(sequence - self.mean) / self.deviation for sequence in sequences]


def compare(
    train: Iterable[ndarray],
    valid: Iterable[ndarray],
    test: Iterable[ndarray],
    *,
    horizons: Sequence[int] = HORIZONS,
    starts: int = STARTS,
    progress: Progress | None = None,
) -> Comparison:
    """Fit every baseline on `train`, choose orders on `valid`, and score on `test`: sequences (time, channels).

    NaN is what was not observed. Raises DataError where there is nothing to fit or to score.
    """
    raw = [[numbers(sequence).astype(np.float64) for sequence in split] for split in (train, valid, test)]
    if not all(raw) or not all(len(sequence) for split in raw for sequence in split):
        raise DataError("baselines need sequences to fit on, to choose by, and to be scored on; a split is empty")
    scale = Scale.of(raw[0])
    fitted_on, chosen_by, scored_on = (scale.standardize(split) for split in raw)
    found = fit(fitted_on, chosen_by)
    logs = np.log(scale.deviation)  # from the standardised units to the natural ones
    units = np.concatenate([(~np.isnan(sequence) * logs).sum(1) for sequence in scored_on])
    lead = max(baseline.reach for baseline in found)
    begins = origins(scored_on, lead=lead, horizon=max(horizons), starts=starts)
    scores, steps = [], sum(len(sequence) for sequence in scored_on)
    for done, baseline in enumerate(found):
        heard = [filtered(baseline, sequence) for sequence in scored_on]
        energies = np.concatenate([energies for energies, _ in heard]) + units
        filled = [filled for _, filled in heard]
        squares = forecast_squares(baseline, scored_on, filled, horizons=horizons, starts=begins)
        scores.append(
            Score(
                name=baseline.name,
                nats=float(energies.mean()),
                errors=root_mean(squares),
                energies=energies,
                squares=each_mean(squares),
            )
        )
        if progress is not None:
            progress(done + 1, len(found))
    ordered = tuple(sorted(scores, key=lambda score: score.nats))
    return Comparison(scores=ordered, steps=steps, starts=tuple(begins), scale=scale)


def origins(sequences: Sequence[ndarray], *, lead: int, horizon: int, starts: int) -> list[tuple[int, int]]:
    """From which sequence, and after how many observations, forecasts start: `starts` of all, evenly.

    After `lead` observations where there are so many, and at least one; `horizon` more are left to be forecast.
    """
    lengths = [len(sequence) for sequence in sequences]
    first = lead if any(length >= lead + horizon for length in lengths) else 1
    possible = [(i, t) for i, length in enumerate(lengths) for t in range(max(first, 1), length - horizon + 1)]
    if len(possible) <= starts:
        return possible
    return [possible[i] for i in np.linspace(0, len(possible) - 1, starts).astype(int)]


def forecast_squares(
    baseline: Linear,
    sequences: Sequence[ndarray],
    filled: Sequence[ndarray],
    *,
    horizons: Sequence[int],
    starts: Sequence[tuple[int, int]],
) -> dict[int, list[ndarray]]:
    """By horizon, for each start the squared errors of the channels, NaN where nothing came; standardised.

    `filled` are the sequences with their gaps filled, after as many steps as the baseline hears.
    """
    squares: dict[int, list[ndarray]] = {horizon: [] for horizon in horizons}
    for i, t in starts:
        past = filled[i][: baseline.reach + t]
        for ahead, mean in zip(range(1, max(horizons) + 1), path(baseline, past), strict=False):
            if ahead in squares:
                squares[ahead].append((sequences[i][t + ahead - 1] - mean) ** 2)
    return squares


def each_mean(squares: dict[int, list[ndarray]]) -> dict[int, Float[ndarray, " starts"]]:
    """By horizon, the mean over what came of every forecast; NaN where nothing did."""
    return {horizon: np.array([_mean_seen(one) for one in found]) for horizon, found in squares.items()}


def _mean_seen(squares: ndarray) -> float:
    seen = squares[~np.isnan(squares)]
    return float(seen.mean()) if len(seen) else float("nan")


def root_mean(squares: dict[int, list[ndarray]]) -> dict[int, float]:
    """By horizon, the root of the mean over all that came; NaN where nothing did."""
    return {h: float(np.sqrt(np.nanmean(found))) if len(found) else float("nan") for h, found in squares.items()}
