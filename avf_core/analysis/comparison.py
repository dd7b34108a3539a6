"""Two filters on the same data: by how much one is ahead, and whether that may be chance.

Free energies are paired: both filter the same sequences on the same noise, several times on new noise, and a sequence
counts by the mean of these. Sequences are what varies: errors and p-values are over them, and the error over noise is
told beside. The law: the difference is of first less second, in nats per step; below 0, the first is ahead.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from avf_core.analysis import student
from avf_core.analysis.evaluation import APART, Progress, ratio, sequence_sums
from avf_core.errors import DataError
from avf_core.filtering import Filter

FLIPS = 20_000  # random ones, where there are too many to try all
ALL_FLIPS_UP_TO = 14  # sequences
PROVEN = 0.01  # a difference is called so where both p-values are below


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One sequence under both filters, nats per step, averaged over the noise; `difference` is first less second."""

    sequence: int
    steps: int
    first: float
    second: float
    difference: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two filters on the same sequences, pooled over steps, in nats per step.

    `standard_error` is over sequences, `noise_error` that of the difference over the passes on new noise (None for one
    pass). `p_t` is of Student's t, `p_flips` of the permutation that flips the signs of sequences' differences: chances
    of a difference this far from 0, either way, were there none.
    """

    difference: float
    standard_error: float
    noise_error: float | None
    t: float
    p_t: float
    p_flips: float
    first: float
    second: float
    steps: int
    sequences: int
    seeds: int
    by_sequence: list[Pair]

    def as_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)


def compare(
    first: Filter,
    second: Filter,
    sequences: Sequence[np.ndarray],
    *,
    iterations: int | None = None,
    seeds: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Filter the sequences by both, `seeds` times on noise that they share, and say what may be said of the difference.

    NaN marks what was not observed. `progress` is called with the frames done and to do. Raises DataError for fewer
    than two sequences.
    """
    total = 2 * seeds * sum(len(sequence) for sequence in sequences)
    sums: list[list[np.ndarray]] = [[], []]
    for turn in range(2 * seeds):
        energies, counts = sequence_sums(
            (first, second)[turn % 2],
            sequences,
            iterations=iterations,
            seed=seed + (turn // 2) * APART,
            progress=_later(progress, turn * total // (2 * seeds), total),
        )
        sums[turn % 2].append(energies)
    return compared(np.stack(sums[0]), np.stack(sums[1]), counts, seed=seed)


def _later(progress: Progress | None, before: int, total: int) -> Progress | None:
    """The listener of a pass, before which so many frames were done."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def compared(
    first: Float64[np.ndarray, "seeds sequences"],
    second: Float64[np.ndarray, "seeds sequences"],
    steps: Int64[np.ndarray, " sequences"],
    *,
    seed: int = 0,
) -> Comparison:
    """What free energies in nats, summed over the steps of each sequence, say of their difference.

    Sequences of no steps are left out. `seed` is that of random flips. Raises DataError for fewer than two sequences.
    """
    kept = np.flatnonzero(steps)
    if len(kept) < 2:
        raise DataError(f"{len(kept)} sequences with an observation cannot be compared: expected two or more")
    first, second, steps = first[:, kept], second[:, kept], steps[kept]
    gaps = (first - second).mean(0)
    difference, error = ratio(gaps, steps)
    assert error is not None
    t = difference / error if error else math.copysign(math.inf, difference) if difference else 0.0
    passes = (first - second).sum(1) / steps.sum()
    means = np.stack([first.mean(0), second.mean(0), gaps], 1) / steps[:, None]
    return Comparison(
        difference=difference,
        standard_error=error,
        noise_error=float(passes.std(ddof=1) / len(passes) ** 0.5) if len(passes) > 1 else None,
        t=t,
        p_t=student.tail(t, len(steps) - 1),
        p_flips=flipped(gaps, seed=seed),
        first=float(first.mean(0).sum() / steps.sum()),
        second=float(second.mean(0).sum() / steps.sum()),
        steps=int(steps.sum()),
        sequences=len(steps),
        seeds=len(passes),
        by_sequence=[
            Pair(sequence=int(place), steps=int(count), first=float(a), second=float(b), difference=float(d))
            for place, count, (a, b, d) in zip(kept, steps, means, strict=True)
        ],
    )


def of_cases(gaps: Float64[np.ndarray, " cases"]) -> Comparison:
    """What differences say that are cases by themselves, whatever their lengths: stretches of time, or trainings."""
    return compared(gaps[None], np.zeros((1, len(gaps))), np.ones(len(gaps), dtype=np.int64))


def is_proven(p_t: float, p_flips: float) -> bool:
    """Whether both tests say that a difference is no accident."""
    return max(p_t, p_flips) < PROVEN


def flipped(gaps: Float64[np.ndarray, " sequences"], *, seed: int = 0) -> float:
    """The chance of a sum as far from 0 as that of `gaps`, were each as likely to be of the other sign.

    All flips are tried for few sequences, else random ones, of which the one that was seen counts as one.
    """
    reached = abs(gaps.sum()) * (1.0 - 1e-12)
    if len(gaps) <= ALL_FLIPS_UP_TO:
        signs = 1 - 2 * (np.arange(2 ** len(gaps))[:, None] >> np.arange(len(gaps)) & 1)
        return float((np.abs(signs @ gaps) >= reached).mean())
    generator = np.random.default_rng(seed)
    beyond = sum(
        int((np.abs((1 - 2 * generator.integers(0, 2, (1000, len(gaps)))) @ gaps) >= reached).sum())
        for _ in range(FLIPS // 1000)
    )
    return (1 + beyond) / (1 + FLIPS)
