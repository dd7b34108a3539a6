"""What does one filtering step cost, natively, by torch, as the authors make it, and in the version before?

    python -m benchmarks.step [--model NAME ...] [--baseline FOLDER] [--json]

Milliseconds of processor time of one thread, medians over rounds in which all of a row take turns. A turn is a few
steps, of which the last counts: so each has its own weights in the cache, as a server has that steps one model, and
none pays for what the turns of others have put there (weights of 8 MB are back after some six steps). `native` is what
`Filter.step` does by default, `float32` the same without bfloat16, `torch` without the native executor, `authors` the
step of the authors' public code in eager PyTorch (`benchmarks.authors`). All are at the iterations and samples that a
model was trained at, as the version before is. `baseline` is the `Filter.step` of commit 054c31c, from a folder with
that version or from this repository's history, in a process of its own that takes its turns. A model is a checkpoint of
the zoo, or with `preset:` before it a preset with random weights, whose cost is that of trained ones.
"""

import argparse
import copy
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avf_core import checkpoints, configuration
from avf_core.filtering import Filter
from avf_core.inference import iterative
from avf_core.native import library, running
from avf_core.training import presets
from benchmarks import results
from benchmarks.authors import Reference

BASELINE = "054c31c"
BATCHES = (1, 16, 64)
MODELS = (
    "srnn-jsb",
    "srnn-jsb-direct",
    "srnn-speech-small",
    "vrnn-speech-small",
    "svg-actions-small",
    "preset:paper-jsb",
    "preset:paper-nottingham",
)
NAMED_BEFORE = {"preset:paper-jsb": "preset:srnn-jsb", "preset:paper-nottingham": "preset:srnn-nottingham"}
"""What the baseline version calls presets that were renamed since."""
ROUNDS, WARM = 15, 2
SETTLING, SETTLED = 8, 0.03  # steps of a turn before the one that counts, and seconds after which there are no more

CHILD = """
import json, sys, time, torch
from avf_core import checkpoints, configuration
from avf_core.training import presets
torch.set_num_threads(1); torch.set_grad_enabled(False)
name, batch = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
kind, _, preset = name.rpartition(":")
filter = checkpoints.load(name).filter if not kind else configuration.build(presets.get(preset).settings).eval()
filter.requires_grad_(False)
x = torch.load(sys.argv[3])
belief = filter.initial(torch.arange(batch))
for _ in sys.stdin:
    began = time.thread_time()
    for _ in range(int(sys.argv[4])):
        belief, _ = filter.step(belief, x)
        if time.thread_time() - began > float(sys.argv[5]):
            break
    start = time.thread_time()
    belief, _ = filter.step(belief, x)
    print(time.thread_time() - start, flush=True)
"""

Turn = Callable[[], float]
"""One step, after a few that are not counted; how long it took, in seconds."""


def built(name: str) -> Filter:
    """The filter of a checkpoint, at the effort of its training, or of a preset with random weights."""
    kind, _, preset = name.rpartition(":")
    if not kind:
        checkpoint = checkpoints.load(name)
        filter = configuration.build(checkpoint.settings).eval().requires_grad_(False)
        filter.load_state_dict(checkpoint.filter.state_dict())
        return filter
    torch.manual_seed(0)
    return configuration.build(presets.get(preset).settings).eval().requires_grad_(False)


def observation(filter: Filter, batch: int) -> Tensor:
    """Something of the kind that a model observes."""
    generator, spec = torch.Generator().manual_seed(0), filter.model.observation
    if spec.high < float("inf"):
        drawn = torch.rand(batch, spec.size, generator=generator)
        return drawn if spec.shape is not None else (drawn > 0.95).float()
    return 0.05 * torch.randn(batch, spec.size, generator=generator)


def settled(step: Callable[[], None]) -> float:
    """What a step takes, after others of the same."""
    began = time.thread_time()
    for _ in range(SETTLING):
        step()
        if time.thread_time() - began > SETTLED:
            break
    start = time.thread_time()
    step()
    return time.thread_time() - start


