"""The score of the Numenta Anomaly Benchmark (Lavin & Ahmad 2015), written from its rules.

A detector gives each row a score. A row at or beyond a threshold is a detection: within an anomaly's window the best
one earns up to A_tp, the more the earlier; a window without any costs A_fn; each one outside costs A_fp, less where it
comes soon after a window. With s(y) = 2 / (1 + exp(5 y)) - 1, and s = -1 beyond y = 3:

    row i of a window of w rows that ends at r     A_tp s(-(r - i + 1) / w) / 0.98661
    row i after it, before the next window         A_fp s((i - r) / (w - 1))
    row i before any window                        -A_fp

The law: one threshold serves all streams, the one of the highest total; rows of probation count for nothing. A total is
put on a scale where saying nothing is 0, and finding each window at once, and nothing else, is 100.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.nab.corpus import Stream

PERFECT = 0.98661  # s of the first row of a wide window, by its rules
Scores = Mapping[str, NDArray[np.float64]]
"""The scores of the rows of streams, by name."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a detection is worth, what a false one and a window that is missed cost."""

    found: float = 1.0
    false: float = 0.11
    missed: float = 1.0


PROFILES = {"standard": Profile(), "low_fp": Profile(false=0.22), "low_fn": Profile(missed=2.0)}


@dataclass(frozen=True, kw_only=True)
class Result:
    """A score, 100 for the perfect detector, and the threshold that gives it."""

    score: float
    threshold: float


def sigmoid(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """s(y)."""
    found: NDArray[np.float64] = np.where(y > 3.0, -1.0, 2.0 / (1.0 + np.exp(np.clip(5.0 * y, -500.0, 500.0))) - 1.0)
    return found


def worth(stream: Stream) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a detection at each row is worth, before its profile's weight; and the window of each row, -1 outside."""
    rows = np.arange(len(stream.values))
    value, window = np.full(len(rows), -1.0), np.full(len(rows), -1)
    for which, (first, last) in enumerate(stream.windows):
        width = last - first + 1
        after = rows > last
        value[after] = sigmoid((rows[after] - last) / max(width - 1, 1))
        inside = slice(first, last + 1)
        value[inside] = sigmoid(-(last - rows[inside] + 1) / width) / PERFECT
        window[inside] = which
    return value, window


def totals(
    streams: Sequence[Stream], scores: Scores, profile: Profile
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All thresholds, falling, and the score at each."""
    kept = [_counted(stream, scores[stream.name]) for stream in streams]
    begins = np.cumsum([0, *(len(stream.windows) for stream in streams)])
    score, value, window = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    window = np.concatenate([np.where(w >= 0, w + b, -1) for (_, _, w), b in zip(kept, begins[:-1], strict=True)])
    order = np.argsort(-score, kind="stable")
    score, value, window = score[order], value[order], window[order]
    gain = np.where(window < 0, profile.false * value, 0.0)
    best: dict[int, float] = {}
    for at in np.nonzero(window >= 0)[0].tolist():
        which, earned = int(window[at]), profile.found * float(value[at])
        before = best.get(which, -profile.missed)
        if which not in best or earned > before:
            gain[at] = earned - before
            best[which] = earned
    windows = int(begins[-1])
    nothing, perfect = -profile.missed * windows, profile.found * windows
    last = np.append(np.diff(score) != 0.0, True)  # of the rows of one score
    total = nothing + np.cumsum(gain)[last]
    return score[last], 100.0 * (total - nothing) / (perfect - nothing)


def events(scores: NDArray[np.float64], *, hold: int) -> NDArray[np.float64]:
    """Scores that are above all of the `hold` before them, 0 elsewhere: what goes on is no new event."""
    before = np.concatenate([np.full(hold, -np.inf), scores])
    most = np.lib.stride_tricks.sliding_window_view(before, hold)[: len(scores)].max(axis=1)
    return np.where(scores > most, scores, min(0.0, float(scores.min())))


def evaluate(streams: Sequence[Stream], scores: Scores, profile: Profile) -> Result:
    """The score at the best threshold; 0, beyond all scores, where saying nothing is best."""
    thresholds, found = totals(streams, scores, profile)
    best = int(found.argmax())
    if found[best] <= 0.0:
        return Result(score=0.0, threshold=float("inf"))
    return Result(score=float(found[best]), threshold=float(thresholds[best]))


def at(streams: Sequence[Stream], scores: Scores, profile: Profile, *, threshold: float) -> float:
    """The score at a threshold that was chosen elsewhere."""
    thresholds, found = totals(streams, scores, profile)
    reached = int((thresholds >= threshold).sum())
    return float(found[reached - 1]) if reached else 0.0


def _counted(
    stream: Stream, scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Scores, worth and windows of the rows after the probation."""
    if scores.shape != stream.values.shape or not np.isfinite(scores).all():
        raise ValueError(f"{stream.name} has {len(stream.values)} rows, expected as many finite scores")
    value, window = worth(stream)
    return scores[stream.probation :], value[stream.probation :], window[stream.probation :]
