"""What the page says of the paper's presets before their tables: how far they came, what differs, what is not there.

The law: a claim of having reproduced a figure is of runs at the end of their length, and says by how many seeds.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from avf_core.reproduction.arms_report import came_to
from avf_core.reproduction.entries import Group, divided_rightly
from avf_core.reproduction.paper import NOT_AT_HAND, PAPER

Record = Mapping[str, Any]
DIFFERS = """\
Presets of the paper's Appendix B, from random weights, trained as published. What differs from the authors' public code
(initial weights, the gradient divided by the batch, annealing, what an epoch is, the first frame), and what to expect
while the weight of KL is low, stands in [training.md](training.md#the-paper-as-published): until that weight passes 0.2
to 0.3, F stands above the prior's, here as in their code, and curves begin there. Norms of phi's gradients, in logs of
training, are means over the online steps of an update.
"""


def heading(groups: Mapping[str, Sequence[Record]]) -> str:
    """What stands above the tables: what differs, how far the runs came, and what has no entry."""
    runs = {run["entry"]["name"]: run for group in groups.values() for run in group if run["table"] == "paper"}
    left = [entry.name for entry in PAPER if entry.name not in runs]
    short = [f"{name} ({came_to(run)})" for name, run in runs.items() if not run["finished"]]
    lines = [f"{len(runs)} of {len(PAPER)} runs have a record; {len(runs) - len(short)} came to their end."]
    if short:
        lines.append(f"Not at their end: {', '.join(short)}. Their figures say how far they came, and no more.")
    if left:
        lines.append(f"Not recorded yet: {', '.join(left)}.")
    absent = "".join(f"- Not at hand: {missing}.\n" for missing in NOT_AT_HAND)
    return f"{DIFFERS}\n{' '.join(lines)}\n\n{absent}"


def reproduced(groups: Mapping[str, Sequence[Record]], about: Mapping[str, Group]) -> str:
    """The paper's figures beside those of runs at their end, for the opening; empty where there is none."""
    texts = []
    for name, group in groups.items():
        ended = [run for run in group if run["table"] == "paper" and run["finished"]]
        printed = about[name].paper if name in about else None
        if not ended or printed is None:
            continue
        inverse = ended[0]["data"]["splits"][ended[0]["reported"]]["mean_inverse_length"]
        arms = []
        for role, label, figure in (("avf", "AVF", printed[1]), ("baseline", "its baseline", printed[0])):
            found = [run["test"]["free_energy_sequence_mean"] for run in ended if run["entry"]["role"] == role]
            if found:
                seeds = f"{len(found)} seed{'s' * (len(found) > 1)}"
                arms.append(f"{label} {mean(found):.2f} ({seeds}; {divided_rightly(figure, inverse):.2f} there)")
        texts.append(f"{about[name].title.removeprefix('As published: ')}, {' and '.join(arms)}")
    return "; ".join(texts)
