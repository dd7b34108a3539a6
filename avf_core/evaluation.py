"""Free energy of a filter on a data set, honestly scored: every frame from the first, divided by the frames scored.

Two averages, both named: pooled over all frames (the protocol of Boulanger-Lewandowski et al. 2012), and the mean
over sequences of per-sequence means (that of the AVF authors' code).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core.errors import DataError
from avf_core.filtering import Filter


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


def pad(
    sequences: Sequence[np.ndarray], *, dtype: torch.dtype = torch.float32
) -> tuple[Float[Tensor, "time batch observation"], Bool[Tensor, "time batch"]]:
    """Sequences of shape (time, observation) as one batch, padded with zeros at the end; and which frames are real."""
    if not sequences or min(len(s) for s in sequences) == 0:
        raise DataError("expected at least one sequence, each of at least one frame")
    longest = max(len(s) for s in sequences)
    xs = torch.zeros(longest, len(sequences), sequences[0].shape[1], dtype=dtype)
    real = torch.zeros(longest, len(sequences), dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        xs[: len(sequence), row] = torch.as_tensor(np.ascontiguousarray(sequence)).to(dtype)
        real[: len(sequence), row] = True
    return xs, real


@torch.no_grad()
def evaluate(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    iterations: int | None = None,
    seed: int = 0,
    batch_size: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Filter every sequence from its first frame and average; row i is seeded with `seed` + i.

    `progress` is called with the frames done and the frames to do.
    """
    parameter = next(filter.parameters())
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    total = sum(len(s) for s in sequences)
    sums: dict[int, np.ndarray] = {}
    firsts: dict[int, float] = {}
    done = 0
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        xs, real = pad([sequences[i] for i in chosen], dtype=parameter.dtype)
        xs, real = xs.to(parameter.device), real.to(parameter.device)
        belief = filter.initial(torch.tensor([seed + i for i in chosen], device=parameter.device))
        partial: Tensor | None = None
        for t in range(len(xs)):
            belief, estimate = filter.step(belief, xs[t], iterations=iterations)
            columns = [estimate.free_energy, estimate.reconstruction, estimate.kl]
            row = torch.cat([torch.stack(columns, -1), estimate.free_energies], -1) * real[t][:, None]
            if partial is None:
                firsts |= {i: float(f) for i, f in zip(chosen, estimate.free_energy, strict=True)}
            partial = row.double() if partial is None else partial + row
            done += int(real[t].sum())
            if progress:
                progress(done, total)
        assert partial is not None
        sums |= {i: partial[n].cpu().numpy() for n, i in enumerate(chosen)}
    return _average([sums[i] for i in range(len(sequences))], firsts, [len(s) for s in sequences])


def _average(sums: list[np.ndarray], firsts: dict[int, float], lengths: list[int]) -> Evaluation:
    pooled = np.sum(sums, axis=0) / sum(lengths)
    by_iteration = pooled[3:]
    means = [row[0] / length for row, length in zip(sums, lengths, strict=True)]
    without_first = sum(row[0] for row in sums) - sum(firsts.values())
    start = float(by_iteration[0])
    return Evaluation(
        free_energy_pooled=float(pooled[0]),
        free_energy_sequence_mean=float(np.mean(means)),
        free_energy_without_first_frame=float(without_first / max(1, sum(lengths) - len(lengths))),
        reconstruction=float(pooled[1]),
        kl=float(pooled[2]),
        steps=sum(lengths),
        sequences=len(lengths),
        iterations=len(by_iteration) - 1,
        free_energy_by_iteration=[float(f) for f in by_iteration],
        improvement=(start - float(by_iteration[-1])) / abs(start) if start else 0.0,
    )
