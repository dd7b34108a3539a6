"""What ears notice of a piece of sound, in numbers: how loud it is, and at which frequencies. Pure."""

import numpy as np
from numpy.typing import NDArray

QUIET = -60.0
"""Decibels below full scale, from which on sound counts as silence."""


def level(samples: NDArray[np.int16]) -> float:
    """The loudness of samples (T,) in dB of full scale, from QUIET to 0; a full sine wave is at -3."""
    if not samples.size:
        return QUIET
    power = float(np.mean((samples / 32768.0) ** 2))
    return max(QUIET, 10.0 * float(np.log10(max(power, 1e-12))))


def bands(samples: NDArray[np.int16], *, rate: int, count: int) -> NDArray[np.float64]:
    """(count,) dB of full scale in bands of equal ratio, from 100 Hz to half the rate, the lowest first."""
    size = len(samples)
    if not size:
        return np.full(count, QUIET)
    windowed = samples / 32768.0 * np.hanning(size)
    power = np.abs(np.fft.rfft(windowed)) ** 2 * 8.0 / max(1.0, 3.0 * size * size / 2.0)
    edges = np.geomspace(min(100.0, rate / 4), rate / 2, count + 1)
    where = np.searchsorted(edges, np.fft.rfftfreq(size, 1.0 / rate), side="right") - 1
    inside = (where >= 0) & (where < count)
    totals = np.bincount(where[inside], weights=power[inside], minlength=count)
    return np.maximum(QUIET, 10.0 * np.log10(np.maximum(totals, 1e-12)))
