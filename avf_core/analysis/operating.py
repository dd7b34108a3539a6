"""Operating points of a checkpoint: what the time of a step is worth, as a curve of F against milliseconds.

A point says how a step is inferred: iterations and gradient samples where the procedure descends, particles where it
does not. The laws: F is that of `evaluate` (with particles, the bound of `bounds`), on the same sequences and noise at
each point; times are processor time of one thread, medians, the points taking turns, so that the machine is the same
for all of them.
"""

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from avf_core import configuration
from avf_core.analysis.bounds import bound
from avf_core.analysis.evaluation import evaluate
from avf_core.drives import Drive
from avf_core.errors import DataError
from avf_core.filtering import Filter

ROUNDS = 15
BATCHES = (1, 64)
PARTICLES = (1, 2, 4, 8)
NEAR, RELATIVE = 0.01, 1e-4  # nats, and a part of F where that is more: what a point may cost that ships
MOST_STEPS = 5000  # that F is taken of: of the first sequences, and of one at least


@dataclass(frozen=True, kw_only=True)
class Point:
    """`iterations` and `samples` (a number, or one for each iteration) are None where the procedure has none."""

    iterations: int | None = None
    samples: int | tuple[int, ...] | None = None
    particles: int = 1

    @classmethod
    def configured(cls, settings: Mapping[str, Any]) -> "Point":
        """That of a checkpoint's settings."""
        found = settings["inference"]
        samples = found.get("samples", 1)
        if "iterations" not in found:
            return cls()
        return cls(iterations=found["iterations"], samples=samples if isinstance(samples, int) else tuple(samples))

    @property
    def settings(self) -> dict[str, Any]:
        """What it says of a procedure, by the names of its settings."""
        said = {"iterations": self.iterations, "samples": self.samples}
        return {name: value for name, value in said.items() if value is not None}

    def __str__(self) -> str:
        if self.iterations is None:
            return f"{self.particles} particle{'s' * (self.particles > 1)}"
        samples = ", ".join(map(str, self.samples)) if isinstance(self.samples, tuple) else str(self.samples)
        return f"{self.iterations} x {samples}"


@dataclass(frozen=True, kw_only=True)
class Worth:
    """F of a point in nats a step, and milliseconds of a row of a step: alone, and in a batch of 64."""

    point: Point
    free_energy: float
    ms_1: float
    ms_64: float

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        return {name: value for name, value in {**asdict(self.point), **asdict(self)}.items() if name != "point"}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points by what they are worth, the fastest first."""

    points: Sequence[Worth]

    def as_dict(self) -> dict[str, object]:
        """The points by name."""
        return {"points": [worth.as_dict() for worth in self.points]}


def candidates(settings: Mapping[str, Any]) -> list[Point]:
    """The points of a curve: fewer iterations, fewer samples, and samples that grow to what is configured."""
    full = Point.configured(settings)
    if full.iterations is None:
        return [Point(particles=count) for count in PARTICLES]
    last = full.samples if isinstance(full.samples, int) else (full.samples or (1,))[-1]
    least = 2 if settings["inference"].get("antithetic") else 1
    found = [Point(iterations=count, samples=last) for count in range(1, full.iterations + 1)]
    for count in range(max(2, full.iterations - 2), full.iterations + 1):
        growing = [tuple(max(least, last >> (count - 1 - i)) for i in range(count))]
        growing += [(max(least, last // 2),) * few + (last,) * (count - few) for few in (1, 2)]
        found += [Point(iterations=count, samples=samples) for samples in growing]
    halves = [last >> bits for bits in (1, 2) if last >> bits >= least]
    found += [Point(iterations=full.iterations, samples=half) for half in halves]
    return list(dict.fromkeys(replace(point, samples=_plain(point.samples)) for point in [*found, full]))


def at(filter: Filter, settings: Mapping[str, Any], point: Point) -> Filter:
    """The filter of these settings at a point, with the same weights."""
    told: Any = copy.deepcopy(dict(settings))
    told["inference"] = {**told["inference"], **point.settings}
    made = configuration.build(told)
    made.load_state_dict(filter.state_dict())
    made.recalibration = filter.recalibration
    return made.to(dtype=filter.model.dtype).eval().requires_grad_(False)


@torch.no_grad()
def curve(
    filter: Filter,
    settings: Mapping[str, Any],
    sequences: Sequence[np.ndarray],
    *,
    points: Sequence[Point] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Worth]:
    """What each point is worth, the fastest at a batch of 64 first: of the first sequences, MOST_STEPS or one.

    Raises DataError where there are none.
    """
    points = candidates(settings) if points is None else points
    some = first(sequences)
    filters = [at(filter, settings, point) for point in points]
    times = {batch: milliseconds(filters, points, some, batch=batch) for batch in BATCHES}
    found = []
    for i, (one, point) in enumerate(zip(filters, points, strict=True)):
        if point.iterations is None:
            energy = bound(one, some, kind="fivo", particles=point.particles).pooled
        else:
            energy = evaluate(one, some, passes=1).free_energy_pooled
        found.append(Worth(point=point, free_energy=energy, ms_1=times[1][i], ms_64=times[64][i]))
        if progress is not None:
            progress(i + 1, len(points))
    return sorted(found, key=lambda worth: worth.ms_64)


def first(sequences: Sequence[np.ndarray], *, most: int = MOST_STEPS) -> list[np.ndarray]:
    """The sequences that a curve is taken of: so many steps at most, and one sequence at least."""
    if not sequences:
        raise DataError("there are no sequences to take a curve of")
    found: list[np.ndarray] = []
    for sequence in sequences:
        if found and sum(map(len, found)) + len(sequence) > most:
            break
        found.append(sequence)
    return found


def knee(found: Sequence[Worth], *, near: float, relative: float) -> Worth:
    """The fastest point that costs at most `near` nats, or so much of F where that is more, beside the best."""
    best = min(worth.free_energy for worth in found)
    allowed = max(near, relative * abs(best))
    return min((w for w in found if w.free_energy <= best + allowed), key=lambda worth: worth.ms_64)


def _plain(samples: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
    """A number where all iterations have the same."""
    return samples[0] if isinstance(samples, tuple) and len(set(samples)) == 1 else samples


def milliseconds(
    filters: Sequence[Filter], points: Sequence[Point], sequences: Sequence[np.ndarray], *, batch: int
) -> list[float]:
    """Processor time of a row of a step, the filters taking turns; what is missing counts as 0."""
    frames = np.concatenate([np.asarray(sequence) for sequence in sequences[:8]])
    rows = frames[np.linspace(0, len(frames) - 1, batch).astype(int)]
    x = torch.as_tensor(np.nan_to_num(rows), dtype=filters[0].model.dtype)
    seeds = torch.arange(batch)
    beliefs = [
        one.step(one.initial(seeds, particles=point.particles), x, **_still(one, batch))[0]
        for one, point in zip(filters, points, strict=True)
    ]
    times: list[list[float]] = [[] for _ in filters]
    for _ in range(ROUNDS):
        for one, belief, taken in zip(filters, beliefs, times, strict=True):
            start = time.thread_time()
            one.step(belief, x, **_still(one, batch))
            taken.append(1e3 * (time.thread_time() - start) / batch)
    return [statistics.median(taken) for taken in times]


def _still(filter: Filter, batch: int) -> dict[str, Any]:
    """Inputs of a model that takes some, with nothing done."""
    drive: Drive = filter.model.reader.resting((batch,), torch.zeros(1, dtype=filter.model.dtype))
    return {"inputs": drive.inputs, "dt": drive.dt}
