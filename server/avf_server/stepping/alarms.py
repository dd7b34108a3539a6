"""The detectors of sessions that asked for one: each hears the evidence of its session's steps, one after the other.

The law: what a detector knows is kept with the belief, so that it goes on wherever its session does; a step of which
nothing was observed is not heard.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from avf_wire.binary_arrays import ALARM_NUMBERS
from numpy.typing import NDArray

from avf_core.analysis.changes import ChangeDetector


@lru_cache(64)
def _detector(every: float) -> ChangeDetector:
    return ChangeDetector(run_length=every)


def heard(
    every: float, kept: Sequence[bytes | None], scores: NDArray[np.float64]
) -> tuple[list[bytes], NDArray[np.float64]]:
    """What the detectors of these rows know after a step's `scores` (B,), NaN for none, and what they say of it (B, 5).

    `kept` is what they knew; None, or what is none of theirs, is nothing.
    """
    detector = _detector(every)
    state = detector.initial(len(kept))
    for row, known in enumerate(kept):
        if known is not None and len(known) == state[row].nbytes:
            state[row] = np.frombuffer(known, dtype="<f4")
    after, verdict = detector.step(state, scores)
    said = np.full((len(kept), ALARM_NUMBERS), np.nan)
    told = ~np.isnan(verdict.p)
    columns = (verdict.alarm, verdict.p, verdict.high, verdict.statistic, verdict.threshold)
    said[told] = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)[told]
    said[~np.isfinite(said)] = np.nan
    return [row.astype("<f4").tobytes() for row in after], said
