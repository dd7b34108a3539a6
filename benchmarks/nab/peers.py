"""Detectors of other libraries and textbooks, one row after the other: each sees what ours sees, and adapts as it goes.

    python -m benchmarks.nab.peers FOLDER FILE SECONDS    the corpus, where to write scores, and how long it may take

Numbers are put on the scale of the probation, as ours are. The law: a detector is as its library makes it, with its
defaults; what cannot be imported is left out, and said.
"""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.nab.corpus import Stream, read

WINDOW, EVERY = 6400, 100  # rows of the windowed Gaussian, and after how many it is fitted again
Detector = Callable[[Stream], NDArray[np.float64]]


def windowed_gaussian(stream: Stream) -> NDArray[np.float64]:
    """How far into the tails of a Gaussian of the last 6,400 rows a value is: the benchmark's own simplest detector."""
    window: deque[float] = deque()  # of differences to the first value, so that sums of squares keep their digits
    fresh: list[float] = []
    scores, sums = np.zeros(len(stream.values)), np.zeros(2)
    mean, deviation = 0.0, 1.0
    for t, value in enumerate((stream.values - stream.values[0]).tolist()):
        if window:
            scores[t] = 1.0 - math.erfc(abs(value - mean) / max(deviation, 1e-6) / math.sqrt(2.0))
        fresh.append(value)
        if len(window) == WINDOW and len(fresh) < EVERY:
            continue
        for each in fresh:
            gone = window.popleft() if len(window) == WINDOW else 0.0
            window.append(each)
            sums += (each - gone, each**2 - gone**2)
        fresh = []
        mean = float(sums[0]) / len(window)
        deviation = math.sqrt(max(float(sums[1]) / len(window) - mean**2, 0.0)) or 1e-6
    return scores


def scaled(stream: Stream) -> NDArray[np.float64]:
    """The values in units of the probation's deviations about its mean."""
    known = stream.values[: stream.probation]
    found: NDArray[np.float64] = (stream.values - known.mean()) / (known.std() or 1.0)
    return found


def _of_river(make: Callable[[Any], Any], *, unit: bool = False) -> Callable[[Any], Detector]:
    """A detector of river: scored, then learned. `unit` puts values within [0, 1], where it asks for that."""

    def of(river: Any) -> Detector:
        def scores(stream: Stream) -> NDArray[np.float64]:
            model, found = make(river), np.zeros(len(stream.values))
            for t, value in enumerate(scaled(stream).tolist()):
                x = {"value": 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, value)))) if unit else value}
                found[t] = model.score_one(x)
                model.learn_one(x)
            return found

        return scores

    return of


def _gaussian_scorer(river: Any) -> Detector:
    def scores(stream: Stream) -> NDArray[np.float64]:
        model, found = river.anomaly.GaussianScorer(), np.zeros(len(stream.values))
        for t, value in enumerate(scaled(stream).tolist()):
            found[t] = model.score_one(None, value)
            model.learn_one(None, value)
        return found

    return scores


def _of_pysad(make: Callable[[Any, Stream], Any], *, begin: bool = False) -> Callable[[Any], Detector]:
    """A detector of pysad; `begin` where it is fitted on the probation before it goes on row by row."""

    def of(models: Any) -> Detector:
        def scores(stream: Stream) -> NDArray[np.float64]:
            values, found = scaled(stream)[:, None], np.zeros(len(stream.values))
            np.random.seed(0)
            model = make(models, stream)
            known = stream.probation if begin else 0
            if known:
                model = model.fit(values[:known])
            for t in range(known, len(values)):
                found[t] = np.ravel(model.fit_score_partial(values[t]))[0]
            return np.nan_to_num(found, posinf=1e6)

        return scores

    return of


RIVER = {
    "river HalfSpaceTrees": _of_river(lambda river: river.anomaly.HalfSpaceTrees(seed=0), unit=True),
    "river GaussianScorer": _gaussian_scorer,
    "river OneClassSVM": _of_river(lambda river: river.anomaly.OneClassSVM()),
}
PYSAD = {
    "pysad StandardAbsoluteDeviation": _of_pysad(lambda models, stream: models.StandardAbsoluteDeviation()),
    "pysad RelativeEntropy": _of_pysad(
        lambda models, stream: models.RelativeEntropy(min_val=_low(stream), max_val=_high(stream))
    ),
    "pysad KNNCAD": _of_pysad(lambda models, stream: models.KNNCAD(probationary_period=stream.probation)),
}


def _low(stream: Stream) -> float:
    """What the probation leads one to expect of the least value, with as much again beyond it."""
    known = scaled(stream)[: stream.probation]
    return float(known.min() - 0.5 * (known.max() - known.min()) - 1e-6)


def _high(stream: Stream) -> float:
    known = scaled(stream)[: stream.probation]
    return float(known.max() + 0.5 * (known.max() - known.min()) + 1e-6)


def available() -> tuple[dict[str, Detector], dict[str, str]]:
    """The detectors by name, and why others are not there."""
    found: dict[str, Detector] = {"windowed Gaussian": windowed_gaussian}
    absent: dict[str, str] = {}
    try:
        import river.anomaly

        found |= {name: of(river) for name, of in RIVER.items()}
    except ImportError as error:
        absent |= dict.fromkeys(RIVER, str(error))
    try:
        import pysad.models

        found |= {name: of(pysad.models) for name, of in PYSAD.items()}
    except ImportError as error:
        absent |= dict.fromkeys(PYSAD, str(error))
    return found, absent


def run(streams: list[Stream], *, until: float = math.inf) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Scores by detector and stream, and why there are none; one that is not done in time has none."""
    detectors, absent = available()
    found: dict[str, Any] = {}
    for name, detector in detectors.items():
        scores: dict[str, NDArray[np.float64]] = {}
        try:
            for stream in streams:
                if time.monotonic() > until:
                    raise TimeoutError(f"it came to {len(scores)} of {len(streams)} streams in time")
                scores[stream.name] = detector(stream)
        except Exception as error:  # of other libraries, which raise what they please
            absent[name] = f"{type(error).__name__}: {error}"
            continue
        found[name] = scores
        print(f"{name}: done", file=sys.stderr, flush=True)
    return found, absent


def main() -> None:
    """Every detector on every stream; scores into a file, and what is absent to standard output."""
    folder, target, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    found, absent = run(read(folder), until=time.monotonic() + seconds)
    np.savez(target, **{f"{name}|{stream}": s for name, scores in found.items() for stream, s in scores.items()})
    for name, why in absent.items():
        print(f"{name}\t{why}")


if __name__ == "__main__":
    main()
