"""What does one filtering step cost, by batch size, iterative against direct inference?

    python -m benchmarks.steps [--json]

The two are timed in turns, in one process, on one thread; figures are medians over the rounds.
"""

import argparse
import json
import platform
import statistics
import time

import torch

from avf_core import configuration
from avf_core.filtering import Filter
from avf_core.training import presets

ROUNDS = 30
BATCHES = (1, 16, 64, 256)
FILTERS = ("srnn-jsb", "srnn-jsb-best", "srnn-jsb-direct")


def built(name: str) -> Filter:
    """The filter of a preset with random weights: its cost is that of a trained one."""
    torch.manual_seed(0)
    return configuration.build(presets.get(name).settings).eval().requires_grad_(False)


@torch.no_grad()
def milliseconds(filters: dict[str, Filter], batch: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of a step of `batch` sequences, the filters taking turns."""
    x = (torch.rand(batch, 88, generator=torch.Generator().manual_seed(0)) > 0.95).float()
    beliefs = {name: filter.initial(torch.arange(batch)) for name, filter in filters.items()}
    times: dict[str, list[float]] = {name: [] for name in filters}
    for turn in range(rounds + 3):
        for name, filter in filters.items():
            start = time.perf_counter()
            beliefs[name], _ = filter.step(beliefs[name], x)
            if turn >= 3:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    filters = {name: built(name) for name in FILTERS}
    table = {batch: milliseconds(filters, batch, options.rounds) for batch in BATCHES}
    if options.json:
        print(json.dumps({"torch": torch.__version__, "machine": platform.machine(), "milliseconds": table}))
        return
    print("| batch | " + " | ".join(f"{name}, ms" for name in FILTERS) + " |")
    print("|---" * (len(FILTERS) + 1) + "|")
    for batch, row in table.items():
        print(f"| {batch} | " + " | ".join(f"{row[name]:.2f}" for name in FILTERS) + " |")


if __name__ == "__main__":
    main()
