"""How near is the native step to what the machine can do?

    python -m benchmarks.roofline [--model NAME ...] [--json]

`gflops` counts the products that a step needs, forwards and backwards, over the step's whole processor time on one
thread; `share` is that of the time which these products would take at the peak of their data types. Peaks are of
large products in this run, by torch or by the executor's own kernels, whichever is faster; `weights_gb` is what a step
reads of matrices, each as often as it is multiplied with, and `bound_by` what would limit a step that did nothing else:
products, or reading these at the speed of a copy. A model is a checkpoint of the zoo, or a preset with random weights;
one of the paper's needs no `paper-` before it (`vrnn-speech`).
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from avf_core import checkpoints
from avf_core.filtering import Filter
from avf_core.native import library, running
from avf_core.native.engine import Engine
from avf_core.native.plan import InferencePlan, ModelPlan, Program
from avf_core.training import presets
from benchmarks import results
from benchmarks.step import built, observation, stepping

MODELS = ("srnn-jsb", "srnn-speech-small", "vrnn-speech-small", "paper-vrnn-speech")
BATCHES = (1, 16, 64)
ROWS, SIZE = 192, 1024  # of the products that peaks are measured by
PRECISIONS: tuple[running.Choice, ...] = ("float32", "mixed")


def weights(program: Program) -> int:
    """The numbers of a program's matrices."""
    return sum(block.numel() for one in program.operations if one.weights is not None for block, _ in one.weights())


def needed(model: ModelPlan, inference: InferencePlan) -> dict[str, tuple[int, int]]:
    """What a step of one row multiplies, and what it reads: numbers of weights, in the search and beside it."""
    descent = inference.descent
    decode, infer = weights(model.decode), weights(inference.infer)
    beside = weights(model.predict) + weights(model.features) + decode + weights(model.transition)
    if descent is None:
        return {"search": (0, 0), "beside": (beside + infer, beside + infer)}
    samples = [descent.samples[min(i, len(descent.samples) - 1)] for i in range(descent.iterations)]
    # The gradient goes through the decoder forwards and backwards, sample by sample.
    search = 2 * decode * sum(samples) + infer * len(samples)
    return {"search": (search, (2 * decode + infer) * len(samples)), "beside": (beside, beside)}


def peaks(engine: Engine) -> dict[str, float]:
    """GFLOPS of large products: by torch, and by the executor's kernels."""
    weight, x = torch.randn(SIZE, SIZE), torch.randn(ROWS, SIZE)
    work: dict[str, Callable[[], object]] = {
        "torch_float32": lambda: x @ weight,
        "torch_bfloat16": partial(torch.mm, x.bfloat16(), weight.bfloat16()),
        "native_float32": partial(engine.multiplier(weight), x),
    }
    if engine.mixed:
        work["native_bfloat16"] = partial(engine.multiplier(weight, halves=True), x)
    return {name: 2e-9 * ROWS * SIZE**2 / results.median_seconds(one, 15) for name, one in work.items()}


def engine_of(filter: Filter, *, mixed: bool) -> Engine:
    """An engine of the filter's plan. Raises Undescribed where it has none."""
    found = library.load()
    if found is None:
        raise SystemExit(f"there is no native executor to measure: {library.why_not()}")
    model, inference, registers = running.plans(filter)
    return Engine(registers, model, inference, library=found, mixed=mixed)


def found_as(name: str) -> str:
    """The name as `built` takes it: a checkpoint's, or `preset:` and that of a preset, of the paper's first."""
    paper = f"paper-{name}"
    return name if name in checkpoints.available() else f"preset:{paper if paper in presets.names() else name}"


def rows_of(name: str, rounds: int) -> list[dict[str, Any]]:
    """A row for every batch and precision."""
    filter = built(found_as(name))
    model, inference, _ = running.plans(filter)
    need, searched = needed(model, inference), inference.descent is not None
    mixes = searched and (found := library.load()) is not None and found.mixes
    rows = []
    for batch in BATCHES:
        for precision in PRECISIONS[: 2 if mixes else 1]:
            turn = stepping(filter, observation(filter, batch), precision)
            seconds = statistics.median([turn() for _ in range(rounds + 2)][2:])
            rows.append(
                {"model": name, "batch": batch, "precision": precision, **judged(need, batch, precision, seconds)}
            )
            results.say(", ".join(f"{key} {results.text(value)}" for key, value in rows[-1].items()))
    return rows


def judged(need: dict[str, tuple[int, int]], batch: int, precision: str, seconds: float) -> dict[str, Any]:
    """A step's figures beside the machine's."""
    halves = precision == "mixed"
    peak = {"search": PEAKS["bfloat16" if halves else "float32"], "beside": PEAKS["float32"]}
    least = sum(2e-9 * batch * need[part][0] / peak[part] for part in need)
    gigabytes = 1e-9 * (need["search"][1] * (2 if halves else 4) + need["beside"][1] * 4)
    reading = gigabytes / PEAKS["copied"]
    return {
        "milliseconds": 1e3 * seconds,
        "gflops": sum(2e-9 * batch * products for products, _ in need.values()) / seconds,
        "share": least / seconds,
        "weights_gb": gigabytes,
        "bound_by": "products" if least > reading else "reading",
        "share_of_bound": max(least, reading) / seconds,
    }


PEAKS: dict[str, float] = {}


def main() -> None:
    """Measure and print."""
    parser = results.options(__doc__)
    parser.add_argument("--model", action="append", help="of the zoo, or a preset; several where given again")
    parser.add_argument("--rounds", type=int, default=15)
    options: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(1)
    found, machine = library.load(), results.machine()
    engine = engine_of(built("srnn-jsb"), mixed=found is not None and found.mixes)
    kernels = peaks(engine)
    PEAKS["float32"] = max(kernels["torch_float32"], kernels["native_float32"])
    PEAKS["bfloat16"] = max(kernels["torch_bfloat16"], kernels.get("native_bfloat16", 0.0))
    PEAKS["copied"] = machine["copied_gb_per_second"]
    rows = [row for name in options.model or MODELS for row in rows_of(name, 5 if options.quick else options.rounds)]
    results.told({"machine": machine, "gflops": {"peak": kernels}, "steps": rows}, as_json=options.json)


if __name__ == "__main__":
    main()
