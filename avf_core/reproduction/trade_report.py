"""The page's part on the whole trade: F, bound and milliseconds of every way of inference, by `trade`'s records."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avf_core import checkpoints
from avf_core.analysis.operating import NEAR, RELATIVE, Point
from avf_core.reproduction import plots
from avf_core.reproduction.gains import figure
from avf_core.reproduction.trade import TRADE, beside
from avf_core.training.model_card import point_of

Row = Mapping[str, Any]


def load(results: Path) -> list[dict[str, Any]]:
    """The records that are whole, by name."""
    return [record for record in TRADE.load(results) if record["complete"]]


def section(results: Path) -> str:
    """Pictures, and the ways that nothing beats at either size of a batch; empty where there is no record."""
    found = load(results)
    if not found:
        return ""
    lines = [
        "## What the time of a step is worth\n",
        "Every way of inference on the same steps of the split of selection, by `python -m avf_core.reproduction.trade",
        "NAME --data PATH`: iterations x samples, schedules of samples, direct inference and the shipped point with",
        "particles (then the energy is the bound on -log p), and gradient descent on the same model. Milliseconds of a",
        "row, processor time of one thread, in turns. Listed are ways that no other is below in both time and nats.",
        "Energies are of one pass over these steps; differences between ways were not tested, and a second seed moves",
        'them by the errors over noise that stand in "The zoo" or more. A checkpoint ships at the fastest point that',
        "costs at most 0.01 nats, or 0.01 %, on the curve of its card, which is of more steps.\n",
    ]
    for record in found:
        lines += [
            f"### `{record['model']}`\n",
            f"{record['steps']} steps of {record['data']}, {record['split']}.{_said(record)}\n",
            "| inference | nats per step | ms, alone | ms, of 64 | not beaten |",
            "|---|---|---|---|---|",
            *_rows(record),
            "",
            f"![{record['model']}: F and bound against milliseconds](images/trade-{record['model']}.png)\n",
        ]
    return "\n".join(lines)


def pictures(results: Path) -> dict[str, bytes]:
    """The plots, by their names."""
    found = {record["model"]: record for record in load(results)}
    return {f"trade-{name}.png": plots.trade(record, shipped=_shipped(name)) for name, record in found.items()}


def undominated(rows: Sequence[Row], time: str) -> list[Row]:
    """Those that no other is at once as fast and as good as, and better in one."""
    return [
        row
        for row in rows
        if not any(
            other[time] <= row[time]
            and other["free_energy"] <= row["free_energy"]
            and (other[time], other["free_energy"]) != (row[time], row["free_energy"])
            for other in rows
        )
    ]


def name_of(row: Row) -> str:
    """A way in words."""
    point = point_of(row)
    particles = f", {row['particles']} particle{'s' * (row['particles'] > 1)}" if row["particles"] > 1 else ""
    return f"{row['way']}{particles}" if point.iterations is None else f"{row['way']} {point}{particles}"


def _rows(record: Row) -> list[str]:
    alone, together = (undominated(record["points"], time) for time in ("ms_1", "ms_64"))
    shipped = _shipped(record["model"])
    lines = []
    for row in sorted(record["points"], key=lambda row: row["ms_64"]):
        where = [text for text, held in (("alone", alone), ("of 64", together)) if row in held]
        if where or is_shipped(row, shipped):
            mark = " (as it ships)" if is_shipped(row, shipped) else ""
            energy = figure(row["free_energy"])
            cells = [name_of(row) + mark, energy, f"{row['ms_1']:.3f}", f"{row['ms_64']:.4f}", ", ".join(where) or "–"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _said(record: Row) -> str:
    """Which setting ships and why, what is below it here, and where particles on direct inference win."""
    shipped = next((row for row in record["points"] if is_shipped(row, _shipped(record["model"]))), None)
    if shipped is None:
        return ""
    if shipped["way"] == "direct":
        return f" It ships as direct inference with one sample, the least there is. {_particles(record, shipped)}"
    alike = [row for row in record["points"] if row["particles"] == 1 and row["way"] == "iterative"]
    below = [row for row in alike if row["ms_64"] <= shipped["ms_64"] and row["free_energy"] < shipped["free_energy"]]
    best = min(below, key=lambda row: float(row["free_energy"]), default=None)
    here = (
        f"; here {name_of(best)} is {figure(shipped['free_energy'] - best['free_energy'])} nats below it and no slower"
        if best
        else ", and no schedule is below it here in its time"
    )
    return f" It ships at {_shipped(record['model'])}, the knee of its card's curve{here}. {_direct(record, shipped)}"


def _particles(record: Row, shipped: Row) -> str:
    """Of direct inference: what more particles gain, and whether that is worth asking for."""
    more = [row for row in record["points"] if row["way"] == "direct" and row["particles"] > 1]
    best = min(more, key=lambda row: float(row["free_energy"]), default=None)
    if best is None:
        return ""
    gain = shipped["free_energy"] - best["free_energy"]
    if gain <= max(NEAR, RELATIVE * abs(shipped["free_energy"])):
        return (
            f"Particles gain no more than {max(gain, 0.0):.4f} nats: its latent says little that one sample does not."
        )
    return (
        f"Who wants the bound has {figure(best['free_energy'])} with {best['particles']} particles, in "
        f"{best['ms_64']:.4f} ms of a batch in place of {shipped['ms_64']:.4f}: sessions ask for it by `particles`."
    )


def _direct(record: Row, shipped: Row) -> str:
    """Where particles on direct inference win: at less time than the shipped point, with no more nats."""
    baseline = beside(record["model"])
    direct = [row for row in record["points"] if row["way"] == "direct" and row["particles"] > 1]
    if baseline is None or not direct:
        return "No direct inference of its kind ships beside it."
    there = [r for r in direct if r["ms_64"] <= shipped["ms_64"] and r["free_energy"] <= shipped["free_energy"]]
    if not there:
        return (
            f"Particles on direct inference (`{baseline}`) have no fewer nats in the time that the shipped point takes "
            "of a batch."
        )
    best = min(there, key=lambda row: float(row["free_energy"]))
    return (
        f"Who wants the bound has it by direct inference: {best['particles']} particles of `{baseline}` "
        f"have {figure(best['free_energy'])} in {best['ms_64']:.4f} ms of a batch, the shipped point "
        f"{figure(shipped['free_energy'])} in {shipped['ms_64']:.4f} ms. Sessions ask for it by `particles`."
    )


def is_shipped(row: Row, shipped: Point) -> bool:
    """Whether a way is that of the card."""
    way = "direct" if shipped.iterations is None else "iterative"
    return row["way"] == way and point_of(row) == shipped


def _shipped(name: str) -> Point:
    """The point that a checkpoint of the zoo is run at."""
    folder = checkpoints.ZOO / name
    settings = json.loads((folder / checkpoints.CONFIG).read_text())
    return Point.configured(checkpoints.operated(settings, checkpoints.read_card(folder)))
