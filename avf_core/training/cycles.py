"""Which cycles of the calendar sensors follow: decided on validation data, for `avf fit`.

The law: a cycle is an input where the linear autoregression that a model of sensors begins as forecasts better by it,
and says no fewer nats: of validation data, at some step ahead by more than noise may say (`rivals.behind`), and of the
ends of the training data, after a fit to what comes before them. What the training data have not seen a few times over
is not asked: a year's curve, say, of a table of one year.
"""

import dataclasses

import numpy as np
from numpy import ndarray

from avf_core import calendar
from avf_core.analysis.rivals import behind
from avf_core.data import Driven, Sequences
from avf_core.lags import NEARLY, Judged, Part, Trial, choose, within_an_error
from avf_core.training.sizes import standardised

CHOICES = (("hour", "halfday"), ("weekday",), ("yearday",))
SEEN = {"hour": 4.0, "weekday": 4.0, "yearday": 2.0}  # times that the training data go through a cycle, at least
STEPS = 7.0  # of the shortest cycle of a choice, at least


def cycles(train: Sequences, valid: Sequences) -> tuple[str, ...]:
    """Those cycles, in the calendar's order; none where times are no dates, or not known."""
    possible = [names for names in CHOICES if _seen(train, names)]
    if not possible or not _dated(valid):
        return ()
    given, held_out = standardised(train, valid)
    assert held_out is not None
    heard, chosen = choose(given, held_out), tuple[str, ...]()

    def judged(names: tuple[str, ...]) -> list[Judged]:
        part, rest = _with(given, train, names), _with(held_out, valid, names)
        return [Trial.of(part, split).judged(heard) for split in (rest, None)]

    best = judged(())
    for names in possible:
        found = judged((*chosen, *names))
        if all(map(_better, found, best)) and _beyond_noise(found[0], best[0]):
            best, chosen = found, (*chosen, *names)
    return chosen


def _better(judged: Judged, best: Judged) -> bool:
    """Whether it forecasts better than the best so far, and says no fewer nats."""
    return judged.error < best.error - NEARLY and within_an_error(judged.energies - best.energies)


def _beyond_noise(judged: Judged, best: Judged) -> bool:
    """Whether it forecasts better than the best so far, by some number of steps ahead, in stretch after stretch."""
    return any(behind(list(squares), list(judged.squares[ahead])) > 0.0 for ahead, squares in best.squares.items())


def _with(part: Part, sequences: Sequences, cycles: tuple[str, ...]) -> Part:
    """With these cycles as inputs, beside those that there are."""
    if not cycles:
        return part
    waves = [calendar.inputs_at(_times(sequence), calendar.names(cycles)) for sequence in sequences]
    inputs = waves if part.inputs is None else [np.concatenate(u, 1) for u in zip(part.inputs, waves, strict=True)]
    return dataclasses.replace(part, inputs=inputs)


def _seen(train: Sequences, cycles: tuple[str, ...]) -> bool:
    """Whether the training data go through these often enough, in steps that are short enough."""
    if not _dated(train):
        return False
    times = [_times(sequence) for sequence in train]
    steps = np.concatenate([np.diff(each) for each in times])
    whole = max(each[-1] for each in times) - min(each[0] for each in times)
    longest, shortest = (f(calendar.LENGTHS[name] for name in cycles) for f in (max, min))
    return bool(len(steps) and whole >= SEEN[cycles[0]] * longest and STEPS * np.median(steps) <= shortest)


def _dated(sequences: Sequences) -> bool:
    return all(
        isinstance(sequence, Driven) and sequence.times is not None and calendar.are_dates(sequence.times)
        for sequence in sequences
        if len(sequence)
    )


def _times(sequence: ndarray) -> ndarray:
    assert isinstance(sequence, Driven)
    assert sequence.times is not None
    return sequence.times
