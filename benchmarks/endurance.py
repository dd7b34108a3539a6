"""Does one stream stay finite, and its free energy where it was, over a hundred thousand online steps in float32?

    python -m benchmarks.endurance [--steps 100000] [--json]

A tiny SRNN and a tiny LGSSM with AVF, one row a step, one thread: what is measured is the recurrence, not the network.
Observations are drawn at random, with a gap of 100 steps and a burst of 1e6 (of ones, where observations are binary)
in every 10,000.
"""

import argparse
import json
import time

import torch

from avf_core import configuration
from avf_core.filtering import Filter

SRNN = {"kind": "srnn", "observation_size": 6, "latent_size": 4, "hidden_size": 8, "prior_widths": [8]}
AVF = {"kind": "iterative", "units": 16, "rule": "learned_sgd"}
FILTERS = {
    "srnn, Bernoulli": {"model": {**SRNN, "decoder_widths": [8]}, "inference": AVF},
    "srnn, Gaussian": {"model": {**SRNN, "decoder_widths": [8], "likelihood": "gaussian"}, "inference": AVF},
    "lgssm": {"model": {"kind": "lgssm"}, "inference": AVF},
}


@torch.no_grad()
def run(filter: Filter, steps: int) -> dict[str, float | bool]:
    """Filter one stream and say how it went; F is averaged over quiet steps of the first and the last tenth."""
    spec = filter.model.observation
    generator = torch.Generator().manual_seed(0)
    belief = filter.initial(torch.tensor([0]))
    energies = []
    start = time.perf_counter()
    for step in range(steps):
        x = torch.randn(1, spec.size, generator=generator)
        phase = step % 10_000
        if 5_000 <= phase < 5_003:
            x = torch.full_like(x, 1e6)
        x = (x > 0.5).float() if spec.high == 1.0 else x
        observed = torch.zeros_like(x, dtype=torch.bool) if 7_000 <= phase < 7_100 else None
        belief, estimate = filter.step(belief, x, observed=observed)
        energies.append(estimate.free_energy)
    seconds = time.perf_counter() - start
    every = torch.cat(energies)
    quiet = every[: steps // 10][:4_000], every[-(steps // 10) :][:4_000]
    return {
        "finite": bool(every.isfinite().all() and all(t.isfinite().all() for t in belief.model.values())),
        "first_free_energy": float(quiet[0].mean()),
        "last_free_energy": float(quiet[1].mean()),
        "milliseconds": 1e3 * seconds / steps,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--steps", type=int, default=100_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if not options.json:
        print(f"| {options.steps:,} steps of | finite | F of the first, nats | F of the last, nats | ms a step |")
        print("|---|---|---|---|---|", flush=True)
    table = {}
    for name, settings in FILTERS.items():
        filter = configuration.build(settings).eval().requires_grad_(False)
        row = table[name] = run(filter, options.steps)
        if not options.json:
            finite, first, last = "yes" if row["finite"] else "NO", row["first_free_energy"], row["last_free_energy"]
            print(f"| {name} | {finite} | {first:.3f} | {last:.3f} | {row['milliseconds']:.2f} |", flush=True)
    if options.json:
        print(json.dumps({"torch": torch.__version__, "steps": options.steps, "filters": table}))


if __name__ == "__main__":
    main()
