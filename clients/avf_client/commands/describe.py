"""Observations in words: the notes of a piano roll, or the values of a vector.

The law: one describer a kind of observation, chosen in one place (`describer`); views and plots ask it and know
nothing of kinds.
"""

from typing import Protocol

import numpy as np
from avf_sources import MIDI_LOW, Recording
from numpy.typing import NDArray

from avf_client.results.estimates import Estimate

Array = NDArray[np.float64]
Part = tuple[str, bool]
"""A piece of text, and whether it agrees with what was observed."""

_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


class Describer(Protocol):
    """How to tell people of one kind of observation."""

    time_title: str
    observed_title: str
    expected_title: str

    def time(self, index: int) -> str:
        """When the observation of this index, from 0, is."""
        ...

    def observed(self, x: Array) -> str:
        """What was observed; x has shape (D,)."""
        ...

    def expected(self, x: Array, estimate: Estimate) -> list[Part]:
        """What was predicted before it was observed."""
        ...


def describer(recording: Recording) -> Describer:
    """The describer of a recording's observations."""
    if recording.piano_roll:
        return Notes(recording.frame)
    names = [channel.name for channel in recording.channels]
    return Values(recording.frames.shape[1], names=names or None)


def note_name(midi: int) -> str:
    """The name of a MIDI note: 60 is C4."""
    return f"{_NAMES[midi % 12]}{midi // 12 - 1}"


class Notes:
    """Piano rolls: which notes sound, and which were expected."""

    observed_title = "heard"
    expected_title = "expected"

    def __init__(self, frame: float | None, *, most: int = 5) -> None:
        self.time_title = "frame" if frame is None else "frame  beat"
        self._frame = frame
        self._most = most

    def time(self, index: int) -> str:
        """The number of the frame, from 1, and the quarter note at which it begins, from 1."""
        return f"{index + 1}" if self._frame is None else f"{index + 1:>5} {1 + index * self._frame:>5g}"

    def observed(self, x: Array) -> str:
        """The notes that sound."""
        if np.isnan(x).all():
            return "(missing)"
        names = [note_name(MIDI_LOW + key) for key in np.flatnonzero(x > 0.5).tolist()]
        return " ".join(names) or "(rest)"

    def expected(self, x: Array, estimate: Estimate) -> list[Part]:
        """The likeliest notes with their probabilities, the likeliest first."""
        likeliest = np.argsort(-estimate.prediction, kind="stable")[: self._most]
        return [
            (f"{note_name(MIDI_LOW + key)} {100 * estimate.prediction[key]:.0f}%", bool(x[key] > 0.5))
            for key in likeliest.tolist()
        ]


class Values:
    """Any vector: its largest values, and what was expected there."""

    time_title = "step"

    def __init__(self, size: int, *, names: list[str] | None = None, most: int = 3) -> None:
        self._names = names or [f"x{d}" for d in range(size)]
        self.observed_title = "observed" if size <= most else f"largest of {size} values"
        self.expected_title = "expected there"
        self._most = min(most, size)

    def time(self, index: int) -> str:
        """The number of the step, from 1."""
        return f"{index + 1}"

    def observed(self, x: Array) -> str:
        """The values of largest magnitude, by dimension, and how many are missing."""
        missing = int(np.isnan(x).sum())
        if missing == x.size:
            return "(missing)"
        shown = " ".join(f"{self._names[d]} {x[d]:.3g}" for d in self._largest(x))
        return f"{shown} ({missing} missing)" if missing else shown

    def expected(self, x: Array, estimate: Estimate) -> list[Part]:
        """What was expected where the largest values are; it agrees within two standard deviations."""
        deviation = estimate.prediction_deviation
        parts = []
        for d in self._largest(x):
            spread = np.inf if deviation is None else deviation[d]
            text = f"{estimate.prediction[d]:.3g}" + ("" if deviation is None else f"±{spread:.2g}")
            parts.append((text, bool(abs(x[d] - estimate.prediction[d]) <= 2 * spread)))
        return parts

    def _largest(self, x: Array) -> list[int]:
        magnitude = np.where(np.isnan(x), -np.inf, np.abs(x))
        order = np.sort(np.argsort(-magnitude, kind="stable")[: self._most])
        return [int(d) for d in order if np.isfinite(magnitude[d])]
