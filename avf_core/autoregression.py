"""Linear predictors with Gaussian noise: what baselines are, and what models of sensors begin as.

Fitted by least squares, and filtered with gaps.

All are of standardised sequences, of shape (time, channels), with NaN for what was not observed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

ORDERS = (1, 2, 3, 4, 6, 8, 12, 24)
RIDGE = 1e-3  # keeps channels that are sums of others apart from a singular system, whatever the data
FLOOR = 1e-8  # of a variance
REFILLS = 3  # times that gaps of the training data are filled anew
PERIODS = 4  # candidates for a period
CYCLES = 4  # that a period is seen, at least


@dataclass(frozen=True, kw_only=True)
class Linear:
    """x_t = offset + weights @ [x_{t-lags[0]}, ...] + driving @ u_t + e_t, e_t ~ N(0, covariance), standardised.

    u_t are inputs, of which there may be none.
    """

    name: str
    lags: tuple[int, ...]
    weights: Float[ndarray, "channels lagged"]
    offset: Float[ndarray, " channels"]
    covariance: Float[ndarray, "channels channels"]
    driving: Float[ndarray, "channels inputs"] | None = None

    @property
    def reach(self) -> int:
        """How many observations of the past it hears of."""
        return max(self.lags, default=0)

    def predict(self, past: Float[ndarray, "reach channels"]) -> Float[ndarray, " channels"]:
        """The mean of what follows these observations, the last one being the most recent."""
        heard = [past[len(past) - lag] for lag in self.lags]
        return self.offset + self.weights @ np.concatenate(heard) if heard else self.offset


def fit(train: Sequence[ndarray], valid: Sequence[ndarray]) -> list[Linear]:
    """The baselines for these standardised sequences, orders and periods chosen by the nats of `valid`."""
    channels = train[0].shape[1]
    rows = sum(len(sequence) for sequence in train)
    orders = [p for p in ORDERS if channels * p + 1 <= rows // 10 and p < max(map(len, train))]
    found = [_independent(train), _persistence(train, lag=1, name="persistence")]
    complete = [carried(sequence) for sequence in train]
    vectors = [least_squares(train, complete, lags(order)) for order in orders]
    if vectors:
        best = min(vectors, key=lambda baseline: _nats(baseline, valid))
        found.append(vector_autoregression(train, best.lags))
    if channels == 1:
        seasons = [_persistence(train, lag=lag, name=f"seasonal naive ({lag})") for lag in periods(train)]
        if seasons:
            found.append(min(seasons, key=lambda baseline: _nats(baseline, valid)))
    return found


def filtered(
    baseline: Linear, sequence: Float[ndarray, "time channels"], inputs: Float[ndarray, "time inputs"] | None = None
) -> tuple[ndarray, ndarray]:
    """-log p of every step's observed channels given what was observed before, and the sequence with its gaps filled.

    What lies before a sequence is taken to have been at the training data's mean. Where that is all that a baseline
    hears of, it expects the training data's spread, 1.
    """
    reach, blind = baseline.reach, min(baseline.lags, default=0)
    filled = np.concatenate([np.zeros((reach, sequence.shape[1])), sequence])
    energies = np.zeros(len(sequence))
    moved = _moved(baseline, inputs, len(sequence))
    known = {False: _Errors(np.eye(sequence.shape[1])), True: _Errors(baseline.covariance)}
    if not np.isnan(sequence).any():
        lagged = [filled[reach - lag : len(filled) - lag] for lag in baseline.lags]
        heard = np.concatenate(lagged, 1) @ baseline.weights.T if lagged else 0.0
        errors = sequence - moved - baseline.offset - heard
        return np.concatenate([known[False].energy(sequence[:blind]), known[True].energy(errors[blind:])]), filled
    for t, x in enumerate(sequence):
        mean = baseline.predict(filled[t : t + reach]) + moved[t] if t >= blind else np.zeros_like(x)
        filled[reach + t], energies[t] = known[t >= blind].heard(x, mean)
    return energies, filled


def _moved(baseline: Linear, inputs: ndarray | None, steps: int) -> Float[ndarray, "time channels"]:
    """What inputs add to what is expected."""
    if baseline.driving is None or inputs is None:
        return np.zeros((steps, len(baseline.offset)))
    found: ndarray = inputs @ baseline.driving.T
    return found


class _Errors:
    """Gaussian errors with this covariance, of which some channels are seen."""

    def __init__(self, covariance: ndarray) -> None:
        self._covariance = covariance
        self._patterns: dict[bytes, tuple[ndarray, ndarray, float]] = {}

    def energy(self, errors: Float[ndarray, "time channels"]) -> Float[ndarray, " time"]:
        """-log p, in nats, where all channels are seen."""
        whitener, _, constant = self._conditioned(np.ones(errors.shape[1], dtype=bool))
        energies: ndarray = constant + 0.5 * np.square(errors @ whitener.T).sum(1)
        return energies

    def heard(self, x: ndarray, mean: ndarray) -> tuple[ndarray, float]:
        """The observation with what is missing by its conditional mean, and -log p of what is there."""
        there = ~np.isnan(x)
        if not there.any():
            return mean, 0.0
        whitener, gain, constant = self._conditioned(there)
        whitened = whitener @ (x[there] - mean[there])
        filled = mean + gain @ whitened
        filled[there] = x[there]
        return filled, constant + 0.5 * float(whitened @ whitened)

    def _conditioned(self, there: Bool[ndarray, " channels"]) -> tuple[ndarray, ndarray, float]:
        """What whitens the errors that are seen, what all channels expect of these, and the constant of -log p."""
        key = there.tobytes()
        if key not in self._patterns:
            factor = np.linalg.cholesky(self._covariance[np.ix_(there, there)])
            whitener = np.linalg.inv(factor)
            constant = float(np.log(np.diag(factor)).sum() + 0.5 * len(factor) * np.log(2.0 * np.pi))
            self._patterns[key] = (whitener, self._covariance[:, there] @ whitener.T, constant)
        return self._patterns[key]


def path(baseline: Linear, past: ndarray) -> Iterator[ndarray]:
    """The means of what follows, each fed back."""
    past = past[len(past) - baseline.reach :]
    while True:
        mean = baseline.predict(past)
        yield mean
        past = np.concatenate([past, mean[None]])[1:] if baseline.reach else past


def _nats(baseline: Linear, sequences: Sequence[ndarray]) -> float:
    return sum(float(filtered(baseline, sequence)[0].sum()) for sequence in sequences)


def _independent(train: Sequence[ndarray]) -> Linear:
    rows = np.concatenate(train)
    none = np.zeros((rows.shape[1], 0))
    variance = np.maximum(np.nanvar(rows, axis=0), FLOOR)
    return Linear(
        name="independent", lags=(), weights=none, offset=np.nanmean(rows, axis=0), covariance=np.diag(variance)
    )


def _persistence(train: Sequence[ndarray], *, lag: int, name: str) -> Linear:
    channels = train[0].shape[1]
    apart = np.concatenate([sequence[lag:] - sequence[:-lag] for sequence in train if len(sequence) > lag])
    variance = np.maximum(np.nan_to_num(np.nanmean(np.square(apart), axis=0), nan=1.0), FLOOR)
    return Linear(
        name=name, lags=(lag,), weights=np.eye(channels), offset=np.zeros(channels), covariance=np.diag(variance)
    )


def lags(order: int, period: int = 0) -> tuple[int, ...]:
    """Those up to `order`, and where there is a period those from a period ago up to `order` later."""
    season = range(period, period + order + 1) if period else ()
    return (*range(1, order + 1), *season)


def vector_autoregression(
    train: Sequence[ndarray], lags: Sequence[int], inputs: Sequence[ndarray] | None = None, *, ridge: float = 0.0
) -> Linear:
    """By least squares. Gaps are filled by the last value, then, as in EM, by the fit's own conditional mean.

    There is at least one sequence of more steps than the longest lag; `inputs`, where there are some, are a row a step.
    A `ridge` is what the weights of lags cost, squared, beside the mean square error of a step (Hoerl & Kennard 1970).
    """
    given = [None] * len(train) if inputs is None else list(inputs)
    fitted = least_squares(train, [carried(sequence) for sequence in train], lags, inputs, ridge=ridge)
    if any(np.isnan(sequence).any() for sequence in train):
        for _ in range(REFILLS):
            pairs = zip(train, given, strict=True)
            complete = [filtered(fitted, sequence, u)[1][fitted.reach :] for sequence, u in pairs]
            fitted = least_squares(train, complete, lags, inputs, ridge=ridge)
    return fitted


def least_squares(
    train: Sequence[ndarray],
    complete: Sequence[ndarray],
    lags: Sequence[int],
    inputs: Sequence[ndarray] | None = None,
    *,
    ridge: float = 0.0,
) -> Linear:
    """A fit to filled sequences; the covariance of errors is that of steps at which all was observed, if any were."""
    channels, order = train[0].shape[1], max(lags)
    given = [np.zeros((len(s), 0)) for s in train] if inputs is None else inputs
    lagged = [
        np.concatenate([*(s[order - lag : len(s) - lag] for lag in lags), u[order:], np.ones((len(s) - order, 1))], 1)
        for s, u in zip(complete, given, strict=True)
        if len(s) > order
    ]
    design, target = np.concatenate(lagged), np.concatenate([s[order:] for s in complete if len(s) > order])
    penalty = np.full(design.shape[1], RIDGE)
    penalty[: channels * len(lags)] += ridge * len(design)
    solved = np.linalg.solve(design.T @ design + np.diag(penalty), design.T @ target).T
    whole = ~np.isnan(np.concatenate([s[order:] for s in train if len(s) > order])).any(1)
    errors = target - design @ solved.T
    errors = errors[whole] if whole.sum() > 10 * channels else errors
    covariance = errors.T @ errors / len(errors) + FLOOR * np.eye(channels)
    return Linear(
        name=f"VAR({order})",
        lags=tuple(lags),
        weights=solved[:, : channels * len(lags)],
        offset=solved[:, -1],
        covariance=covariance,
        driving=None if inputs is None else solved[:, channels * len(lags) : -1],
    )


def carried(sequence: Float[ndarray, "time channels"]) -> Float[ndarray, "time channels"]:
    """With the last value in place of one that is missing, and the mean before the first."""
    there = ~np.isnan(sequence)
    last = np.maximum.accumulate(np.where(there, np.arange(len(sequence))[:, None], -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(np.nan_to_num(sequence), np.maximum(last, 0), axis=0), 0.0)


def periods(train: Sequence[ndarray]) -> list[int]:
    """Periods, in steps, of which the changes of channels have most: those of the highest lines of their spectrum."""
    longest = max(train, key=len)
    changes = np.nan_to_num(np.diff(longest / (np.nanstd(longest, axis=0) + FLOOR), axis=0))
    power = np.square(np.abs(np.fft.rfft(changes, axis=0))).sum(1)
    power[:CYCLES] = 0.0
    found: list[int] = []
    for line in np.argsort(power)[::-1]:
        period = round(len(changes) / max(int(line), 1))
        if len(found) == PERIODS or not power[line] > 0.0:
            break
        if period > 1 and period not in found:
            found.append(period)
    return found
