"""What the page says of arms whose records have every sequence: AVF less each arm of direct inference, paired by
sequence, and seed by seed. These are the fair arms, and the paper's presets with their baselines.

The law: only trainings at the end of their length tell one method from another. Of others the difference is told, and
that it is of their lengths.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avf_core.analysis import student
from avf_core.analysis.comparison import PROVEN, Comparison, compared, is_proven, of_cases
from avf_core.reproduction.entries import epochs_in

Record = Mapping[str, Any]
UNPROVEN = "unproven"
COMMON = "Fair arms: "  # what the titles of these groups begin with
INTRODUCTION = (
    "All arms of a seed begin at one checkpoint, a model that was trained with direct inference. AVF goes on with its",
    "own schedule; direct inference goes on with that schedule, or with AVF's seconds of the processor, at two rates",
    "and two dropouts (where the model has some), of which, and of no further training, the best by selection stands.",
    "Below: AVF less direct inference, nats per step on the reported split, the mean over seeds, paired by sequence;",
    "the larger p-value of Student's t and of flipped signs. It is of these checkpoints; every seed stands below.",
    "Where direct inference lies far below the start after AVF's time, the start was not at its end: what that column",
    "measures then is further training of the model.\n",
    "| | seeds | with AVF's schedule | with AVF's processor time and its search |\n|---|---|---|---|",
)
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


def heading(groups: Mapping[str, Sequence[Record]], titles: Mapping[str, str]) -> str:
    """What the arms are, and all of them in one table: AVF less each, paired by sequence."""
    rows = []
    for name, group in groups.items():
        found = {other: (avf, runs) for avf, runs, other in tested(group)}
        cells = [_cell(*found[ARMS[role]]) if ARMS[role] in found else "–" for role in ("same", "time")]
        seeds = max((len(avf) for avf, _ in found.values()), default=0)
        rows.append(f"| {titles[name].removeprefix(COMMON)} | {seeds} | {' | '.join(cells)} |")
    return "\n".join([*INTRODUCTION, *rows, ""])


def _cell(avf: Sequence[Record], other: Sequence[Record]) -> str:
    """A difference with its error and what it proves."""
    found = compared(*_energies(avf, other))
    verdict = f"p = {max(found.p_t, found.p_flips):.2g}: {_verdict(found)}"
    return f"{student.told(found.difference, found.standard_error)}, {unended([*avf, *other]).strip() or verdict}"


def proven(group: Sequence[Record]) -> list[str]:
    """In a few words, which arm is ahead of which, where that is proven."""
    said = []
    for avf, other, name in tested(group):
        found, direct = compared(*_energies(avf, other)), f"direct inference {name}"
        if not unended([*avf, *other]) and _verdict(found) != UNPROVEN:
            said.append(f"AVF is ahead of {direct}" if found.difference < 0.0 else f"{direct} is ahead of AVF")
    return said


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
    found, least = of_cases(gaps), 2.0 ** (1 - len(gaps))
    verdict = "proven" if is_proven(found.p_t, found.p_flips) else UNPROVEN
    limit = f", the least that {len(gaps)} can give" if found.p_flips <= least and least >= PROVEN else ""
    return (
        f"over trainings, p = {found.p_t:.2g} (Student's t) and {found.p_flips:.2g} (flipped signs{limit}): {verdict}"
    )


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
    if not is_proven(found.p_t, found.p_flips):
        return UNPROVEN
    return "AVF is ahead" if found.difference < 0.0 else "direct inference is ahead"
