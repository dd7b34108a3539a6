"""How many steps a second does a GPU make, by the batch, and are they those of the CPU?

    python -m benchmarks.gpu --json [--quick] [--device cuda] [--minutes 8]

For every checkpoint and for the paper's presets at full size, with random weights: beliefs lie in slots on the device
(`avf_core.slots`), a tick of `batch` of them is three copies, a graph and one wait, and steps a second are those of
ticks one after the other, by the clock. `differs` is the largest relative difference of F from that of the CPU over a
stretch of steps on the same noise, and `equal` says whether it is below 1e-3. All is over within so many minutes: what
there was no time for is left out, the largest batches first. Where there is no such device, that is all it says.
"""

import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from avf_core import checkpoints, configuration, devices
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.native import running
from avf_core.slots import Slots
from avf_core.training import presets
from benchmarks import results

BATCHES = (1, 4, 16, 64, 256, 1024)
PRESETS = ("paper-jsb", "paper-srnn-speech", "paper-vrnn-speech", "paper-actions")
CLOSE = 1e-3
STRETCH, COMPARED = 6, 4  # steps and sequences whose F is compared
LEAST, SECONDS = 3, 0.5  # ticks, and seconds of them, for a figure


def filters() -> Iterator[tuple[str, Filter]]:
    """What is measured, by name."""
    for name in checkpoints.available():
        yield name, checkpoints.load(name).filter
    for name in PRESETS:
        torch.manual_seed(0)
        yield f"{name}, full size", configuration.build(presets.get(name).settings)


def observed(filter: Filter, *shape: int) -> torch.Tensor:
    """Observations within the model's range."""
    spec = filter.model.observation
    x = torch.rand(*shape, spec.size, generator=torch.Generator().manual_seed(0))
    return (x > 0.9).float() if (spec.low, spec.high, spec.shape) == (0.0, 1.0, None) else 0.4 + 0.1 * x


def energies(filter: Filter) -> torch.Tensor:
    """F of a stretch, on the device of the filter."""
    slots, xs = Slots(filter, COMPARED), observed(filter, STRETCH, COMPARED)
    numbers = list(range(COMPARED))
    slots.put(numbers, filter.initial(torch.arange(COMPARED, device=slots.device)))
    return torch.stack([slots.tick(numbers, x).free_energy for x in xs])


def ticks(filter: Filter, batch: int) -> float:
    """Steps a second of ticks of so many."""
    slots, x = Slots(filter, batch), observed(filter, batch)
    numbers = list(range(batch))
    slots.put(numbers, filter.initial(torch.arange(batch, device=slots.device)))
    slots.tick(numbers, x)
    made, start = 0, time.perf_counter()
    while made < LEAST or time.perf_counter() - start < SECONDS:
        slots.tick(numbers, x)
        made += 1
    return batch * made / (time.perf_counter() - start)


def measured(name: str, filter: Filter, device: torch.device, until: float, batches: tuple[int, ...]) -> dict[str, Any]:
    """The row of a model."""
    filter = filter.eval().requires_grad_(False)
    with running.using("off"):
        expected = energies(filter)
    filter = filter.to(device)
    found = energies(filter)
    differs = float(((found - expected).abs() / expected.abs().clamp(min=1.0)).max())
    row: dict[str, Any] = {"differs": differs, "equal": differs < CLOSE}
    results.say(f"{name}: F differs by {differs:.1e}")
    for batch in batches:
        if time.monotonic() > until:
            break
        row[f"batch_{batch}"] = round(ticks(filter, batch), 1)
        results.say(f"{name}: batch {batch}, {row[f'batch_{batch}']:,.0f} steps/s")
    return row


def main() -> None:
    """Measure and print."""
    parser = results.options(__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--models", type=int, help="only so many of them")
    told = parser.parse_args()
    try:
        device = devices.device(told.device)
    except ConfigurationError as error:
        print(json.dumps({"device": told.device, "missing": str(error)}) if told.json else error)
        return
    began, batches = time.monotonic(), BATCHES[:3] if told.quick else BATCHES
    chosen = list(itertools.islice(filters(), told.models))
    rows: dict[str, Any] = {}
    for place, (name, filter) in enumerate(chosen):
        left = began + 60.0 * told.minutes - time.monotonic()
        if left <= 0:
            break
        rows[name] = measured(name, filter, device, time.monotonic() + left / (len(chosen) - place), batches)
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    result = {"device": kind, "all_equal": all(row["equal"] for row in rows.values()), "models": rows}
    results.told(result | {"wall_s": round(time.monotonic() - began, 1)}, as_json=told.json)
    sys.exit(0 if result["all_equal"] else 1)


if __name__ == "__main__":
    main()
