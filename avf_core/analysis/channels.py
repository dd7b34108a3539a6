"""Which sensor is wrong: surprise channel by channel over a window of steps, and sensors that are stuck.

Of every channel three things are judged, each against what is normal for it: how high -log p of its numbers is, as a
filter predicts them, in the mean over the window and over the strangest quarter of its steps; and the longest run of
exactly the same number. What happens in one channel is lost in the sum over many, what a filter soon gets used to in
the mean over the window, and a sensor that is stuck is predicted the better the longer it is. The law: a p-value of a
window is that of its strangest part times how many parts were looked at, at most 1.
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
SHARES = (1.0, 0.25)  # of a window's steps, the strangest, whose means are judged


@dataclass(frozen=True, kw_only=True)
class Normal:
    """What is normal in windows of so many steps: the energy of each channel, and the longest run, by length.

    `energies[s][d]` is of the means over a share of the steps; `runs[d, r]` the part of windows in which channel d says
    the same number at least r times more; `fading[d]` the factor by which that falls with each step beyond the longest
    run that was seen.
    """

    window: int
    energies: tuple[tuple[ReferenceDistribution | None, ...], ...]
    runs: ndarray
    fading: ndarray

    @classmethod
    def of(
        cls, filter: Filter, train: Sequence[ndarray], valid: Sequence[ndarray], *, window: int = WINDOW
    ) -> "Normal":
        """Energies are those of `valid`, runs those of `train`. Raises DataError where no sequence has a window."""
        held = [energy for energy in channel_energies(filter, valid) if len(energy) >= window]
        longest = [_longest(runs_of(x), window) for x in map(numbers, train) if len(x) >= window]
        if not held or not longest:
            raise DataError(f"no sequence has {window} steps, which a window takes")
        lengths = np.concatenate(longest)
        means = [np.concatenate([_strangest(energy, window, share) for energy in held]) for share in SHARES]
        steps = np.concatenate([runs_of(numbers(x)) for x in train])
        counts = np.arange(window + 1)[:, None, None]
        return cls(
            window=window,
            energies=tuple(tuple(_reference(column) for column in rows.T) for rows in means),
            runs=(lengths >= counts).mean(1).T,
            fading=np.minimum((steps > 0).mean(0) + 1.0 / len(steps), 0.99),
        )

    def p_values(self, energies: ndarray, x: ndarray) -> ndarray:
        """Of the last window of a sequence, by channel, of its energies and of its longest run: (channels, 3)."""
        last = energies[-self.window :]
        longest = _longest(runs_of(numbers(x))[-self.window :], self.window)[0]
        found = np.ones((len(longest), len(SHARES) + 1))
        for s, (share, references) in enumerate(zip(SHARES, self.energies, strict=True)):
            for d, mean in enumerate(_strangest(last, self.window, share)[0]):
                reference = references[d]
                if reference is not None and not np.isnan(mean):
                    found[d, s] = float(reference.above(np.array([mean]))[0])
        found[:, -1] = [self._run(d, int(length)) for d, length in enumerate(longest)]
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


def _reference(means: ndarray) -> ReferenceDistribution | None:
    """What is normal of these; None where too few are known."""
    known = means[~np.isnan(means)]
    return ReferenceDistribution.fit(known) if len(known) >= 100 else None


def _strangest(energies: ndarray, window: int, share: float) -> ndarray:
    """The mean of the highest of every channel in all windows; NaN where nothing was observed."""
    views = np.lib.stride_tricks.sliding_window_view(energies, window, axis=0)
    falling = -np.sort(-views, axis=-1)  # what is missing comes last
    counts = np.maximum(np.ceil(share * (~np.isnan(falling)).sum(-1)).astype(int), 1)
    sums = np.take_along_axis(np.nancumsum(falling, axis=-1), counts[..., None] - 1, -1)[..., 0]
    found: ndarray = np.where(np.isnan(falling[..., 0]), np.nan, sums / counts)
    return found


def _longest(runs: ndarray, window: int) -> ndarray:
    """The longest run within every window, no longer than it."""
    views = np.lib.stride_tricks.sliding_window_view(runs, window, axis=0)
    found: ndarray = np.minimum(views.max(-1), window)
    return found
