"""Which sensor is wrong: surprise channel by channel over a window of steps, and sensors that are stuck.

Of every channel two things are judged, each against what is normal for it: the mean over the window of -log p of its
numbers, as a filter predicts them, on either side; and the longest run of exactly the same number. What happens in one
channel is lost in the sum over many, and a sensor that is stuck is predicted the better the longer it is. The law: a
p-value of a window is that of its strangest part times how many parts were looked at, at most 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray

from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.analysis.walking import walk
from avf_core.data import numbers
from avf_core.errors import DataError
from avf_core.filtering import Filter

WINDOW = 24


@dataclass(frozen=True, kw_only=True)
class Normal:
    """What is normal in windows of so many steps: the mean energy of each channel, and the longest run, by length.

    `runs[d, r]` is the part of windows in which channel d says the same number at least r times more; `fading[d]` the
    factor by which that falls with each step beyond the longest run that was seen.
    """

    window: int
    energies: tuple[ReferenceDistribution | None, ...]
    runs: ndarray
    fading: ndarray

    @classmethod
    def of(
        cls, filter: Filter, train: Sequence[ndarray], valid: Sequence[ndarray], *, window: int = WINDOW
    ) -> "Normal":
        """Energies are those of `valid`, runs those of `train`. Raises DataError where no sequence has a window."""
        means = [_windows(energy, window) for energy in channel_energies(filter, valid) if len(energy) >= window]
        longest = [_longest(runs_of(x), window) for x in map(numbers, train) if len(x) >= window]
        if not means or not longest:
            raise DataError(f"no sequence has {window} steps, which a window takes")
        rows, lengths = np.concatenate(means), np.concatenate(longest)
        known = [column[~np.isnan(column)] for column in rows.T]
        steps = np.concatenate([runs_of(numbers(x)) for x in train])
        counts = np.arange(window + 1)[:, None, None]
        return cls(
            window=window,
            energies=tuple(ReferenceDistribution.fit(each) if len(each) >= 100 else None for each in known),
            runs=(lengths >= counts).mean(1).T,
            fading=np.minimum((steps > 0).mean(0) + 1.0 / len(steps), 0.99),
        )

    def p_values(self, energies: ndarray, x: ndarray) -> ndarray:
        """Of the last window of a sequence, by channel, of its energies and of its longest run: (channels, 2)."""
        means = _windows(energies[-self.window :], self.window)[0]
        found = np.ones((len(means), 2))
        for d, (mean, reference) in enumerate(zip(means, self.energies, strict=True)):
            if reference is not None and not np.isnan(mean):
                found[d, 0] = float(reference.p_values(np.array([mean]))[0])
            found[d, 1] = self._run(d, int(_longest(runs_of(numbers(x))[-self.window :], self.window)[0, d]))
        return found

    def p_value(self, energies: ndarray, x: ndarray) -> float:
        """Of the whole window: the smallest of these, for as many as they are."""
        found = self.p_values(energies, x)
        return float(min(1.0, found.min() * found.size))

    def _run(self, channel: int, length: int) -> float:
        seen = np.flatnonzero(self.runs[channel] > 0.0)[-1]
        reached = min(length, seen)
        return float(self.runs[channel, reached] * self.fading[channel] ** (length - reached))


@torch.no_grad()
def channel_energies(filter: Filter, sequences: Sequence[ndarray], *, seed: int = 0) -> list[ndarray]:
    """-log p of every number given its past, in nats, (time, channels) a sequence; NaN where none was observed."""
    found = [np.full(np.shape(sequence), np.nan) for sequence in sequences]
    for step in walk(filter, sequences, seed=seed, max_rows=128):
        energy = -step.estimate.likelihood.log_prob(step.x).double().cpu().numpy()
        told = np.where(step.known.cpu().numpy(), energy, np.nan)
        for n, row in enumerate(step.rows):
            found[row][step.t] = told[n]
    return found


def runs_of(x: ndarray) -> ndarray:
    """How often each number was said before, without another between; what is missing ends no run."""
    last, run = x[0].astype(np.float64), np.zeros(x.shape[1])
    found = np.zeros(x.shape)
    for t, row in enumerate(x[1:], 1):
        known = ~np.isnan(row)
        run = np.where(known, np.where(row == last, run + 1.0, 0.0), run)
        last = np.where(known, row, last)
        found[t] = run
    return found


def _windows(energies: ndarray, window: int) -> ndarray:
    """The mean of every channel in all windows; NaN where nothing was observed."""
    known = ~np.isnan(energies)
    sums = np.cumsum(np.concatenate([np.zeros((1, energies.shape[1])), np.where(known, energies, 0.0)]), 0)
    counts = np.cumsum(np.concatenate([np.zeros((1, energies.shape[1])), known]), 0)
    total, count = sums[window:] - sums[:-window], counts[window:] - counts[:-window]
    found: ndarray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found


def _longest(runs: ndarray, window: int) -> ndarray:
    """The longest run within every window, no longer than it."""
    views = np.lib.stride_tricks.sliding_window_view(runs, window, axis=0)
    found: ndarray = np.minimum(views.max(-1), window)
    return found
