"""What is the time of a step worth: F against milliseconds, by iterations and gradient samples?

    python -m benchmarks.knee DATA [--json] [--model srnn-jsb] [--sequences 16] [--split test]

Each operating point is the checkpoint with other numbers of iterations and samples (one for all iterations, or growing
ones), evaluated on the first sequences of the data, and timed at batches of 1 and 64 in turns: processor time of one
thread for a row, medians. The knee is the fastest point at a batch of 64 that is within NEAR nats of the best.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from avf_core import checkpoints, configuration
from avf_core.analysis.evaluation import evaluate
from avf_core.checkpoints import Checkpoint
from avf_core.data import Source
from avf_core.filtering import Filter

NEAR = 0.05  # nats a step
ROUNDS = 7
BATCHES = (1, 64)
POINTS: tuple[tuple[int, int | tuple[int, ...]], ...] = (
    (1, 8),
    (2, 8),
    (3, 8),
    (5, 8),
    (5, 2),
    (5, 4),
    (3, (2, 4, 8)),
    (4, (2, 2, 4, 8)),
    (5, (2, 2, 2, 4, 8)),
)


def at(checkpoint: Checkpoint, iterations: int, samples: int | tuple[int, ...]) -> Filter:
    """The checkpoint's filter at an operating point."""
    settings = copy.deepcopy(dict(checkpoint.settings))
    settings["inference"] |= {"iterations": iterations, "samples": samples}
    filter = configuration.build(settings)
    filter.load_state_dict(checkpoint.filter.state_dict())
    return filter.eval().requires_grad_(False)


@torch.no_grad()
def milliseconds(filters: Sequence[Filter], *, batch: int) -> list[float]:
    """Processor time of a row of a step, the filters taking turns."""
    size = filters[0].model.observation.size
    x = (torch.rand(batch, size, generator=torch.Generator().manual_seed(0)) > 0.95).float()
    beliefs = [filter.step(filter.initial(torch.arange(batch)), x)[0] for filter in filters]
    times: list[list[float]] = [[] for _ in filters]
    for _ in range(ROUNDS):
        for filter, belief, taken in zip(filters, beliefs, times, strict=True):
            start = time.thread_time()
            filter.step(belief, x)
            taken.append(1e3 * (time.thread_time() - start) / batch)
    return [statistics.median(taken) for taken in times]


@torch.no_grad()
def measure(model: str, path: str, *, split: str, count: int) -> list[dict[str, Any]]:
    """F and milliseconds of every point; the last column says which is the knee."""
    checkpoint = checkpoints.load(model)
    sequences = Source(path=path).load(split)[:count]
    filters = [at(checkpoint, *point) for point in POINTS]
    times = {batch: milliseconds(filters, batch=batch) for batch in BATCHES}
    rows = []
    for i, ((iterations, samples), filter) in enumerate(zip(POINTS, filters, strict=True)):
        row = {
            "iterations": iterations,
            "samples": samples,
            "free_energy": evaluate(filter, sequences).free_energy_pooled,
        }
        rows.append(row | {f"ms_{batch}": times[batch][i] for batch in BATCHES})
    best = min(row["free_energy"] for row in rows)
    knee = min((row for row in rows if row["free_energy"] <= best + NEAR), key=lambda row: row["ms_64"])
    return [row | {"knee": row is knee} for row in rows]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a file or folder that the checkpoint's data can be read from")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="srnn-jsb")
    parser.add_argument("--split", default="test")
    parser.add_argument("--sequences", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.model, options.data, split=options.split, count=options.sequences)
    if options.json:
        print(json.dumps({"model": options.model, "points": rows}))
        return
    print("| iterations | samples | F, nats a step | ms a row, alone | ms a row of 64 | |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        samples = row["samples"] if isinstance(row["samples"], int) else ", ".join(map(str, row["samples"]))
        figures = f"{row['free_energy']:.3f} | {row['ms_1']:.2f} | {row['ms_64']:.3f}"
        print(f"| {row['iterations']} | {samples} | {figures} | {'the knee' if row['knee'] else ''} |")


if __name__ == "__main__":
    main()
