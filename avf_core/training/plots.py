"""Plots of training runs, drawn from their records."""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def learning_curve(history: list[dict[str, Any]], path: Path, *, title: str) -> None:
    """Validation free energy, and its KL part, against updates, as a PNG."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    energy, divergence = figure.subplots(1, 2, width_ratios=(2, 1))
    updates = [record["updates"] for record in history]
    pooled = [record["valid"]["free_energy_pooled"] for record in history]
    energy.plot(updates, pooled, color="#2563eb", label="free energy")
    prior = [record["valid"]["free_energy_by_iteration"][0] for record in history]
    if prior != pooled:
        energy.plot(updates, prior, color="#94a3b8", label="at the prior, before inference")
    best = min(range(len(pooled)), key=pooled.__getitem__)
    energy.annotate(
        f"best {pooled[best]:.3f}",
        (updates[best], pooled[best]),
        xytext=(0, 24),
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": "#64748b"},
        ha="center",
    )
    energy.set_ylim(min(pooled) - 0.5, min(max(pooled), min(pooled) + 6.0) + 0.5)
    energy.set(title=f"{title}, validation", xlabel="updates", ylabel="nats per step")
    energy.legend(frameon=False)
    divergence.plot(updates, [record["valid"]["kl"] for record in history], color="#d97706")
    divergence.set(title="KL", xlabel="updates", ylabel="nats per step")
    for axes in (energy, divergence):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=120)
