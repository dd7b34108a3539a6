"""References that depend on the circumstances of a step: the hour, the level that is expected, or the regime.

A load that is normal at noon is strange at night, and a sensor may be noisier where it reads high. So there is a
`ReferenceDistribution` for each circumstance that had enough steps, and one of all steps for the others.

    hour     of the step's time, 24 of weekdays and 24 of weekends (UTC); of data that have times
    level    which fifth of the expected observations, averaged over their numbers, the prediction's mean is in
    regime   the one that is the most probable before the observation, of a switching model

The law: a circumstance is known before the observation, so that p-values stay uniform where nothing is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from avf_core.analysis.evaluation import Progress
from avf_core.analysis.novelty import hour_class
from avf_core.analysis.surprise import FEWEST, ReferenceDistribution
from avf_core.analysis.walking import walk
from avf_core.data import Driven
from avf_core.errors import ConfigurationError, DataError
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.models import switching

By = Literal["hour", "level", "regime"]
PARTS = (0.2, 0.4, 0.6, 0.8)  # of the expected levels, at whose quantiles they are told apart


@dataclass(frozen=True, kw_only=True)
class ConditionalReference:
    """What is normal by circumstance, `parts`, and where that had too few steps, `whole`.

    `edges` are the levels, in the observation's units, between one circumstance and the next: of `level` only.
    """

    by: By
    whole: ReferenceDistribution
    parts: Mapping[int, ReferenceDistribution]
    edges: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls, by: By, scores: Float64[np.ndarray, " steps"], measured: Float64[np.ndarray, " steps"]
    ) -> "ConditionalReference":
        """Of scores in nats, each with what was `measured` of its circumstance (`measure`); NaN is left out.

        Raises DataError for fewer than 100 scores.
        """
        known = ~np.isnan(scores) & ~np.isnan(measured)
        edges = tuple(np.quantile(measured[known], PARTS).tolist()) if by == "level" and known.any() else ()
        places = _places(by, measured, edges)
        counts = {int(place): int((known & (places == place)).sum()) for place in np.unique(places[known])}
        parts = {
            place: ReferenceDistribution.fit(scores[known & (places == place)])
            for place, count in counts.items()
            if count >= FEWEST
        }
        return cls(by=by, whole=ReferenceDistribution.fit(scores), parts=parts, edges=edges)

    def p_values(
        self, scores: Float64[np.ndarray, " rows"], measured: Float64[np.ndarray, " rows"]
    ) -> Float64[np.ndarray, " rows"]:
        """How far out each score is among those of its circumstance, as a p-value; among all, where that is NaN."""
        places = np.where(np.isnan(measured), -1, _places(self.by, measured, self.edges))
        found = self.whole.p_values(scores)
        for place in np.unique(places).tolist():
            if place in self.parts:
                found = np.where(places == place, self.parts[place].p_values(scores), found)
        return found

    def as_dict(self) -> dict[str, Any]:
        """For a model card: the reference of all steps, and `by`, `edges` and `parts` beside it."""
        parts = {str(place): part.as_dict() for place, part in self.parts.items()}
        return {**self.whole.as_dict(), "by": self.by, "edges": list(self.edges), "parts": parts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ConditionalReference":
        """Read what `as_dict` gave. Raises DataError where that is none."""
        try:
            by, edges = data["by"], tuple(float(edge) for edge in data["edges"])
            parts = {int(place): ReferenceDistribution.from_dict(part) for place, part in dict(data["parts"]).items()}
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no conditional reference: {error!r}") from error
        if by not in get_args(By) or any(np.diff(edges) < 0.0):
            raise DataError(f"this is no conditional reference: it is by {by!r}, or its edges fall")
        return cls(by=by, whole=ReferenceDistribution.from_dict(data), parts=parts, edges=edges)


def measure(
    by: By, *, prior: NDArray[np.floating], level: NDArray[np.floating], time: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What tells the circumstance of each row: by the prior's and the prediction's means, or times since 1970."""
    found: NDArray[np.float64]
    if by == "regime":
        found = prior.argmax(axis=-1).astype(np.float64)
    elif by == "level":
        found = level.astype(np.float64).mean(axis=-1)
    else:
        found = np.where(np.isnan(time), np.nan, hour_class(time))
    return found


def check(by: By, filter: Filter, sequences: Sequence[np.ndarray]) -> None:
    """Raise ConfigurationError or DataError where nothing could be told apart."""
    if by == "regime" and not isinstance(filter.model, switching.Model):
        raise ConfigurationError("the model has no regimes: say --by hour or level, or use a switching model")
    if by == "hour" and not all(isinstance(s, Driven) and s.times is not None for s in sequences):
        raise DataError("the data says nothing of time: name its column, say --data-option time=COLUMN")


def measured_scores(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    by: By,
    *,
    iterations: int | None = None,
    seed: int = 0,
    max_rows: int = 1024,
    progress: Progress | None = None,
) -> tuple[Float64[np.ndarray, " steps"], Float64[np.ndarray, " steps"]]:
    """The free energy of every step, as surprise is judged by it, and what tells its circumstance; NaN: not known."""
    check(by, filter, sequences)
    found = [(np.full(len(s), np.nan), np.full(len(s), np.nan)) for s in sequences]
    scored, told = [scores for scores, _ in found], [measured for _, measured in found]
    steps = walk(filter, sequences, iterations=iterations, seed=seed, max_rows=max_rows, progress=progress)
    for step in steps:
        times = np.array([_time(sequences[row], step.t) for row in step.rows])
        step.put(scored, step.estimate.score, step.judged)
        step.put(told, _measure(by, step.estimate, times), step.judged)
    scores, measured = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return scores, measured


def _measure(by: By, estimate: Estimate, times: np.ndarray) -> np.ndarray:
    level: Tensor = estimate.prediction.mean if by == "level" else estimate.prior.mean
    prior = estimate.prior.mean.double().cpu().numpy()
    return measure(by, prior=prior, level=level.double().cpu().numpy(), time=times)


def _time(sequence: np.ndarray, t: int) -> float:
    """When a step was, in seconds since 1970; NaN where that is not said."""
    times = sequence.times if isinstance(sequence, Driven) else None
    return float("nan") if times is None else float(times[t])


def _places(by: By, measured: Float64[np.ndarray, " steps"], edges: tuple[float, ...]) -> Int64[np.ndarray, " steps"]:
    """The circumstance of each step, by its number."""
    found: np.ndarray = np.nan_to_num(measured, nan=-1.0).astype(np.int64)
    if by == "level":
        found = np.searchsorted(np.array(edges), np.nan_to_num(measured), side="right").astype(np.int64)
    return found
