"""What the page says of arms whose records have every sequence: AVF less each arm of direct inference, paired by
sequence, and seed by seed. These are the fair arms, and the paper's presets with their baselines.

The law: only trainings at the end of their length tell one method from another. Of others the difference is told, and
that it is of their lengths.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avf_core.analysis import student
from avf_core.analysis.comparison import PROVEN, Comparison, compared, flipped
from avf_core.reproduction.entries import epochs_in

Record = Mapping[str, Any]
UNPROVEN = "unproven"
ARMS = {
    "baseline": "with its own schedule",
    "same": "with AVF's schedule",
    "time": "with AVF's processor time and its search, or none where that is better",
}


def arm(group: Sequence[Record], role: str) -> list[Record]:
    """The runs of an arm; of the one with AVF's time, of each seed the best by selection of its search and its start.

    To train no further is one of the candidates: all of them may be worse than where they began.
    """
    runs = [run for run in group if run["entry"]["role"] == role]
    if role != "time":
        return runs
    seeds = {run["entry"]["seed"] for run in runs}
    begun = [run for run in group if run["entry"]["role"] == "start" and run["entry"]["seed"] in seeds]
    best: dict[int, Record] = {}
    for run in (*runs, *begun):
        before = best.get(run["entry"]["seed"])
        if before is None or run["valid"]["free_energy_pooled"] < before["valid"]["free_energy_pooled"]:
            best[run["entry"]["seed"]] = run
    return [best[seed] for seed in sorted(best)]


def sentence(group: Sequence[Record]) -> str:
    """The paired tests, of the seeds that both arms have."""
    return "".join(f"{_paired(*found)}\n\n" for found in tested(group)).removesuffix("\n")


def proven(group: Sequence[Record]) -> list[str]:
    """In a few words, which arm is ahead of which, where that is proven."""
    ended = [found for found in tested(group) if not unended([*found[0], *found[1]])]
    tests = [(_verdict(compared(*_energies(avf, other))), name) for avf, other, name in ended]
    return [f"{ahead}, direct inference {name}" for ahead, name in tests if ahead != UNPROVEN]


def tested(group: Sequence[Record]) -> list[tuple[list[Record], list[Record], str]]:
    """AVF's runs and those of each arm, by the seeds that both have, and what the arm is."""
    avf = {run["entry"]["seed"]: run for run in group if run["entry"]["role"] == "avf" and "by_sequence" in run}
    found = []
    for role, name in ARMS.items():
        other = {run["entry"]["seed"]: run for run in arm(group, role) if "by_sequence" in run}
        seeds = sorted(avf.keys() & other.keys())
        if seeds:
            found.append(([avf[seed] for seed in seeds], [other[seed] for seed in seeds], name))
    return found


def came_to(run: Record) -> str:
    """How much of its length a run came to."""
    return f"{run['epochs']} of {_length(run)} epochs"


def unended(runs: Sequence[Record]) -> str:
    """That these runs are not at the end of their lengths, so that they tell no method from another; or nothing."""
    if all(run["finished"] or run["epochs"] >= _length(run) for run in runs):
        return ""
    lengths = ", ".join(f"{run['entry']['name']} {came_to(run)}" for run in runs)
    return f" not at the end of their lengths ({lengths}), so that this tells nothing of the methods"


def over_trainings(gaps: np.ndarray) -> str:
    """Whether trainings differ by more than chance, as far as so many of them can say; `gaps` are of shape (seeds,)."""
    if len(gaps) < 2:
        return "over trainings, one seed proves nothing"
    t = float(gaps.mean() / (gaps.std(ddof=1) / len(gaps) ** 0.5))
    p_t, p_flips, least = student.tail(t, len(gaps) - 1), flipped(gaps), 2.0 ** (1 - len(gaps))
    verdict = "proven" if max(p_t, p_flips) < PROVEN else UNPROVEN
    limit = f", the least that {len(gaps)} can give" if p_flips <= least and least >= PROVEN else ""
    return f"over trainings, p = {p_t:.2g} (Student's t) and {p_flips:.2g} (flipped signs{limit}): {verdict}"


def _length(run: Record) -> int:
    return epochs_in(run["entry"].get("changes", ())) or int(run["training"]["epochs"])


def _paired(avf: Sequence[Record], other: Sequence[Record], name: str) -> str:
    first, second, steps = _energies(avf, other)
    found = compared(first, second, steps)
    gaps = (first - second).sum(1) / found.steps
    short = unended([*avf, *other])
    each = ", ".join(f"{gap:+.3f} (seed {run['entry']['seed']})" for gap, run in zip(gaps, avf, strict=True))
    trainings = "" if short or len(gaps) < 2 else f"; {over_trainings(gaps)}"
    return (
        f"AVF less direct inference {name}: {student.told(found.difference, found.standard_error)} over "
        f"{found.sequences} sequences, p = {found.p_t:.2g} (Student's t), {found.p_flips:.2g} (flipped signs):"
        f"{short or f' {_verdict(found)}'}; {each}{trainings}."
    )


def _energies(avf: Sequence[Record], other: Sequence[Record]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, second = (np.array([run["by_sequence"]["energies"] for run in runs]) for runs in (avf, other))
    return first, second, np.array(avf[0]["by_sequence"]["steps"])


def _verdict(found: Comparison) -> str:
    if max(found.p_t, found.p_flips) >= PROVEN:
        return UNPROVEN
    return "AVF is ahead" if found.difference < 0.0 else "direct inference is ahead"
