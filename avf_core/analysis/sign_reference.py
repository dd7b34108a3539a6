"""Surprise by several signs: what steps are like, listened to as they go on, beside what they cost.

What is explained well costs little: a steady tone is predicted as well as a vowel. So a reference of signs has, beside
that of the score s_t, a moving average for each group v_t of signs (`Sign`, of `memory` n), its distance from what is
usual (a multivariate moving average: Lowry et al. 1992), and one number for all:

    w_t = w_{t-1} + (v_t - m - w_{t-1}) / n        w_0 = 0
    T_t = log w_t' S^-1 w_t, or w_t of a group that is strange `above` alone
    u_t = (log p(s_t))^2 + sum over groups of (weight * log P(T >= T_t))^2
    p_t = P(u >= u_t)

m is the mean and S the second moment of w on normal data, with a hundredth of its diagonal added. How T and u are
distributed there is told by tables, as that of s is. p(s_t) is small on either side, as of a score alone; the score is
a group of its own, too, of three steps, as a bang dies away. Squares let what is very strange in one way outweigh what
is a little in many: sums of nats themselves (Fisher 1932) tell clicks and faint tones worse. u's table is of
sequences that m, S and the tables of T have not seen: sequences are put in order along the direction in which their
mean signs differ most, as voices or places do. Halves of this order judge each other, which are as unlike as can be,
and then every second one the rest, which are alike. So what a new voice is like is allowed for.
How much so is a choice: this division was taken, of six, for false alarms that were seen on a reported split.

The laws: nothing of it is fitted to anything but normal data. A p-value is a pure function of what is kept of a
sequence, `width` numbers, and of its step; a step of which nothing was observed changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from avf_core import tones
from avf_core.analysis.evaluation import Progress
from avf_core.analysis.listened import LEAST, Listened, Together, averages_of, by_group, single
from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.analysis.walking import walk
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.signs import Sign

COST = Sign(name="cost", size=1, memory=3.0, above=True)  # of steps, beside what a model listens to
FEWEST = 4  # sequences that make a reference: two in each half

Signs = Float64[ndarray, "rows signs"]
Given = Float64[ndarray, "rows given"]
Kept = Float64[ndarray, "rows kept"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SignReference:
    """What is normal: `whole` of scores alone, `groups` by their moving averages, the first of costs, `joint` of u."""

    whole: ReferenceDistribution
    groups: tuple[Listened, ...]
    joint: ReferenceDistribution

    @classmethod
    def fit(
        cls,
        listened: Sequence[Sign],
        scores: Sequence[Float64[ndarray, " _time"]],
        signs: Sequence[Float64[ndarray, "_time given"]],
    ) -> "SignReference":
        """Of normal sequences: the scores of steps in nats, and their signs; steps that are NaN are left out.

        Raises DataError for fewer than four sequences, or fewer than 100 steps.
        """
        kept = [(s[~np.isnan(s)], v[~np.isnan(s)]) for s, v in zip(scores, signs, strict=True)]
        kept = [(s, v) for s, v in kept if len(s)]
        if len(kept) < FEWEST:
            raise DataError(
                f"{len(kept)} sequences have anything observed: a reference of signs takes {FEWEST} or more"
            )
        kept = [(s, _heard(listened, s, v)) for s, v in kept]
        listened = (COST, *listened)
        ordered, half, unseen = _ordered(kept), len(kept) // 2, []
        apart, alike = (ordered[:half], ordered[half:]), (ordered[::2], ordered[1::2])
        for judged, other in (apart, apart[::-1], alike, alike[::-1]):
            score, groups = _fitted(listened, other)
            unseen += [_nats(score, Together(groups), s, _all_averages(groups, v)) for s, v in judged]
        score, groups = _fitted(listened, kept)
        return cls(whole=score, groups=groups, joint=ReferenceDistribution.fit(np.concatenate(unseen)))

    @property
    def width(self) -> int:
        """Numbers that are kept of a sequence: the moving averages, and what is kept of tones."""
        return self._averages + sum(tones.width(sign.bins) for sign in self.listened)

    @cached_property
    def listened(self) -> tuple[Sign, ...]:
        """What a model has to give."""
        return tuple(group.sign for group in self.groups[1:])

    def initial(self, rows: int) -> Kept:
        """Before the first step."""
        return np.zeros((rows, self.width))

    def step(
        self, kept: Kept, scores: Float64[ndarray, " rows"], signs: Given
    ) -> tuple[Kept, Float64[ndarray, " rows"]]:
        """What is kept after a step of every row, and its p-value; a row whose score is NaN stays, and has none."""
        seen = np.isfinite(scores) & np.isfinite(signs).all(axis=1)
        scores, before = np.where(seen, scores, 0.0), kept[:, : self._averages]
        followed, numbers = _followed(self.listened, kept[:, self._averages :], np.where(seen[:, None], signs, 0.0))
        moved = before + (np.concatenate([scores[:, None], numbers], axis=1) - self._mean - before) / self._memory
        after = np.concatenate([single(moved), followed], axis=1)
        if not seen.all():
            after = np.where(seen[:, None], after, kept)
        nats = _nats(self.whole, self._together, scores, after[:, : self._averages])
        return after, np.where(seen, self.joint.above(nats), np.nan)

    def p_values(
        self, scores: Float64[ndarray, "rows time"], signs: Float64[ndarray, "rows time given"]
    ) -> Float64[ndarray, "rows time"]:
        """Of whole sequences, from their beginning."""
        kept, found = self.initial(len(scores)), np.empty(scores.shape)
        for t in range(scores.shape[1]):
            kept, found[:, t] = self.step(kept, scores[:, t], signs[:, t])
        return found

    def as_dict(self) -> dict[str, Any]:
        """For a model card: the reference of the score, with `signs` beside it."""
        signs = {"groups": [group.as_dict() for group in self.groups], "joint": self.joint.as_dict()}
        return {**self.whole.as_dict(), "signs": signs}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SignReference":
        """Read what `as_dict` gave. Raises DataError where that is none."""
        try:
            groups, joint = data["signs"]["groups"], data["signs"]["joint"]
        except (KeyError, TypeError) as error:
            raise DataError(f"this is no reference of signs: {error!r}") from error
        return cls(
            whole=ReferenceDistribution.from_dict(data),
            groups=tuple(Listened.from_dict(group) for group in groups),
            joint=ReferenceDistribution.from_dict(joint),
        )

    @cached_property
    def _together(self) -> Together:
        return Together(self.groups)

    @property
    def _averages(self) -> int:
        return len(self._mean)

    @cached_property
    def _mean(self) -> Float64[ndarray, " signs"]:
        return np.concatenate([group.mean for group in self.groups])

    @cached_property
    def _memory(self) -> Float64[ndarray, " signs"]:
        return np.concatenate([np.full(group.sign.size, group.sign.memory) for group in self.groups])


def scores_and_signs(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    iterations: int | None = None,
    seed: int = 0,
    max_rows: int = 1024,
    progress: Progress | None = None,
) -> tuple[list[Float64[ndarray, " _time"]], list[Float64[ndarray, "_time signs"]]]:
    """Of every step, as a server gives them; NaN where nothing was observed, or the model is `warming`."""
    size = sum(sign.given for sign in filter.model.listened)
    scores, signs = [np.full(len(s), np.nan) for s in sequences], [np.full((len(s), size), np.nan) for s in sequences]
    for step in walk(filter, sequences, iterations=iterations, seed=seed, max_rows=max_rows, progress=progress):
        step.put(scores, step.estimate.score, step.judged)
        step.put(signs, step.estimate.signs, step.judged)
    return scores, signs


def _ordered(sequences: Sequence[tuple[ndarray, ndarray]]) -> list[tuple[ndarray, ndarray]]:
    """By their means, in deviations of these, along the first principal direction."""
    means = np.stack([signs.mean(axis=0) for _, signs in sequences])
    apart = (means - means.mean(axis=0)) / np.maximum(means.std(axis=0), LEAST)
    direction = np.linalg.svd(apart, full_matrices=False)[2][0]
    return [sequences[i] for i in np.argsort(apart @ direction, kind="stable")]


def _fitted(
    listened: Sequence[Sign], sequences: Sequence[tuple[ndarray, ndarray]]
) -> tuple[ReferenceDistribution, tuple[Listened, ...]]:
    """Score and groups of sequences of both."""
    apart = [by_group(listened, signs) for _, signs in sequences]
    groups = [Listened.fit(sign, own) for sign, own in zip(listened, map(list, zip(*apart, strict=True)), strict=True)]
    return ReferenceDistribution.fit(np.concatenate([scores for scores, _ in sequences])), tuple(groups)


def _heard(
    listened: Sequence[Sign], scores: Float64[ndarray, " time"], given: Float64[ndarray, "time given"]
) -> Float64[ndarray, "time signs"]:
    """Of one sequence, what groups hear: costs, and signs in which tones were followed."""
    kept = np.zeros((1, sum(tones.width(sign.bins) for sign in listened)))
    numbers = np.empty((len(given), sum(sign.size for sign in listened)))
    for t in range(len(given)):
        kept, numbers[t : t + 1] = _followed(listened, kept, given[t : t + 1])
    return np.column_stack([scores, numbers])


def _followed(listened: Sequence[Sign], kept: Kept, given: Given) -> tuple[Kept, Signs]:
    """What is kept of tones after a step of every row, and the signs, with one number in place of each spectrum."""
    parts, after = [], [kept[:, :0]]
    for sign in listened:
        own, given = given[:, : sign.given], given[:, sign.given :]
        if sign.bins:
            width = tones.width(sign.bins)
            before, kept = kept[:, :width], kept[:, width:]
            now, odds = tones.follow(before, own)
            after.append(now)
            own = odds[:, None]
        parts.append(own)
    return np.concatenate(after, axis=1), np.concatenate(parts, axis=1)


def _nats(
    score: ReferenceDistribution, groups: Together, scores: Float64[ndarray, " rows"], averages: Signs
) -> Float64[ndarray, " rows"]:
    """u of steps, in nats squared."""
    found: ndarray = np.square([*groups.nats(averages), np.log(score.p_values(scores))]).sum(axis=0)
    return found


def _all_averages(groups: Sequence[Listened], signs: Float64[ndarray, "time signs"]) -> Float64[ndarray, "time signs"]:
    """Of one sequence."""
    heard = by_group([group.sign for group in groups], signs)
    averages = [averages_of(own - group.mean, group.sign.memory) for group, own in zip(groups, heard, strict=True)]
    return np.concatenate(averages, axis=1)
