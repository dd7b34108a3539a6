"""How many times the authors' loop is the trainer, for the same model, schedule and machine?

    python -m benchmarks.training [--json] [--preset NAME] [--rounds N]

The plain loop is eager PyTorch in float32, in the manner of the authors' public code: at each time step inference as in
`benchmarks.authors`, which says what is theirs; then the model once more and F for theta, whose gradients come at the
end of the clip. Their copies of phi's gradients (`collect`) and their statistics on the way are left out. It takes
turns with the trainer in one process, on one thread; figures are medians over the rounds, of the thread's CPU time,
which other processes on the machine disturb least.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avf_core import configuration
from avf_core.filtering import Filter
from avf_core.native import library, running
from avf_core.training import presets
from avf_core.training.clips import clip_batch
from avf_core.training.config import TrainingConfig
from avf_core.training.em import Clip
from avf_core.training.trainer import Run, Trainer
from benchmarks import results
from benchmarks.authors import Reference

ROUNDS = 7


class PlainLoop:
    """The same updates as the trainer's, written straight down."""

    def __init__(self, filter: Filter, config: TrainingConfig) -> None:
        self.filter, self.online = filter.train(), config.phi_steps == "online"
        self.reference = Reference(filter)
        self.theta = torch.optim.Adam(filter.model.parameters(), lr=config.theta_rate)
        self.phi = torch.optim.Adam(filter.inference.parameters(), lr=config.phi_rate)

    def update(self, clip: Clip) -> float:
        """One clip batch; the mean free energy per frame."""
        model = self.filter.model
        state, total = model.initial(len(clip.seeds)), torch.zeros(())
        self.phi.zero_grad()
        for x in clip.xs:
            posterior, _ = self.reference.infer(state, x)
            if self.online:
                self.phi.step()
                self.phi.zero_grad()
            (reconstruction, kl), z, context = self.reference.terms(state, posterior, x)
            total = total + (reconstruction + kl).mean()
            state = model.transition(context, x, z)
        self.theta.zero_grad()
        total.backward()
        if not self.online:
            self.phi.step()
        self.theta.step()
        return float(total.detach()) / len(clip.xs)


def contestants(name: str, changes: dict[str, Any]) -> tuple[dict[str, Callable[[Clip], object]], Clip, TrainingConfig]:
    """Updates on copies of one filter, by name: the trainer's in both precisions and the plain loop's; and a clip."""
    preset = presets.override(presets.get(name), changes)
    generator = np.random.default_rng(0)
    rolls = [(generator.random((100, 88)) < 0.05).astype(np.uint8) for _ in range(preset.training.batch_size)]
    torch.manual_seed(0)
    filter = configuration.build(preset.settings)
    folder = Path(tempfile.mkdtemp())
    run = Run(settings=preset.settings, config=preset.training, train=rolls, valid=rolls[:1], facts={}, folder=folder)
    precise, mixed = (
        Trainer(run, copy.deepcopy(filter), Silent(), precision=precision) for precision in ("float32", "bfloat16")
    )
    plain = PlainLoop(filter, preset.training)

    def with_mixed_products(clip: Clip) -> object:
        torch.set_float32_matmul_precision("medium")  # as `avf train` does by default
        try:
            return mixed.update(clip)
        finally:
            torch.set_float32_matmul_precision("highest")

    updates = {"plain loop": plain.update, "trainer, float32": precise.update, "trainer": with_mixed_products}
    return updates, clip_batch(rolls, preset.training, 0, 0), preset.training


class Silent:
    """A listener that hears nothing."""

    def updated(self, *_: object) -> None:
        """Nothing to show."""

    def validated(self, *_: object) -> None:
        """Nothing to show."""


def seconds(updates: dict[str, Callable[[Clip], object]], clip: Clip, rounds: int) -> dict[str, float]:
    """Median CPU seconds of an update, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in updates}
    for turn in range(rounds + 1):
        for name, update in updates.items():
            start = time.thread_time()
            update(clip)
            if turn:
                times[name].append(time.thread_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(name: str, phi_steps: str, rounds: int) -> dict[str, Any]:
    """A row of the table: frames a second, and how many times the plain loop's."""
    updates, clip, config = contestants(name, {"training.phi_steps": phi_steps})
    taken = seconds(updates, clip, rounds)
    frames = config.clip_length * config.batch_size
    ratios = {key: taken["plain loop"] / value for key, value in taken.items()}
    rates = {key: frames / value for key, value in taken.items()}
    return {"preset": name, "phi_steps": phi_steps, "frames_per_second": rates, "ratio": ratios}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--presets", nargs="+", default=["srnn-jsb-best", "paper-jsb", "paper-nottingham"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.presets:
        for phi_steps in ("online", "clip"):
            rows.append(measure(name, phi_steps, options.rounds))
            results.say(f"{name}, {phi_steps}: {rows[-1]['ratio']['trainer']:.2f} times the plain loop")
    if options.json:
        print(json.dumps({"torch": torch.__version__, "machine": results.machine(), "rows": rows}))
        return
    print(f"E-steps by {'torch' if running.chosen() == 'off' or library.load() is None else 'the native executor'}")
    print("| preset | phi steps | plain loop, frames/s | trainer in float32 | trainer | ratio in float32 | ratio |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        rates = [f"{row['frames_per_second'][key]:.0f}" for key in ("plain loop", "trainer, float32", "trainer")]
        ratios = [f"{row['ratio'][key]:.1f}" for key in ("trainer, float32", "trainer")]
        print(f"| {row['preset']} | {row['phi_steps']} | {' | '.join(rates + ratios)} |", flush=True)


if __name__ == "__main__":
    main()
