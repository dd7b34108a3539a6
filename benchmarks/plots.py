"""Pictures of what benchmarks found, beside their JSON: bars, one picture for each set of figures by name."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

SHOWN = {
    "peers": ("steps_per_second", "p99_ms"),
    "realtime": ("streams",),
    "training": (),
}
MEANT = {
    "steps_per_second": "steps a second, 64 sessions",
    "p99_ms": "p99 of a step, ms",
    "streams": "streams of 16 kHz sound on one core",
}


def draw(name: str, found: dict[str, Any], folder: Path) -> list[Path]:
    """The pictures of one benchmark's figures."""
    return [
        _bars(found[key], MEANT[key], folder / f"{name}-{key}.png") for key in SHOWN.get(name, ()) if found.get(key)
    ]


def _bars(values: dict[str, float], meant: str, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(7.0, 0.5 + 0.4 * len(values)), layout="constrained")
    bars = axes.barh(list(values), list(values.values()), color="#3b6ea8")
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(meant)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