def stepping(filter: Filter, x: Tensor, choice: running.Choice) -> Turn:
    """Steps of a filter of its own, by one of the paths."""
    own = copy.deepcopy(filter)
    held = [own.initial(torch.arange(len(x)))]

    def step() -> None:
        with torch.no_grad(), running.using(choice):
            held[0], _ = own.step(held[0], x)

    return lambda: settled(step)


def of_authors(filter: Filter, x: Tensor) -> Turn | None:
    """Steps in the authors' manner, where the filter has an update model and no pictures."""
    if not isinstance(filter.inference, iterative.Inference) or filter.model.observation.shape is not None:
        return None
    reference = Reference(copy.deepcopy(filter).requires_grad_())
    held = [filter.initial(torch.arange(len(x))).model]

    def step() -> None:
        with torch.enable_grad():
            held[0], _ = reference.step(held[0], x)

    return lambda: settled(step)


class Baseline:
    """Steps of the version before, in a process of its own, one for every line that it is sent."""

    def __init__(self, folder: Path, name: str, x: Tensor, scratch: Path) -> None:
        torch.save(x, scratch / "x.pt")
        measure = [str(len(x)), str(scratch / "x.pt"), str(SETTLING), str(SETTLED)]
        arguments = [sys.executable, "-c", CHILD, NAMED_BEFORE.get(name, name), *measure]
        paths = f"{folder}:{folder / 'clients'}"
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
            cwd=scratch,
        )

    def __call__(self) -> float:
        """One step, after a few."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def from_history(into: Path) -> Path | None:
    """The baseline's sources, from this repository where it holds them."""
    root = Path(__file__).parents[1]
    command = ["git", "-C", str(root), "archive", BASELINE, "avf_core", "clients"]
    found = subprocess.run(command, capture_output=True, check=False)
    if found.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(into, filter="data")
    return into


def measured(name: str, batch: int, *, rounds: int, baseline: Path | None, scratch: Path) -> dict[str, Any]:
    """A row: medians of all that can step this model, in milliseconds, and what the native step gains."""
    filter = built(name)
    x = observation(filter, batch)
    turns: dict[str, Turn] = {"torch": stepping(filter, x, "off")}
    if library.load() is not None:
        turns = {"native": stepping(filter, x, "auto"), "float32": stepping(filter, x, "float32"), **turns}
    if (authors := of_authors(filter, x)) is not None:
        turns["authors"] = authors
    if baseline is not None:
        turns["baseline"] = Baseline(baseline, name, x, scratch)
    times: dict[str, list[float]] = {key: [] for key in turns}
    for turn in range(rounds + WARM):
        for key, step in turns.items():
            seconds = step()
            if turn >= WARM:
                times[key].append(1e3 * seconds)
    for step in turns.values():
        if isinstance(step, Baseline):
            step.close()
    medians = {key: statistics.median(values) for key, values in times.items()}
    best = medians.get("native", medians["torch"])
    ratios = {f"to_{key}": medians[key] / best for key in ("torch", "authors", "baseline") if key in medians}
    return {"model": name, "batch": batch, **medians, **ratios}


def table(names: Sequence[str], *, rounds: int, baseline: Path | None) -> list[dict[str, Any]]:
    """A row for every model and batch."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            for batch in BATCHES:
                rows.append(measured(name, batch, rounds=rounds, baseline=baseline, scratch=Path(scratch)))
                shown = {key: results.text(value) for key, value in rows[-1].items()}
                results.say(", ".join(f"{key} {value}" for key, value in shown.items()))
    return rows


def main() -> None:
    """Measure and print."""
    parser = results.options(__doc__)
    parser.add_argument("--model", action="append", help="of the zoo, or preset:NAME; several where given again")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--baseline", type=Path, help="a folder with the version before")
    options: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        baseline = options.baseline or from_history(Path(folder))
        if baseline is None:
            results.say(f"no baseline: this repository's history has no {BASELINE}, and --baseline names no folder")
        names = options.model or MODELS[: 1 if options.quick else None]
        rows = table(names, rounds=5 if options.quick else options.rounds, baseline=baseline)
    results.told({"machine": results.machine(), "milliseconds": rows}, as_json=options.json)


if __name__ == "__main__":
    main()
