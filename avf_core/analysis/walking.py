"""A filter along many sequences: every step that is to be scored, and what it taught.

The law: sequence i has the seed `seed` + i, whatever else is filtered beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core.analysis.batching import batches
from avf_core.analysis.evaluation import Progress
from avf_core.beliefs import Belief
from avf_core.drives import Drive
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.trees import take


@dataclass(frozen=True, kw_only=True)
class Walked:
    """Step `t` of the sequences `rows`, as the estimate has them.

    `x` is what came after `before`, moved by `drive`; `observed` is which of it was, None of all; `scored`: of which
    rows anything was. `warming` is the model's.
    """

    t: int
    rows: list[int]
    before: Belief
    drive: Drive
    x: Float[Tensor, "batch observation"]
    observed: Bool[Tensor, "batch observation"] | None
    scored: Bool[Tensor, " batch"]
    warming: int
    estimate: Estimate

    @property
    def judged(self) -> Bool[Tensor, " batch"]:
        """Of which rows what the step cost tells what came: those `scored`, once the model is not `warming`."""
        return self.scored & (self.t >= self.warming)

    @property
    def known(self) -> Bool[Tensor, "batch observation"]:
        """Which numbers were observed."""
        return torch.ones_like(self.x, dtype=torch.bool) if self.observed is None else self.observed

    def put(
        self,
        into: Sequence[np.ndarray],
        values: Float[Tensor, "batch ..."] | np.ndarray,
        where: Bool[Tensor, " batch"] | None = None,
    ) -> None:
        """Write the values of what was scored, or of rows `where`, into arrays of the sequences, at this step."""
        told = values.detach().double().cpu().numpy() if isinstance(values, Tensor) else values
        for n in (self.scored if where is None else where).nonzero()[:, 0].tolist():
            into[self.rows[n]][self.t] = told[n]


@torch.no_grad()
def walk(
    filter: Filter,
    sequences: Sequence[np.ndarray],
    *,
    particles: int = 1,
    iterations: int | None = None,
    seed: int = 0,
    max_rows: int = 1024,
    progress: Progress | None = None,
) -> Iterator[Walked]:
    """Filter all of them, at most `max_rows` particles together."""
    total, done = sum(len(s) for s in sequences), 0
    for batch in batches(filter, sequences, size=max(1, max_rows // particles)):
        belief = filter.spread(seed + batch.seeds, particles=particles)
        for t in range(len(batch.xs)):
            x, observed, scored = batch.at(t)
            now, belief = batch.drive_at(t), take(belief, slice(0, len(x)))
            before = belief
            belief, e = filter.step(before, x, observed=observed, inputs=now.inputs, dt=now.dt, iterations=iterations)
            seen: dict[str, Any] = {"before": before, "drive": now, "x": x, "observed": observed, "scored": scored}
            yield Walked(t=t, rows=batch.rows[: len(x)], warming=filter.model.warming, estimate=e, **seen)
            done += len(x)
            if progress:
                progress(done, total)
