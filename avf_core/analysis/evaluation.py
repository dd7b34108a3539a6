"""Free energy of a filter on a data set, honestly scored: every frame from the first, divided by the frames scored.

Two averages, both named: pooled over all frames (the protocol of Boulanger-Lewandowski et al. 2012), and the mean
over sequences of per-sequence means (that of the AVF authors' code). The law: a figure has its errors beside it. Over
sequences: what other data of the kind would give. Over noise: what another seed would; sequences are filtered more than
once, each time on new noise, for this alone can tell what sampled pasts do to a figure.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Integer

from avf_core.analysis import redrawn, student
from avf_core.analysis.batching import batches
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.trees import take

NOTHING_OBSERVED = "nothing was observed in these data: expected at least one frame with an observation"
BATCH = 128  # sequences side by side
APART = 1_000_003  # between the seeds of two passes, so that no row has the noise of another
DRAWS = 16  # latents of a step that its reconstruction is the mean over
FREEDOM = 16  # degrees that an error over noise has at least: few sequences are filtered more often
WITHIN = 0.99  # of pairs of evaluations differ by less than twice their error over noise
Progress = Callable[[int, int], None]
"""Called with the frames done and the frames to do."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures in nats per step; `free_energy_by_iteration` goes from the prior to the final posterior, pooled.

    `free_energy_without_first_frame` is pooled too, for comparison with figures that leave the first frame out.
    `improvement` is what inference took off the prior's free energy, as a fraction; `median_improvement` the median
    over sequences of what it took off theirs, which no single frame rules.

    `standard_error` and `sequence_mean_error` are over sequences, None for one. `noise_error` is half of what another
    seed may move the pooled figure by: of 100 pairs of evaluations on different noise, 99 differ by less than twice
    this. It is 0 for a procedure that is exact, and None for one pass. `passes` are those over the data, each on new
    noise, and `draws` the latents of a step that its reconstruction is averaged over (0: the one that filtering goes on
    from).
    """

    free_energy_pooled: float
    free_energy_sequence_mean: float
    free_energy_without_first_frame: float
    reconstruction: float
    kl: float
    steps: int
    sequences: int
    iterations: int
    free_energy_by_iteration: list[float]
    improvement: float
    median_improvement: float
    standard_error: float | None
    sequence_mean_error: float | None
    noise_error: float | None
    passes: int
    draws: int

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        return asdict(self)


def ratio(
    sums: Float[np.ndarray, " sequences"], counts: Integer[np.ndarray, " sequences"]
) -> tuple[float, float | None]:
    """The mean over all steps, from the sums and counts of every sequence; and its standard error over sequences.

    The error is that of a ratio (Cochran 1977, section 2.11), as lengths differ; None for one sequence.
    """
    mean = float(sums.sum() / counts.sum())
    if len(sums) < 2:
        return mean, None
    deviations = (sums - mean * counts) / counts.mean()
    return mean, float(deviations.std(ddof=1) / len(sums) ** 0.5)


def evaluate(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    iterations: int | None = None,
    seed: int = 0,
    passes: int | None = None,
    draws: int = DRAWS,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> Evaluation:
    """Filter every sequence from its first frame and average; row i is seeded with `seed` + i.

    NaN marks what was not observed; frames without any observation are not scored. There are as many `passes` as an
    error over noise wants, two or more, where none are told; with one, and no `draws`, figures are those of one run of
    the filter. `progress` is called with the frames done and the frames to do. Raises DataError where there is nothing
    to score.
    """
    passes, draws = _effort(filter, len(sequences), passes, draws)
    tallies = _tallies(
        filter,
        sequences,
        iterations=iterations,
        seed=seed,
        passes=passes,
        draws=draws,
        batch_size=batch_size,
        progress=progress,
    )
    return _average(tallies, passes=passes, draws=draws, exact=filter.inference.exact)


class BySteps(NamedTuple):
    """The figures of an evaluation, and what they are averages of.

    `energies` are the free energies of the steps of every sequence, the mean over passes, in nats; 0 where nothing was
    observed. `scored` counts the others.
    """

    figures: Evaluation
    energies: list[Float64[np.ndarray, " time"]]
    scored: Int64[np.ndarray, " sequences"]


def by_steps(
    filter: Filter, sequences: Sequence[np.ndarray], *, seed: int = 0, progress: Progress | None = None
) -> BySteps:
    """What `evaluate` gives, with every step. Raises DataError where there is nothing to score."""
    passes, draws = _effort(filter, len(sequences))
    tallies = _tallies(filter, sequences, seed=seed, passes=passes, draws=draws, progress=progress)
    found = _average(tallies, passes=passes, draws=draws, exact=filter.inference.exact)
    turns = [tallies[n :: len(sequences)] for n in range(len(sequences))]
    energies = [np.mean([tally.energies for tally in each], axis=0) for each in turns]
    return BySteps(found, energies, np.array([each[0].frames for each in turns], dtype=np.int64))


def sequence_sums(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    iterations: int | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> tuple[Float64[np.ndarray, " sequences"], Int64[np.ndarray, " sequences"]]:
    """The free energy of every sequence in nats, summed over its frames that are scored, and the number of these.

    Filtered and scored as by one pass of `evaluate`; a sequence of which nothing was observed has zeros.
    """
    tallies = _tallies(
        filter,
        sequences,
        iterations=iterations,
        seed=seed,
        passes=1,
        draws=draws,
        batch_size=batch_size,
        progress=progress,
    )
    sums = [float(np.asarray(tally.sums)[0]) if tally.frames else 0.0 for tally in tallies]
    return np.array(sums), np.array([tally.frames for tally in tallies], dtype=np.int64)


def _effort(filter: Filter, sequences: int, passes: int | None = None, draws: int = DRAWS) -> tuple[int, int]:
    """The passes and draws of an evaluation: one and none where the procedure is exact."""
    if filter.inference.exact:
        return 1, 0
    return passes or 1 + -(-FREEDOM // max(1, sequences)), draws


@torch.no_grad()
def _tallies(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    seed: int,
    passes: int,
    draws: int,
    iterations: int | None = None,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> list["_Tally"]:
    """What `evaluate` averages, of every sequence, and of all of them again for each further pass."""
    every = list(sequences) * passes
    total = sum(len(s) for s in every)
    tallies = [_Tally(energies=np.zeros(len(sequence))) for sequence in every]
    done = 0
    for batch in batches(filter, every, size=batch_size):
        turn = batch.seeds // max(1, len(sequences))
        belief = filter.initial(seed + batch.seeds + turn * (APART - len(sequences)))
        for t in range(len(batch.xs)):
            x, observed, scored = batch.at(t)
            now, before = batch.drive_at(t), take(belief, slice(0, len(x)))
            belief, estimate = filter.step(
                before, x, observed=observed, inputs=now.inputs, dt=now.dt, iterations=iterations
            )
            found = redrawn.reconstruction(filter, before, estimate, x, observed=observed, drive=now, draws=draws)
            figures = redrawn.with_reconstruction(estimate, found).double().cpu().numpy()
            for n, counts in enumerate(scored.tolist()):
                tallies[batch.rows[n]].add(figures[n], counts=counts, step=t)
            done += len(x)
            if progress:
                progress(done, total)
    return tallies


@dataclass
class _Tally:
    """Sums over the scored frames of one sequence, and the free energy of every frame."""

    energies: Float64[np.ndarray, " time"]
    sums: np.ndarray | float = 0.0
    first: float = 0.0
    frames: int = 0
    later: int = 0

    def add(self, figures: np.ndarray, *, counts: bool, step: int) -> None:
        if counts:
            self.sums = self.sums + figures
            self.energies[step] = figures[0]
            self.first += float(figures[0]) if step == 0 else 0.0
            self.frames += 1
            self.later += step > 0


def _average(every: list[_Tally], *, passes: int, draws: int, exact: bool) -> Evaluation:
    """The figures of sequences that were scored, the same ones in each pass."""
    tallies = [tally for tally in every if tally.frames]
    if not tallies:
        raise DataError(NOTHING_OBSERVED)
    frames, later = sum(t.frames for t in tallies), sum(t.later for t in tallies)
    sums = [np.asarray(t.sums) for t in tallies]
    pooled = np.sum(sums, axis=0) / frames
    by_iteration = pooled[3:]
    without_first = sum(row[0] for row in sums) - sum(t.first for t in tallies)
    start = float(by_iteration[0])
    taken = [(row[3] - row[-1]) / abs(row[3]) if row[3] else 0.0 for row in sums]
    count = len(tallies) // passes
    energies = np.array([row[0] for row in sums]).reshape(passes, count)
    lengths = np.array([t.frames for t in tallies[:count]])
    means = energies.mean(0) / lengths
    return Evaluation(
        free_energy_pooled=float(pooled[0]),
        free_energy_sequence_mean=float(means.mean()),
        free_energy_without_first_frame=float(without_first / max(1, later)),
        reconstruction=float(pooled[1]),
        kl=float(pooled[2]),
        steps=frames // passes,
        sequences=count,
        iterations=len(by_iteration) - 1,
        free_energy_by_iteration=[float(f) for f in by_iteration],
        improvement=(start - float(by_iteration[-1])) / abs(start) if start else 0.0,
        median_improvement=float(np.median(taken)),
        standard_error=ratio(energies.mean(0), lengths)[1],
        sequence_mean_error=float(means.std(ddof=1) / count**0.5) if count > 1 else None,
        noise_error=0.0 if exact else _over_noise(energies, int(lengths.sum())),
        passes=passes,
        draws=draws,
    )


def _over_noise(energies: Float64[np.ndarray, "passes sequences"], frames: int) -> float | None:
    """Half of what the mean of such passes and that of others differ by at most, in `WITHIN` of all cases.

    Sequences have noise of their own, so that the variances of their sums add, and so do their degrees of freedom.
    """
    passes, count = energies.shape
    if passes < 2:
        return None
    deviation = math.sqrt(energies.var(0, ddof=1).sum() / passes) / frames
    return student.quantile(WITHIN, count * (passes - 1)) * deviation / math.sqrt(2.0)
