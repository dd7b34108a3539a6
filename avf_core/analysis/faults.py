"""Faults put into sensors that were well, and how well they are told from these: by a filter, and by the innovation
test of a vector autoregression.

    jump    one channel is higher by one deviation from some step on      drift   it rises to two deviations, slowly
    burst   it has noise of one deviation on it                           swap    two channels are each other
    stuck   it says again and again what it said last

A window is judged by the filter channel by channel (`channels`), and by the innovation test as a whole, by the mean of
-log p, the higher the stranger. The law: both see the same windows, and the same past before them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from avf_core.analysis.baselines import Scale
from avf_core.analysis.channels import WINDOW, Normal, channel_energies
from avf_core.autoregression import Linear, filtered, fit
from avf_core.data import Driven, numbers
from avf_core.errors import DataError
from avf_core.filtering import Filter

KINDS = ("jump", "burst", "stuck", "drift", "swap")
PAST = 72  # steps before it, by which filters know where they are
EPISODES = 60  # faults of each kind


@dataclass(frozen=True, kw_only=True)
class Found:
    """Areas under the receiver's operating characteristic by kind: of the filter, and of the innovation test."""

    filter: dict[str, float]
    innovations: dict[str, float]


def found(
    filter: Filter,
    train: Sequence[ndarray],
    valid: Sequence[ndarray],
    test: Sequence[ndarray],
    *,
    window: int = WINDOW,
    past: int = PAST,
    episodes: int = EPISODES,
    seed: int = 0,
) -> Found:
    """How well faults in `test` are told from what is normal there. Raises DataError where it is too short."""
    scale = Scale.of([numbers(sequence).astype(np.float64) for sequence in train])
    generator = np.random.default_rng(seed)
    pieces = _pieces(test, past + window, episodes)
    normal = Normal.of(filter, train, valid, window=window)
    standard = [scale.standardize(split) for split in (train, valid)]
    baseline = fit(*standard)[-1] if train[0].shape[1] > 1 else fit(*standard)[2]
    clean = _both(filter, baseline, scale, pieces, normal, seed)
    areas: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for kind in KINDS:
        broken = [injected(piece, kind, start=past, scale=scale, generator=generator) for piece in pieces]
        for area, strange, usual in zip(
            areas, _both(filter, baseline, scale, broken, normal, seed), clean, strict=True
        ):
            area[kind] = auroc(strange, usual)
    return Found(filter=areas[0], innovations=areas[1])


def injected(sequence: ndarray, kind: str, *, start: int, scale: Scale, generator: np.random.Generator) -> ndarray:
    """The sequence with a fault from `start` to its end, in a channel drawn at random."""
    x, steps = scale.standardize([numbers(sequence).astype(np.float64)])[0], len(sequence) - start
    first, second = generator.permutation(x.shape[1])[[0, -1]]
    after = x[start:]
    if kind == "jump":
        after[:, first] += 1.0
    elif kind == "burst":
        after[:, first] += generator.normal(size=steps)
    elif kind == "stuck":
        known = x[:start, first][~np.isnan(x[:start, first])]
        after[:, first] = known[-1] if len(known) else 0.0
    elif kind == "drift":
        after[:, first] += np.linspace(0.0, 2.0, steps)
    else:
        after[:, [first, second]] = after[:, [second, first]]
    found: ndarray = (x * scale.deviation + scale.mean).astype(np.float32)
    return Driven(found, inputs=sequence.inputs, dt=sequence.dt) if isinstance(sequence, Driven) else found


def auroc(strange: ndarray, usual: ndarray) -> float:
    """How often a strange score is above a usual one; one half of those that are the same."""
    above = strange[:, None] > usual
    same = strange[:, None] == usual
    return float((above + 0.5 * same).mean())


def _pieces(test: Sequence[ndarray], length: int, episodes: int) -> list[ndarray]:
    """Stretches of this length, evenly over all of the data."""
    starts = [(i, t) for i, sequence in enumerate(test) for t in range(len(sequence) - length + 1)]
    if not starts:
        raise DataError(f"no sequence of the split has {length} steps, which a fault and its past take")
    chosen = [starts[n] for n in np.unique(np.linspace(0, len(starts) - 1, episodes).astype(int))]
    return [test[i][t : t + length] for i, t in chosen]


def _both(
    filter: Filter, baseline: Linear, scale: Scale, pieces: Sequence[ndarray], normal: Normal, seed: int
) -> tuple[ndarray, ndarray]:
    """What filter and innovation test say of the last window of each piece, the higher the stranger."""
    energies = channel_energies(filter, pieces, seed=seed)
    strange = [-np.log(normal.p_value(energy, piece)) for energy, piece in zip(energies, pieces, strict=True)]
    whole = [filtered(baseline, scale.standardize([numbers(piece).astype(np.float64)])[0])[0] for piece in pieces]
    return np.array(strange), np.array([energy[-normal.window :].mean() for energy in whole])
