"""The detectors of sessions that asked for one: each hears its session's steps, one after the other.

The law: what a detector knows is kept with the belief, so that it goes on wherever its session does; a step of which
nothing was observed is not heard, nor, by what it cost, one while the model's memory is not of the session alone.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from avf_wire.binary_arrays import ALARM_NUMBERS, SCALARS, Numbers, deviation_name, mean_name
from numpy.typing import NDArray

from avf_core.analysis.changes import ChangeDetector, Verdict
from avf_core.analysis.novelty import Heard, NoveltyDetector
from avf_server.models.setups import Setup
from avf_server.stepping.rows import Row

Detector = ChangeDetector | NoveltyDetector


def heard(
    setup: Setup,
    rows: Sequence[Row],
    detectors: Sequence[bytes | None],
    arrays: Mapping[int, Numbers],
    *,
    known: NDArray[np.bool_],
) -> tuple[list[bytes], NDArray[np.float64]]:
    """What the detectors of these rows know after a step, of which `arrays` tell, and what they say of it (B, 5).

    `detectors` are what they knew before it, None at first. `known` says of which rows there is something to hear. What
    a row kept that is none of its detector's is nothing.
    """
    detector = _detector(setup, len(rows[0].x))
    state = detector.initial(len(rows))
    for row, kept in zip(state, detectors, strict=True):
        if kept is not None and len(kept) == row.nbytes:
            row[:] = np.frombuffer(kept, dtype=row.dtype.newbyteorder("<"))
    after, verdict = _step(detector, state, rows, arrays, known)
    said = np.full((len(rows), ALARM_NUMBERS), np.nan)
    told = ~np.isnan(verdict.p)
    columns = (verdict.alarm, verdict.p, verdict.high, verdict.statistic, verdict.threshold)
    said[told] = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)[told]
    said[~np.isfinite(said)] = np.nan
    return [row.astype(row.dtype.newbyteorder("<")).tobytes() for row in after], said


@lru_cache(64)
def _detector(setup: Setup, channels: int) -> Detector:
    if setup.alarm_by == "change":
        return ChangeDetector(run_length=setup.alarm_every)
    return NoveltyDetector(channels=channels, run_length=setup.alarm_every, daily=setup.alarm_by == "daily")


def _step(
    detector: Detector,
    state: NDArray[np.floating],
    rows: Sequence[Row],
    arrays: Mapping[int, Numbers],
    known: NDArray[np.bool_],
) -> tuple[NDArray[np.floating], Verdict]:
    """Tell a detector what it listens for: the evidence, or observations beside their predictions."""
    if isinstance(detector, ChangeDetector):
        scores = np.where(known, arrays[SCALARS["evidence_bound"]][:, 0], np.nan)
        return detector.step(state, scores)
    x = np.where(known[:, None], np.stack([row.x for row in rows]), np.nan).astype(np.float64)
    mean, deviation = (arrays[name("prediction")].astype(np.float64) for name in (mean_name, deviation_name))
    times = np.array([np.nan if row.moment is None else row.moment.time for row in rows])
    return detector.step(state, Heard(x=x, mean=mean, deviation=deviation, time=times))
