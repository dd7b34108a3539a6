"""Free energy of a filter on a data set, honestly scored: every frame from the first, divided by the frames scored.

Two averages, both named: pooled over all frames (the protocol of Boulanger-Lewandowski et al. 2012), and the mean
over sequences of per-sequence means (that of the AVF authors' code).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, Integer
from torch import Tensor

from avf_core.data import Driven, numbers
from avf_core.drives import Drive
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.trees import take, tree_map

Progress = Callable[[int, int], None]
"""Called with the frames done and the frames to do."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures in nats per step; `free_energy_by_iteration` goes from the prior to the final posterior, pooled.

    `free_energy_without_first_frame` is pooled too, for comparison with figures that leave the first frame out.
    `improvement` is what inference took off the prior's free energy, as a fraction.
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

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Sequences of a data set that are filtered together, the longest first, so that rows end from the last on.

    `rows` are their places in the data set. `observed` is None where no value is missing; `xs` is padded with zeros.
    """

    rows: list[int]
    lengths: list[int]
    xs: Float[Tensor, "time batch observation"]
    observed: Bool[Tensor, "time batch observation"] | None
    drive: Drive

    @property
    def seeds(self) -> Int64[Tensor, " batch"]:
        """The places in the data set, to which a seed is added."""
        return torch.tensor(self.rows, device=self.xs.device)

    def active(self, t: int) -> int:
        """How many sequences, the first ones, have a frame t."""
        return sum(length > t for length in self.lengths)

    def at(
        self, t: int
    ) -> tuple[Float[Tensor, "active observation"], Bool[Tensor, "active observation"] | None, Bool[Tensor, " active"]]:
        """Frame t of the sequences that have one, what of it was observed, and which of them have any value in it."""
        active = self.active(t)
        x = self.xs[t, :active]
        if self.observed is None:
            return x, None, x.new_ones(active, dtype=torch.bool)
        observed = self.observed[t, :active]
        return x, observed, observed.any(-1)

    def drive_at(self, t: int) -> Drive:
        """What moved the sequences that have a frame t before it."""
        active: Drive = tree_map(lambda tensor: tensor[t, : self.active(t)], self.drive)
        return active


def pad_drive(sequences: Sequence[np.ndarray]) -> Drive:
    """What moved these sequences, padded at the end with inputs of zeros and a dt that is not known.

    Raises DataError where some have it, and others not.
    """
    driven = [sequence if isinstance(sequence, Driven) else Driven(sequence) for sequence in sequences]
    inputs = [sequence.inputs for sequence in driven if sequence.inputs is not None]
    dts = [sequence.dt for sequence in driven if sequence.dt is not None]
    for name, found in (("inputs", inputs), ("a dt", dts)):
        if len(found) not in (0, len(driven)):
            raise DataError(f"{len(found)} of {len(driven)} sequences have {name}: expected all or none")
    longest = max(len(sequence) for sequence in sequences)

    def padded(parts: Sequence[np.ndarray], blank: float) -> Tensor:
        rows = torch.full((longest, len(parts), *parts[0].shape[1:]), blank)
        for row, part in enumerate(parts):
            rows[: len(part), row] = torch.as_tensor(np.ascontiguousarray(part))
        return rows

    if len({part.shape[1] for part in inputs}) > 1:
        raise DataError("sequences have different numbers of inputs: expected the same for all")
    return Drive(inputs=padded(inputs, 0.0) if inputs else None, dt=padded(dts, float("nan")) if dts else None)


def pad(
    sequences: Sequence[np.ndarray], *, dtype: torch.dtype = torch.float32
) -> tuple[Float[Tensor, "time batch observation"], Bool[Tensor, "time batch"]]:
    """Sequences of shape (time, observation) as one batch, padded with zeros at the end; and which frames are real.

    What is masked is NaN. Raises DataError.
    """
    if not sequences or min(len(s) for s in sequences) == 0:
        raise DataError("expected at least one sequence, each of at least one frame")
    longest = max(len(s) for s in sequences)
    xs = torch.zeros(longest, len(sequences), sequences[0].shape[1], dtype=dtype)
    real = torch.zeros(longest, len(sequences), dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        xs[: len(sequence), row] = torch.as_tensor(np.ascontiguousarray(numbers(sequence))).to(dtype)
        real[: len(sequence), row] = True
    return xs, real


def batches(filter: Filter, sequences: Sequence[np.ndarray], *, size: int) -> Iterator[Batch]:
    """All sequences, at most `size` together and those of like lengths; NaN is what was not observed."""
    if not sequences:
        raise DataError("expected at least one sequence")
    parameter = next(filter.parameters())
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]), reverse=True)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        xs, _ = pad([sequences[i] for i in rows], dtype=parameter.dtype)
        xs = xs.to(parameter.device)
        missing = xs.isnan()
        drive = tree_map(lambda tensor: tensor.to(parameter.device), pad_drive([sequences[i] for i in rows]))
        yield Batch(
            rows=rows,
            lengths=[len(sequences[i]) for i in rows],
            xs=xs,
            observed=~missing if bool(missing.any()) else None,
            drive=filter.model.reader.taken(drive, shape=tuple(xs.shape[:2]), like=xs),
        )


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
    batch_size: int = 128,
    progress: Progress | None = None,
) -> Evaluation:
    """Filter every sequence from its first frame and average; row i is seeded with `seed` + i.

    NaN marks what was not observed; frames without any observation are not scored. `progress` is called with the
    frames done and the frames to do. Raises DataError where there is nothing to score.
    """
    tallies = _tallies(filter, sequences, iterations=iterations, seed=seed, batch_size=batch_size, progress=progress)
    return _average([tally for tally in tallies if tally.frames])


def sequence_sums(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    iterations: int | None = None,
    seed: int = 0,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> tuple[Float64[np.ndarray, " sequences"], Int64[np.ndarray, " sequences"]]:
    """The free energy of every sequence in nats, summed over its frames that are scored, and the number of these.

    Filtered and scored as by `evaluate`; a sequence of which nothing was observed has zeros.
    """
    tallies = _tallies(filter, sequences, iterations=iterations, seed=seed, batch_size=batch_size, progress=progress)
    sums = [float(np.asarray(tally.sums)[0]) if tally.frames else 0.0 for tally in tallies]
    return np.array(sums), np.array([tally.frames for tally in tallies], dtype=np.int64)


@torch.no_grad()
def _tallies(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    iterations: int | None,
    seed: int,
    batch_size: int,
    progress: Progress | None,
) -> list["_Tally"]:
    """What `evaluate` averages, of every sequence."""
    total = sum(len(s) for s in sequences)
    tallies = [_Tally() for _ in sequences]
    done = 0
    for batch in batches(filter, sequences, size=batch_size):
        belief = filter.initial(seed + batch.seeds)
        for t in range(len(batch.xs)):
            x, observed, scored = batch.at(t)
            now, belief = batch.drive_at(t), take(belief, slice(0, len(x)))
            belief, estimate = filter.step(
                belief, x, observed=observed, inputs=now.inputs, dt=now.dt, iterations=iterations
            )
            columns = torch.stack([estimate.free_energy, estimate.reconstruction, estimate.kl], -1)
            figures = torch.cat([columns, estimate.free_energies], -1).double().cpu().numpy()
            for n, counts in enumerate(scored.tolist()):
                tallies[batch.rows[n]].add(figures[n], counts=counts, first=t == 0)
            done += len(x)
            if progress:
                progress(done, total)
    return tallies


@dataclass
class _Tally:
    """Sums over the scored frames of one sequence."""

    sums: np.ndarray | float = 0.0
    first: float = 0.0
    frames: int = 0
    later: int = 0

    def add(self, figures: np.ndarray, *, counts: bool, first: bool) -> None:
        if counts:
            self.sums = self.sums + figures
            self.first += float(figures[0]) if first else 0.0
            self.frames += 1
            self.later += not first


def _average(tallies: list[_Tally]) -> Evaluation:
    if not tallies:
        raise DataError("expected at least one frame with an observation")
    frames, later = sum(t.frames for t in tallies), sum(t.later for t in tallies)
    sums = [np.asarray(t.sums) for t in tallies]
    pooled = np.sum(sums, axis=0) / frames
    by_iteration = pooled[3:]
    without_first = sum(row[0] for row in sums) - sum(t.first for t in tallies)
    start = float(by_iteration[0])
    return Evaluation(
        free_energy_pooled=float(pooled[0]),
        free_energy_sequence_mean=float(np.mean([row[0] / t.frames for row, t in zip(sums, tallies, strict=True)])),
        free_energy_without_first_frame=float(without_first / max(1, later)),
        reconstruction=float(pooled[1]),
        kl=float(pooled[2]),
        steps=frames,
        sequences=len(tallies),
        iterations=len(by_iteration) - 1,
        free_energy_by_iteration=[float(f) for f in by_iteration],
        improvement=(start - float(by_iteration[-1])) / abs(start) if start else 0.0,
    )
