"""A verdict on a filter of real numbers: beside textbook predictors, on the same split, in the same units.

Nats per step, errors of forecasts from the same steps, and how much of what comes lies within what was predicted. The
law: what a filter loses is said as plainly as what it wins, each with its paired test over stretches of time, and how
it forecasts is chosen on validation data, as the baselines are, never on what it is judged by. The free energy of a
filter is an upper bound on its nats, so that none is said to be better than it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from avf_core.analysis import student
from avf_core.analysis.baselines import (
    HORIZONS,
    STARTS,
    Comparison,
    Scale,
    Score,
    compare,
    each_mean,
    origins,
    root_mean,
)
from avf_core.analysis.batching import Batch, batches
from avf_core.analysis.evaluation import Evaluation, by_steps
from avf_core.analysis.forecasting import Feedback, forecast
from avf_core.analysis.predictive import predictive
from avf_core.analysis.stepwise import Difference, difference
from avf_core.beliefs import Belief
from avf_core.drives import Drive
from avf_core.filtering import Filter
from avf_core.trees import concatenate, take, tree_map

PATHS = 100  # that the mean of a forecast is taken over
LEVEL = 0.01  # part of a baseline's error within which a forecast is level with it

FEW = 50  # places from which forecasts are made to choose how
PARTICLES = 16  # of a belief that has gaps in its past, of which one sample fills each


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How the mean of a forecast is made: what paths hear of their own observations, and from how many particles.

    Paths that hear means have no noise where a mean follows from means, as it does in an autoregression.
    """

    feedback: Feedback = "sample"
    particles: int = 1

    def __str__(self) -> str:
        beliefs = "" if self.particles == 1 else f", of {self.particles} particles"
        return f"{self.feedback}s fed back{beliefs}"


Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a baseline is better in, in words, and the paired test of that, which is of filter less baseline."""

    text: str
    test: Difference

    def __str__(self) -> str:
        return f"{self.text} ({self.test.said})"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A filter, whose figures are in `evaluation`, beside the baselines of `comparison`; the `coverage` of its bands by
    level.

    `energies` are its nats of every step, and `squares`, by horizon, the mean squared errors of its forecasts, both in
    the order of the baselines'. Its forecasts were made in the `manner` that is best on validation data. Tests are of
    this filter and these steps: another training, or another year, is another draw.
    """

    evaluation: Evaluation
    energies: ndarray
    squares: dict[int, ndarray]
    errors: dict[int, float]
    coverage: dict[float, float]
    comparison: Comparison
    manner: Manner = Manner()

    @property
    def nats(self) -> float:
        """Nats per step, an upper bound on them, over all steps, as the baselines' are."""
        return self.evaluation.free_energy_pooled * self.evaluation.steps / self.comparison.steps

    @property
    def best(self) -> str:
        """The name of the baseline that is best in nats."""
        return self.comparison.scores[0].name

    @property
    def gain(self) -> float:
        """Nats per step by which the filter is better than that; negative where it loses."""
        return self.comparison.scores[0].nats - self.nats

    @cached_property
    def test(self) -> Difference:
        """Of the nats of its steps, less those of the best baseline."""
        return difference(self.energies, self.comparison.scores[0].energies)

    def rival(self, horizon: int) -> Score:
        """The baseline that forecasts best so far ahead."""
        return min(self.comparison.scores, key=lambda score: _or_infinite(score.errors[horizon]))

    @cached_property
    def tests(self) -> dict[int, Difference]:
        """By horizon, of the squared errors of its forecasts, less those of the baseline that is best there."""
        return {h: difference(squares, self.rival(h).squares[h]) for h, squares in self.squares.items()}

    @property
    def lost(self) -> list[Loss]:
        """In what the filter is worse than some baseline, whether that is proven or not; empty where in nothing."""
        said = []
        if self.gain < 0.0:
            text = f"{self.best} is better by {_beside(-self.gain, self.test)} nats per step"
            said.append(Loss(text=text, test=self.test))
        for horizon, error in self.errors.items():
            rival = self.rival(horizon)
            if error > (1.0 + LEVEL) * rival.errors[horizon]:
                text = (
                    f"{rival.name} forecasts {_steps(horizon)} ahead better: its error is {rival.errors[horizon]:.3f}, "
                    f"the filter's {error:.3f} deviations"
                )
                said.append(Loss(text=text, test=self.tests[horizon]))
        return said

    @property
    def sentence(self) -> str:
        """The verdict in words: what is ahead, what beats it, and what may be chance."""
        lost = self.lost
        beaten = "; ".join(str(loss) for loss in lost if loss.test.proven)
        chance = "; ".join(str(loss) for loss in lost if not loss.test.proven)
        behind = [f"beaten by a baseline: {beaten}"] * bool(beaten)
        behind += [f"behind by figures that may be chance: {chance}"] * bool(chance)
        said = "; and ".join(behind)
        if self.gain < 0.0:
            return said
        ahead = f"{_beside(self.gain, self.test)} nats per step ahead of {self.best} ({self.test.said})"
        if said:
            return f"{ahead}, but {said}"
        return f"better than every baseline: {ahead}" if self.test.proven else ahead

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        return {
            "nats": self.nats,
            "errors": {str(horizon): error for horizon, error in self.errors.items()},
            "forecasts": {"feedback": self.manner.feedback, "particles": self.manner.particles},
            "coverage": {str(level): part for level, part in self.coverage.items()},
            "baselines": self.comparison.as_dict(),
            "test": self.test.as_dict(),
            "tests": {str(horizon): test.as_dict() for horizon, test in self.tests.items()},
            "lost": [str(loss) for loss in self.lost],
            "verdict": self.sentence,
        }


