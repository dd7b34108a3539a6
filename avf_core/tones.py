"""A tone that goes on, however it glides, followed through sound that is louder at times.

Each frequency of a spectrum has the best path of a tone that leads there (Viterbi 1967), with how loud the tone is and
how fast it moves on this path (per-survivor processing: Raheli, Polydoros & Tzou 1995). With y the log power there and
s that of what is beside it, a step is evidence for a tone of log power a by a likelihood ratio:

    log N(y; log(e^a + e^s), d^2) - log p(y - s)      d between TIGHT and LOOSE, by the tone's share of the power

So power that a steady tone would have speaks for it, less than that against it, and far more for neither: the tone may
be covered. p is a normal distribution of deviation LOOSE. s is the largest, over distances, of the smaller power at
this distance on either side: a voice's harmonics stand on both sides of each, and a tone stands alone. What is told is
the log-odds of the best path, less FADED times what its last step said against it: a tone may be over.

The law: what is kept and told of a row is a pure function of what was kept of it and of its spectrum, in double
precision, and then rounded to single.
"""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view

from avf_core.native import elements

NEAR, FAR = 6, 28  # bins: what is beside a tone, on either side
MOST = 4  # bins that a tone moves in a step
RAISED = 0.5  # nats, of what is beside
TIGHT, LOOSE = 0.2, 2.5  # deviations of log power, of a tone that is alone, and where it is covered or is none
LEAST, MOST_EVIDENCE = -4.0, 3.0  # nats that a step may say
BIRTH = -6.0  # log-odds of a tone that begins
PLAIN = 1.5  # nats above what is beside that make its beginning no less likely than that
HAZARD = 1.2  # nats that a path pays for each step: so much the best of many finds in noise
CAP = 20.0  # of log-odds: what is over is over soon
STEADY, NEW = 1.4, 3.0  # bins by which a tone's speed changes in a step, and by which that of a new one is unknown
SPEED, LEVEL = 0.6, 0.25  # how fast a path learns its speed and its level
JUMP = 1.5  # nats of its level that it learns from at most
FADED = 2.0  # times what is told of a path is less by what its last step said against it
NUMBERS = 4  # of a path: log-odds above BIRTH, log power, speed, and how well it is known

Rows = Float64[ndarray, "rows _numbers"]


def cells(bins: int) -> int:
    """Of a spectrum of so many bins, those that have enough beside them."""
    return max(0, bins - 2 * FAR)


def width(bins: int) -> int:
    """Numbers that are kept of a row; zeros are no tone."""
    return NUMBERS * cells(bins)


def follow(kept: Rows, spectra: Rows) -> tuple[Rows, Float64[ndarray, " rows"]]:
    """What is kept after one more spectrum of each row, in log power, and the log-odds of a tone."""
    count = cells(spectra.shape[1])
    if not count:
        return kept, np.full(len(kept), BIRTH)
    found = elements.tones(kept, spectra, count)
    return found if found is not None else by_numpy(kept, spectra)


def by_numpy(kept: Rows, spectra: Rows) -> tuple[Rows, Float64[ndarray, " rows"]]:
    """The same, where there is no executor."""
    odds, power, speed, known = np.split(kept, NUMBERS, axis=1)
    y, s = spectra[:, FAR : spectra.shape[1] - FAR], beside(spectra) + RAISED
    above = y - s
    came_power, came_speed, came_known = _came(power, 0.0), _came(speed, 0.0), _came(known, 0.0)
    tone = np.exp(came_power)
    whole = tone + np.exp(s)[..., None]
    spread = LOOSE + tone / whole * (TIGHT - LOOSE)
    without = -0.5 * (above / LOOSE) ** 2 - np.log(LOOSE)
    evidence = -0.5 * ((y[..., None] - np.log(whole)) / spread) ** 2 - np.log(spread) - without[..., None]
    evidence = np.clip(evidence, LEAST, MOST_EVIDENCE)
    moved = np.arange(MOST, -MOST - 1, -1.0)
    strain = 0.5 * (moved - came_speed) ** 2 / (STEADY**2 + (NEW * (1.0 - came_known)) ** 2)
    paths = np.minimum(_came(odds + BIRTH, -np.inf), CAP) - HAZARD - strain + evidence
    best = paths.argmax(axis=-1)[..., None]
    path, was, moving, sure, said = (
        np.take_along_axis(of, best, axis=-1)[..., 0] for of in (paths, came_power, came_speed, came_known, evidence)
    )
    share = np.exp(was) / (np.exp(was) + np.exp(s))
    unsure = 1.0 - sure
    level = was + np.maximum(LEVEL, 0.5 * unsure) * share * np.clip(y - was, -JUMP, JUMP)
    faster = moving + (unsure + sure * SPEED) * (moved[best[..., 0]] - moving)
    first = BIRTH + np.clip(above - PLAIN, -MOST_EVIDENCE, MOST_EVIDENCE)
    new = first > path
    odds = np.where(new, first, path)
    told = np.where(new, first, path + FADED * np.minimum(said, 0.0)).max(axis=1)
    after = [odds - BIRTH, np.where(new, y, level), np.where(new, 0.0, faster), np.where(new, 0.0, 1.0 - 0.5 * unsure)]
    return np.concatenate(after, axis=1).astype(np.float32).astype(np.float64), np.maximum(told, BIRTH)


def beside(spectra: Rows) -> Rows:
    """The largest, over distances, of the smaller of both sides."""
    count = cells(spectra.shape[1])
    pairs = [
        np.minimum(spectra[:, FAR - d : FAR - d + count], spectra[:, FAR + d : FAR + d + count])
        for d in range(NEAR, FAR + 1)
    ]
    found: Rows = np.max(pairs, axis=0)
    return found


def _came(values: Rows, outside: float) -> Float64[ndarray, "rows cells sources"]:
    """Of the bins from which a tone may have come."""
    return sliding_window_view(np.pad(values, ((0, 0), (MOST, MOST)), constant_values=outside), 2 * MOST + 1, axis=1)
