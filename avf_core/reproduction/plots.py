"""Plots of training runs, drawn from their records."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from avf_core.analysis.operating import Point
from avf_core.training.model_card import point_of

COLOURS = {"start": "#94a3b8", "baseline": "#d97706", "avf": "#2563eb", "bound": "#059669"}
COLOURS |= {"ships": "#7c3aed", "no-latent": "#dc2626"}
CYCLE = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#dc2626", "#0891b2")
LABELS = {"start": "start", "baseline": "baseline", "avf": "AVF", "bound": "for the bound"}
LABELS |= {"ships": "ships", "no-latent": "no latent"}
UNIT = "free energy, nats per step"


def learning_curve(history: list[dict[str, Any]], *, title: str) -> bytes:
    """Validation free energy, and its KL part, against updates, as a PNG."""
    figure, (energy, divergence) = _figure(2, widths=(2.0, 1.0))
    updates = [record["updates"] for record in history]
    pooled = [record["valid"]["free_energy_pooled"] for record in history]
    energy.plot(updates, pooled, color=COLOURS["avf"], label="free energy")
    prior = [record["valid"]["free_energy_by_iteration"][0] for record in history]
    if prior != pooled:
        energy.plot(updates, prior, color=COLOURS["start"], label="at the prior, before inference")
    best = min(range(len(pooled)), key=pooled.__getitem__)
    energy.annotate(
        f"best {pooled[best]:.3f}",
        (updates[best], pooled[best]),
        xytext=(0, 24),
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": "#64748b"},
        ha="center",
    )
    energy.set_ylim(*_limits(pooled))
    energy.set(title=f"{title}, validation", xlabel="updates", ylabel="nats per step")
    energy.legend(frameon=False)
    divergence.plot(updates, [record["valid"]["kl"] for record in history], color=COLOURS["baseline"])
    divergence.set(title="KL", xlabel="updates", ylabel="nats per step")
    return _png(figure, dpi=120)


def results(records: Sequence[Mapping[str, Any]], *, title: str) -> bytes:
    """The records of a group as a PNG: learning; F by iterations at test time; F by iterations in training."""
    seed = min(record["entry"]["seed"] for record in records)
    iterating = [r for r in records if len(r["test_by_iterations"]) > 1 and r["entry"]["seed"] == seed]
    curve = sorted((r for r in records if r["entry"]["role"] == "curve"), key=lambda r: int(r["test"]["iterations"]))
    figure, axes = _figure(1 + bool(iterating) + bool(curve), widths=(3.0, 2.0, 2.0))
    _learning(axes[0], [r for r in records if r["entry"]["role"] != "curve"] or records, title)
    if iterating:
        _at_test_time(axes[1], iterating, [r for r in records if r["entry"]["role"] == "baseline"])
    if curve:
        _in_training(axes[-1], curve)
    return _png(figure, dpi=110)


def reliability(record: Mapping[str, Any], *, level: float) -> bytes:
    """What was said against what came, or bands against what they hold; and p-values by piece, as a PNG."""
    figure, axes = _figure(1 + bool(record["below"]), widths=(1.0, 1.0))
    axes[0].plot([0, 1], [0, 1], color=COLOURS["start"], linestyle="--")
    if record["covered"] is not None:
        axes[0].plot(record["levels"], record["covered"], color=COLOURS["avf"], marker="o", markersize=3)
        axes[0].set(title=f"{record['model']}: bands", xlabel="level of the band", ylabel="part within")
    else:
        for key, label, colour in (
            ("served", "served", COLOURS["avf"]),
            ("at_prior_mean", "at the prior's mean", COLOURS["baseline"]),
        ):
            bins = record[key]
            axes[0].plot(bins["said"], bins["came"], color=colour, marker="o", markersize=3, label=label)
        axes[0].set(title=f"{record['model']}: notes", xlabel="probability that was said", ylabel="part that came")
        axes[0].legend(frameon=False)
    if record["below"]:
        axes[1].hist(record["below"], bins=20, color=COLOURS["avf"], alpha=0.7)
        axes[1].axvline(level, color=COLOURS["start"], linestyle="--")
        axes[1].set(title="p-values by piece", xlabel=f"part of steps with p < {level:g}", ylabel="pieces")
    return _png(figure, dpi=90)


def trade(record: Mapping[str, Any], *, shipped: Point) -> bytes:
    """F, and the bound where there are particles, against milliseconds, alone and of a batch of 64, as a PNG."""
    figure, axes = _figure(2, widths=(1.0, 1.0))
    for one, time, title in ((axes[0], "ms_1", "alone"), (axes[1], "ms_64", "of a batch of 64")):
        for way, colour in zip(("iterative", "direct", "gradient"), CYCLE, strict=False):
            rows = [row for row in record["points"] if row["way"] == way]
            for marker, some, label in (
                ("o", [row for row in rows if row["particles"] == 1], f"{way}, F"),
                ("^", [row for row in rows if row["particles"] > 1], f"{way} with particles, bound"),
            ):
                if some:
                    energies = [row["free_energy"] for row in some]
                    one.plot([row[time] for row in some], energies, marker, color=colour, label=label, alpha=0.7)
        ships = "direct" if shipped.iterations is None else "iterative"
        for row in record["points"]:
            if (row["way"], point_of(row)) == (ships, shipped):
                one.plot(row[time], row["free_energy"], "s", color="black", fillstyle="none", markersize=10)
        one.set_ylim(*_limits([row["free_energy"] for row in record["points"]]))
        one.set(
            title=f"{record['model']}, {title}", xlabel="milliseconds of a row", ylabel="nats per step", xscale="log"
        )
    axes[0].legend(frameon=False, fontsize="x-small")
    return _png(figure, dpi=90)


def _png(figure: Figure, *, dpi: int) -> bytes:
    drawn = BytesIO()
    figure.savefig(drawn, dpi=dpi)
    return drawn.getvalue()


def _learning(axes: Axes, records: Sequence[Mapping[str, Any]], title: str) -> None:
    """Validation free energy against updates, those of the start included."""
    labelled: set[str] = set()
    for record in records:
        role, curve = record["entry"]["role"], record["curve"]
        label = "_" if role in labelled else LABELS.get(role, role)
        labelled.add(role)
        updates = [record["updates_before"] + n for n in curve["updates"]]
        axes.plot(updates, curve["free_energy"], color=COLOURS.get(role, CYCLE[0]), label=label, alpha=0.8)
    axes.set_ylim(*_limits([f for record in records for f in record["curve"]["free_energy"]]))
    axes.set(title=f"{title}, validation", xlabel="updates", ylabel=UNIT)
    axes.legend(frameon=False)


def _at_test_time(axes: Axes, records: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]]) -> None:
    """Free energy against inference iterations at test time, from one on; those trained are marked."""
    for colour, record in zip(CYCLE * len(records), records, strict=False):
        points = [point for point in record["test_by_iterations"] if point["iterations"]]
        counts = [point["iterations"] for point in points]
        energies = [point["free_energy_pooled"] for point in points]
        axes.plot(counts, energies, color=colour, label=record["entry"]["name"])
        trained = record["test"]["iterations"]
        axes.plot([trained], [record["test"]["free_energy_pooled"]], "o", color=colour)
    if baselines:
        level = sum(r["test"]["free_energy_pooled"] for r in baselines) / len(baselines)
        axes.axhline(level, color=COLOURS["baseline"], linestyle="--", label="baseline")
    axes.set(title=f"{records[0]['reported']}, by iterations at test time", xlabel="iterations", ylabel=UNIT)
    axes.legend(frameon=False, fontsize="x-small")


def _in_training(axes: Axes, curve: Sequence[Mapping[str, Any]]) -> None:
    """Free energy against iterations in training (the paper's Figure 4a)."""
    counts = [record["test"]["iterations"] for record in curve]
    for split, key, colour in (("selection", "valid", CYCLE[1]), ("reported", "test", CYCLE[0])):
        energies = [record[key]["free_energy_pooled"] for record in curve]
        axes.plot(counts, energies, color=colour, marker="o", label=curve[0][split])
    axes.set(title="by iterations in training", xlabel="iterations", ylabel=UNIT, xticks=counts)
    axes.legend(frameon=False)


def _figure(panels: int, *, widths: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side."""
    chosen = widths[:panels]
    figure = Figure(figsize=(2.2 * sum(chosen) + 1.5 if panels > 2 else 4.5 * panels + 1.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, width_ratios=chosen, squeeze=False)[0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
    return figure, axes


def _limits(energies: Sequence[float]) -> tuple[float, float]:
    """From a little under the best to where most of a run is; its beginning may be cut off."""
    best, middle, worst = min(energies), median(energies), max(energies)
    top = min(worst, best + 4.0 * (middle - best) + 0.02 * abs(best))
    room = 0.08 * (top - best) + 1e-3 * abs(best) + 1e-3
    return best - room, top + room