def judge(
    filter: Filter,
    train: Sequence[ndarray],
    valid: Sequence[ndarray],
    test: Sequence[ndarray],
    *,
    horizons: Sequence[int] = HORIZONS,
    starts: int = STARTS,
    paths: int = PATHS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verdict:
    """The filter on `test` beside baselines that are fitted on `train` and chosen by `valid`.

    Horizons beyond every sequence of `test` are left out. Raises DataError where there is nothing to fit or to score.
    """
    longest = max(len(sequence) for sequence in test)
    within = [horizon for horizon in horizons if horizon < longest] or [1]
    comparison = compare(train, valid, test, horizons=within, starts=starts)
    found = by_steps(filter, test, seed=seed, progress=progress)
    covered = predictive(filter, test, seed=seed)
    manner = chosen_manner(
        filter, valid, horizons=within, starts=starts, scale=comparison.scale, paths=paths, seed=seed
    )
    asked: dict[str, Any] = {"horizons": within, "scale": comparison.scale, "paths": paths, "seed": seed}
    squares = forecast_squares(filter, test, comparison.starts, manner=manner, **asked)
    return Verdict(
        evaluation=found.figures,
        energies=np.concatenate(found.energies),
        squares=each_mean(squares),
        errors=root_mean(squares),
        coverage=dict(zip(covered.levels, covered.coverage or (), strict=False)),
        comparison=comparison,
        manner=manner,
    )


def chosen_manner(
    filter: Filter,
    valid: Sequence[ndarray],
    *,
    horizons: Sequence[int],
    starts: int,
    scale: Scale,
    paths: int = PATHS,
    seed: int = 0,
) -> Manner:
    """The manner of forecasting that errs least on these sequences, over all horizons; the first one where none can.

    Where they have gaps, all are from beliefs of particles, whose mean is nearer whatever few places say.
    """
    gaps = any(bool(np.isnan(np.asarray(sequence)).any()) for sequence in valid)
    found = [Manner(feedback=feedback, particles=PARTICLES if gaps else 1) for feedback in ("sample", "mean")]
    within = [horizon for horizon in horizons if horizon < max(map(len, valid))]
    places = origins(list(valid), lead=1, horizon=max(within), starts=min(starts, FEW)) if within else []
    if not places:
        return found[0]

    standing = _standing(filter, valid, places, particles=found[0].particles, seed=seed)

    def error(manner: Manner) -> float:
        asked: dict[str, Any] = {"horizons": within, "scale": scale, "paths": paths, "feedback": manner.feedback}
        squares = _squares_from(filter, valid, standing, **asked)
        mean = float(np.mean(np.square(list(root_mean(squares).values()))))
        return mean if np.isfinite(mean) else float("inf")

    return min(found, key=error)


def forecast_squares(
    filter: Filter,
    sequences: Sequence[ndarray],
    starts: Sequence[tuple[int, int]],
    *,
    horizons: Sequence[int],
    scale: Scale,
    paths: int = PATHS,
    seed: int = 0,
    manner: Manner | None = None,
) -> dict[int, list[ndarray]]:
    """By horizon, for each start the squared errors of the channels: of the mean of `paths` sample paths, in `scale`.

    `starts`: from which sequence, and after how many observations. A model that takes inputs is told those that came.
    """
    manner = manner or Manner()
    standing = _standing(filter, sequences, starts, particles=manner.particles, seed=seed)
    found = _squares_from(
        filter, sequences, standing, horizons=horizons, scale=scale, paths=paths, feedback=manner.feedback
    )
    made = [(s.batch.rows[row], t) for s in standing for row, t in s.places]
    order = [made.index(start) for start in starts]
    return {horizon: [squares[n] for n in order] for horizon, squares in found.items()}


class _Standing(NamedTuple):
    """Beliefs from which forecasts are made: those of a batch, and which of its rows and steps they are of."""

    batch: Batch
    places: list[tuple[int, int]]
    belief: Belief


def _standing(
    filter: Filter, sequences: Sequence[ndarray], starts: Sequence[tuple[int, int]], *, particles: int, seed: int
) -> list[_Standing]:
    """The beliefs of these sequences after so many steps each."""
    found = []
    for batch in batches(filter, sequences, size=128):
        wanted = {(row, t) for row, t in starts if row in batch.rows}
        if wanted:
            found.append(_Standing(batch, *_beliefs(filter, batch, wanted, seed, particles)))
    return found


@torch.no_grad()
def _squares_from(
    filter: Filter,
    sequences: Sequence[ndarray],
    standing: Sequence[_Standing],
    *,
    horizons: Sequence[int],
    scale: Scale,
    paths: int,
    feedback: Feedback,
) -> dict[int, list[ndarray]]:
    """By horizon, for each belief the squared errors of the channels."""
    squares: dict[int, list[ndarray]] = {horizon: [] for horizon in horizons}
    longest = max(horizons)
    for batch, places, belief in standing:
        moved = _ahead(batch, places, longest)
        ahead: dict[str, Any] = {"horizon": longest, "inputs": moved.inputs, "dt": moved.dt}
        mean = forecast(filter, belief, paths=paths, feedback=feedback, **ahead).mean.numpy()
        for n, (row, t) in enumerate(places):
            for horizon in horizons:
                came = np.asarray(sequences[batch.rows[row]])[t + horizon - 1]
                squares[horizon].append(((came - mean[horizon - 1, n]) / scale.deviation) ** 2)
    return squares


@torch.no_grad()
def _beliefs(
    filter: Filter, batch: Batch, wanted: set[tuple[int, int]], seed: int, particles: int
) -> tuple[list[tuple[int, int]], Belief]:
    """The beliefs of a batch after so many steps, as one, and of which of its rows and steps they are."""
    belief = filter.initial(seed + batch.seeds, particles=particles)
    places: list[tuple[int, int]] = []
    held: list[Belief] = []
    for t in range(1 + max(t for _, t in wanted)):
        active = batch.active(t)
        chosen = [n for n in range(active) if (batch.rows[n], t) in wanted]
        if chosen:
            places += [(n, t) for n in chosen]
            held.append(take(belief, torch.tensor(chosen)))
        x, observed, _ = batch.at(t)
        now = batch.drive_at(t)
        belief, _ = filter.step(take(belief, slice(0, active)), x, observed=observed, inputs=now.inputs, dt=now.dt)
    return places, concatenate(held)


def _ahead(batch: Batch, places: Sequence[tuple[int, int]], horizon: int) -> Drive:
    """What moves the sequences in the steps after these places."""

    def following(tensor: Tensor) -> Tensor:
        return torch.stack([tensor[t : t + horizon, n] for n, t in places], dim=1)

    found: Drive = tree_map(following, batch.drive)
    return found


def _beside(value: float, test: Difference) -> str:
    """A difference with its error, where that is known."""
    return f"{value:.3f}" if test.standard_error is None else student.told(value, test.standard_error)


def _or_infinite(error: float) -> float:
    return float("inf") if np.isnan(error) else error


def _steps(horizon: int) -> str:
    return "1 step" if horizon == 1 else f"{horizon} steps"
