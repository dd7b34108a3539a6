"""The whole trade of a shipped model: F, bound and milliseconds of every way that its steps may be inferred.

    python -m avf_core.reproduction.trade NAME --data PATH [--out docs/results/trade] [--steps 1500]

Ways: the checkpoint's procedure by iterations x samples, schedules of samples among them, and at its point with
particles; direct inference with particles, where such a checkpoint ships beside it; and gradient descent on the same
model, which nothing amortises. The laws: all are on the same sequences of the split of selection; times take turns,
so that the machine is the same for all; with particles the energy is the bound. What a record holds is not measured
again.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avf_core import checkpoints, configuration
from avf_core.analysis import operating
from avf_core.analysis.bounds import bound
from avf_core.analysis.evaluation import evaluate
from avf_core.analysis.operating import Point
from avf_core.data import Source
from avf_core.filtering import Filter
from avf_core.reproduction.measurements import Kind
from avf_core.training import measuring

TRADE = Kind(
    folder="trade",
    keys=("model", "data", "split", "steps", "complete", "points"),
    command="python -m avf_core.reproduction.trade NAME --data PATH",
)
STEPS = 1500
FEW = (2, 4)
MANY = (1, 2, 4, 8)
GRADIENT = (1, 5, 10, 20)
DESCENT = {"kind": "gradient", "samples": 2, "antithetic": True, "decay": 0.1}
BASELINE = "-direct"  # of the name of what iterates,
ITERATING = "-avf"  # or this is of its own, beside its baseline
DIGITS = 4  # of milliseconds

Way = tuple[str, Point, Filter]


def ways(name: str) -> list[Way]:
    """All ways of a checkpoint of the zoo: of which kind, at which point, by which filter."""
    shipped = checkpoints.load(name)
    settings = shipped.settings
    own = Point.configured(checkpoints.operated(settings, shipped.card))
    kind = "direct" if own.iterations is None else "iterative"
    points = [*operating.candidates(settings), own]
    if kind == "iterative":
        points += [replace(own, particles=count) for count in FEW]
    found = [(kind, point, operating.at(shipped.filter, settings, point)) for point in dict.fromkeys(points)]
    baseline = beside(name)
    if baseline is not None:
        other = checkpoints.load(baseline)
        found += [("direct", Point(particles=count), other.filter) for count in MANY]
    if kind == "iterative":
        found += [("gradient", Point(iterations=n, samples=2), _descending(shipped, n)) for n in GRADIENT]
    return found


def beside(name: str) -> str | None:
    """The checkpoint of direct inference that ships beside one that iterates; None where none does."""
    names = (f"{name}{BASELINE}", name.removesuffix(ITERATING))
    return next((one for one in names if one != name and one in checkpoints.available()), None)


def _descending(shipped: checkpoints.Checkpoint, iterations: int) -> Filter:
    """The same model, with plain descent in place of what was learned."""
    told: dict[str, Any] = {**shipped.settings, "inference": {**DESCENT, "iterations": iterations}}
    made = configuration.build(told)
    made.model.load_state_dict(shipped.filter.model.state_dict())
    return made.to(dtype=shipped.filter.model.dtype).eval().requires_grad_(False)


@torch.no_grad()
def measure(name: str, source: Source, path: Path, *, steps: int = STEPS) -> dict[str, Any]:
    """Measure what the record at `path` lacks, each way as it is found, then the times of all; gives the record."""
    shipped = checkpoints.load(name)
    split = source.describe().selection
    sequences = operating.first(source.load(split), most=steps)
    about: dict[str, Any] = {"model": name, "digest": shipped.digest, "data": source.place.name, "split": split}
    about |= {"steps": sum(map(len, sequences)), "sequences": len(sequences)}
    known = _known(path, about)
    every = ways(name)
    for kind, point, filter in every:
        if (kind, point) not in known:
            known[kind, point] = _energy(filter, point, sequences)
            _write(path, about, every, known, {})
    filters, points = [filter for _, _, filter in every], [point for _, point, _ in every]
    times = {batch: operating.milliseconds(filters, points, sequences, batch=batch) for batch in operating.BATCHES}
    return _write(path, about, every, known, times)


def _energy(filter: Filter, point: Point, sequences: Sequence[np.ndarray]) -> float:
    """F; with particles, the bound."""
    if point.particles > 1:
        return bound(filter, sequences, kind="fivo", particles=point.particles).pooled
    return evaluate(filter, sequences, passes=1).free_energy_pooled


def _known(path: Path, about: Mapping[str, Any]) -> dict[tuple[str, Point], float]:
    """The energies that a record of the same checkpoint and steps holds."""
    found = TRADE.read(path) if path.exists() else {}
    if any(found.get(key) != value for key, value in about.items()):
        return {}
    return {(row["way"], _point(row)): row["free_energy"] for row in found["points"]}


def _point(row: Mapping[str, Any]) -> Point:
    samples = row["samples"]
    many = tuple(samples) if isinstance(samples, list) else samples
    return Point(iterations=row["iterations"], samples=many, particles=row["particles"])


def _write(
    path: Path,
    about: Mapping[str, Any],
    every: Sequence[Way],
    known: Mapping[tuple[str, Point], float],
    times: Mapping[int, Sequence[float]],
) -> dict[str, Any]:
    rows = []
    for i, (kind, point, _) in enumerate(every):
        if (kind, point) in known:
            said = {"iterations": point.iterations, "samples": point.samples, "particles": point.particles}
            row = {"way": kind, **said, "free_energy": known[kind, point]}
            rows.append(row | {f"ms_{batch}": round(taken[i], DIGITS) for batch, taken in times.items()})
    record = {**about, "complete": bool(times), "points": rows}
    TRADE.write(path, record)
    return record


def take(options: argparse.Namespace) -> Path:
    """Measure the trade of the checkpoint that the options name; what was stopped goes on. Gives the record's path."""
    path: Path = options.out / f"{options.name}.json"
    measure(options.name, measuring.source_of(options.name, options.data), path, steps=options.steps)
    return path


if __name__ == "__main__":
    options = measuring.recording(
        "Measure what the time of a step is worth, by every way of inference.",
        folder=TRADE.folder,
        steps=STEPS,
        split="split of selection",
    )
    measuring.run("trade", options, take)
