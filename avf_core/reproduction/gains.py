"""What inference takes off, in words and as a table: off the prior's F where that means something, or off a textbook's.

The law: no percentage is of a prior that a few frames rule, which is one whose F is far beyond what is left: where a
few frames of every sequence cost so much, a median over sequences says no more than the mean. Else it is the median;
records of before have the mean only.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from avf_core.analysis import student

Record = Mapping[str, Any]
RULED = 4.0  # times the final F: a prior's F beyond is that of a few frames


def figure(value: float, error: float | None = None) -> str:
    """An energy in nats per step with the digits that its error allows; three, or one where it is large."""
    known = error if error else 0.4 if abs(value) >= 100.0 else 0.004
    return student.told(value, None, by=known)


def unmeasured(value: float) -> float:
    """The error by which a figure is told whose own was not measured: what one seed of noise moves it by."""
    return 0.4 if abs(value) >= 100.0 else 0.02


def share(run: Record) -> float | None:
    """What inference took off the prior's F, in per cent; None where it would be of a few frames."""
    test = run["test"]
    if abs(test["free_energy_by_iteration"][0]) > RULED * abs(test["free_energy_pooled"]):
        return None
    median = test.get("median_improvement")
    return 100.0 * float(test["improvement"] if median is None else median)


def sentence(group: Sequence[Record], floors: Sequence[tuple[str, float]]) -> str:
    """What inference takes off, by iterations, as in the paper's Figure 4b; beside the best textbook."""
    iterating = [run for run in group if run["test"]["iterations"]]
    by_iterations: dict[int, list[float]] = {}
    for run in iterating:
        taken = share(run)
        if taken is not None:
            by_iterations.setdefault(run["test"]["iterations"], []).append(taken)
    texts = [f"{mean(found):.1f} % with {n}" for n, found in sorted(by_iterations.items())]
    said = [f"Inference takes off the prior's free energy, by iterations: {', '.join(texts)}."] if texts else []
    if iterating and not texts:
        said.append("Of the prior's free energy, which a few frames rule, no percentage is told.")
    if not texts and floors:
        best = min(run["test"]["free_energy_pooled"] for run in group)
        said.append(f"The best row stands at {figure(best - floors[0][1])} nats beside {floors[0][0]}.")
    return f"{' '.join(said)}\n" if said else ""


def curve_table(group: Sequence[Record], floors: Sequence[tuple[str, float]]) -> str:
    """Free energy against iterations in training."""
    runs = sorted((r for r in group if r["entry"]["role"] == "curve"), key=lambda r: r["test"]["iterations"])
    if not runs:
        return ""
    shares = [share(run) for run in runs]
    told = None not in shares
    last = "off the prior's F" if told or not floors else f"beside {floors[0][0]}"
    lines = [
        f"| iterations in training | {runs[0]['selection']}, pooled | {runs[0]['reported']}, pooled "
        f"| {last} | updates | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for run, taken in zip(runs, shares, strict=True):
        energy = run["test"]["free_energy_pooled"]
        gain = f"{taken:.1f} %" if told and taken is not None else figure(energy - floors[0][1]) if floors else "–"
        lines.append(
            f"| {run['test']['iterations']} | {figure(run['valid']['free_energy_pooled'])} "
            f"| {figure(energy)} | {gain} | {run['updates_in_all']} | {run['seconds_in_all'] / 60.0:.0f} |"
        )
    return "\n".join([*lines, ""])
