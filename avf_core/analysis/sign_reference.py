"""Surprise by several signs: what steps are like, listened to as they go on, beside what they cost.

What is explained well costs little: a steady tone is predicted as well as a vowel. So a reference of signs has, beside
that of the score s_t, a moving average for each group v_t of signs (`Sign`, of `memory` n), its distance from what is
usual (a multivariate moving average: Lowry et al. 1992), and one number for all (Fisher 1932):

    w_t = w_{t-1} + (v_t - m - w_{t-1}) / n        w_0 = 0
    T_t = log w_t' S^-1 w_t
    u_t = -log p(s_t) - sum over groups of log P(T >= T_t)
    p_t = P(u >= u_t)

m is the mean and S the second moment of w on normal data, with a hundredth of its diagonal added. How T and u are
distributed there is told by tables, as that of s is. p(s_t) is small on either side, as of a score alone. u's table is
of sequences that m, S and the tables of T have not seen: sequences are put in order along the direction in which their
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

from avf_core.analysis.evaluation import Progress
from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.analysis.walking import walk
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.signs import Sign

RIDGE = 0.01  # of the diagonal of a second moment, that is added to it
FEWEST = 4  # sequences that make a reference: two in each half
LEAST = 1e-9  # a squared distance
DIGITS = 6  # of a card's numbers

Signs = Float64[ndarray, "rows signs"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Listened:
    """One group: its mean on normal data, a root L of S^-1 = L L', and how T is distributed."""

    sign: Sign
    mean: Float64[ndarray, " size"]
    root: Float64[ndarray, "size size"]
    distances: ReferenceDistribution

    @classmethod
    def fit(cls, sign: Sign, sequences: Sequence[Float64[ndarray, "_time _size"]]) -> "Listened":
        """Of the signs of steps on normal data, a sequence an array."""
        mean = np.concatenate(sequences).mean(axis=0)
        averages = [_averages(each - mean, sign.memory) for each in sequences]
        heard = np.concatenate(averages)
        moment = heard.T @ heard / len(heard)
        moment += np.diag(RIDGE * moment.diagonal() + LEAST)
        root = np.linalg.cholesky(np.linalg.inv(moment))
        return cls(sign=sign, mean=mean, root=root, distances=ReferenceDistribution.fit(_distance(heard, root)))

    def nats(self, averages: Float64[ndarray, "rows size"]) -> Float64[ndarray, " rows"]:
        """-log P(T >= T_t) of moving averages."""
        found: ndarray = -np.log(self.distances.above(_distance(averages, self.root)))
        return found

    def as_dict(self) -> dict[str, Any]:
        """For a model card."""
        numbers = {"mean": _rounded(self.mean), "root": [_rounded(row) for row in self.root]}
        sign = {"name": self.sign.name, "size": self.sign.size, "memory": self.sign.memory}
        return {**sign, **numbers, "distances": self.distances.as_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Listened":
        """Read what `as_dict` gave. Raises DataError where it is none."""
        try:
            sign = Sign(name=str(data["name"]), size=int(data["size"]), memory=float(data["memory"]))
            mean, root = (np.array(data[name], dtype=np.float64) for name in ("mean", "root"))
            distances = ReferenceDistribution.from_dict(data["distances"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no reference of signs: {error!r}") from error
        if mean.shape != (sign.size,) or root.shape != (sign.size, sign.size) or not sign.memory >= 1.0:
            raise DataError(f"this is no reference of signs: {sign.name} has a mean of {mean.shape}, {root.shape}")
        return cls(sign=sign, mean=mean, root=root, distances=distances)


@dataclass(frozen=True, kw_only=True, eq=False)
class SignReference:
    """What is normal: `whole` of scores alone, `groups` of signs by their moving averages, and `joint` of u."""

    whole: ReferenceDistribution
    groups: tuple[Listened, ...]
    joint: ReferenceDistribution

    @classmethod
    def fit(
        cls,
        listened: Sequence[Sign],
        scores: Sequence[Float64[ndarray, " _time"]],
        signs: Sequence[Float64[ndarray, "_time signs"]],
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
        ordered, half, unseen = _ordered(kept), len(kept) // 2, []
        apart, alike = (ordered[:half], ordered[half:]), (ordered[::2], ordered[1::2])
        for judged, other in (apart, apart[::-1], alike, alike[::-1]):
            score, groups = _fitted(listened, other)
            unseen += [_nats(score, groups, s, _all_averages(groups, v)) for s, v in judged]
        score, groups = _fitted(listened, kept)
        return cls(whole=score, groups=groups, joint=ReferenceDistribution.fit(np.concatenate(unseen)))

    @property
    def width(self) -> int:
        """Numbers that are kept of a sequence: the moving averages."""
        return sum(group.sign.size for group in self.groups)

    def initial(self, rows: int) -> Signs:
        """Before the first step."""
        return np.zeros((rows, self.width))

    def step(
        self, kept: Signs, scores: Float64[ndarray, " rows"], signs: Signs
    ) -> tuple[Signs, Float64[ndarray, " rows"]]:
        """What is kept after a step of every row, and its p-value; a row whose score is NaN stays, and has none."""
        seen = np.isfinite(scores) & np.isfinite(signs).all(axis=1)
        moved = kept + (signs - self._mean - kept) / self._memory
        after = np.where(seen[:, None], moved, kept)
        nats = _nats(self.whole, self.groups, np.where(seen, scores, 0.0), after)
        return after, np.where(seen, self.joint.above(nats), np.nan)

    def p_values(
        self, scores: Float64[ndarray, "rows time"], signs: Float64[ndarray, "rows time signs"]
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
    size = sum(sign.size for sign in filter.model.listened)
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
    apart = [_by_group(listened, signs) for _, signs in sequences]
    groups = [Listened.fit(sign, own) for sign, own in zip(listened, map(list, zip(*apart, strict=True)), strict=True)]
    return ReferenceDistribution.fit(np.concatenate([scores for scores, _ in sequences])), tuple(groups)


def _nats(
    score: ReferenceDistribution, groups: Sequence[Listened], scores: Float64[ndarray, " rows"], averages: Signs
) -> Float64[ndarray, " rows"]:
    """u of steps."""
    heard = _by_group([group.sign for group in groups], averages)
    parts = [group.nats(own) for group, own in zip(groups, heard, strict=True)]
    found: ndarray = np.sum(parts, axis=0) - np.log(score.p_values(scores))
    return found


def _all_averages(groups: Sequence[Listened], signs: Float64[ndarray, "time signs"]) -> Float64[ndarray, "time signs"]:
    """Of one sequence."""
    heard = _by_group([group.sign for group in groups], signs)
    averages = [_averages(own - group.mean, group.sign.memory) for group, own in zip(groups, heard, strict=True)]
    return np.concatenate(averages, axis=1)


def _by_group(listened: Sequence[Sign], signs: Signs) -> list[ndarray]:
    """The columns of each group."""
    ends = np.cumsum([sign.size for sign in listened]).tolist()
    return [signs[:, end - sign.size : end] for sign, end in zip(listened, ends, strict=True)]


def _averages(values: Float64[ndarray, "time size"], memory: float) -> Float64[ndarray, "time size"]:
    """The moving averages of a sequence, from 0."""
    found, now = np.empty_like(values), np.zeros(values.shape[1])
    for t, value in enumerate(values):
        now = now + (value - now) / memory
        found[t] = now
    return found


def _distance(
    averages: Float64[ndarray, "rows size"], root: Float64[ndarray, "size size"]
) -> Float64[ndarray, " rows"]:
    """T."""
    whitened = np.matmul(
        root.T, averages[..., None]
    )  # row by row, so that one is the same to the last bit in any batch
    found: ndarray = np.log((whitened**2).sum(axis=(1, 2)) + LEAST)
    return found


def _rounded(values: Float64[ndarray, " size"]) -> list[float]:
    """So many digits that no p-value moves."""
    return [float(f"{value:.{DIGITS}g}") for value in values]
