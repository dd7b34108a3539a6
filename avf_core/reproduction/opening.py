"""The first paragraph of the page of results: what was reproduced, what is below it, what was not tried.

The law: it is written from records as the tables are, and claims of one thing being better what `pairs` has proven.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from avf_core.reproduction import arms_report, pairs, paper_report
from avf_core.reproduction.entries import Group, divided_rightly
from avf_core.reproduction.paper import NOT_AT_HAND, PAPER

Record = Mapping[str, Any]
MUSIC = ("jsb", "piano", "muse", "nottingham")


def paragraph(groups: Mapping[str, Sequence[Record]], about: Mapping[str, Group], found: Sequence[Record]) -> str:
    """The paragraph, from records by group, what groups are about, and the paired tests."""
    parts = [_reproduced(groups, about), _beaten(groups, about), _proven(found, groups, about), _not_tried()]
    return "\n".join([*(part for part in parts if part), ""])


def _reproduced(groups: Mapping[str, Sequence[Record]], about: Mapping[str, Group]) -> str:
    """The equations, and how far the paper's own presets were trained."""
    figures = paper_report.reproduced(groups, about)
    runs = [run for group in groups.values() for run in group if run["table"] == "paper"]
    ended = sum(bool(run["finished"]) for run in runs)
    return (
        "**Reproduced:** the equations. A second implementation, which shares no code with this one, gives the same "
        "free energies on every checkpoint of music and of sensors and on the dense ones of speech "
        "(`tests/core/test_plain_filter.py`). It has neither convolutions nor linear prediction: the two of video, "
        "`speech` and `speech-avf` rest on tests of their emissions against scipy and quadrature."
        f" Of the paper's runs, {_figures(figures)}: of its presets as "
        f"published, from random weights, {len(runs)} of {len(PAPER)} runs have a record, and {ended} of these came to "
        "the end of their length (`avf reproduce paper --list`).\n"
    )


def _figures(found: str) -> str:
    """What was reached of the paper's own figures."""
    return f"means over sequences on test: {found}" if found else "none is at its end"


def _beaten(groups: Mapping[str, Sequence[Record]], about: Mapping[str, Group]) -> str:
    """Where a recipe of ours stands beside the paper's figure for AVF, for each arm."""
    texts, below = [], True
    for name in MUSIC:
        group, paper = groups.get(name, ()), about[name].paper
        arms = [
            [run["test"]["free_energy_sequence_mean"] for run in group if run["entry"]["role"] == role]
            for role in ("avf", "baseline")
        ]
        if paper is not None and all(arms):
            split = group[0]["data"]["splits"][group[0]["reported"]]
            bar = divided_rightly(paper[1], split["mean_inverse_length"])
            below = below and mean(arms[1]) < bar
            texts.append(f"{about[name].title} {mean(arms[0]):.2f} (direct {mean(arms[1]):.2f}; paper's AVF {bar:.2f})")
    if not texts:
        return ""
    also = (
        " Direct inference under that recipe is below the paper's AVF as well: that is the recipe's doing, and tells "
        "nothing of AVF against direct inference."
    )
    return (
        "**Below the figures that the paper prints** for its sets of music, by its model under another recipe "
        "(direct inference first, transposed clips, dropout, averaged weights), means over sequences: "
        f"{', '.join(texts)}.{also if below else ''} Figures of single sequences were not published, by them or for "
        "RNN-NADE: no difference from a printed figure can be tested as pairs, and none is proven.\n"
    )


def _proven(found: Sequence[Record], groups: Mapping[str, Sequence[Record]], about: Mapping[str, Group]) -> str:
    """AVF against direct inference, and models against textbooks: by paired tests."""
    arms: list[str] = []
    models = [f"{pairs.verdict(one)} of {_other(one)}" for one in found if pairs.verdict(one) != "unproven"]
    for name, group in groups.items():
        title = about[name].title if name in about else name
        arms += [f"{title}, {text}" for text in arms_report.proven(group)]
    proven = [*arms, *models]
    said = f"Proven by paired tests (p < 0.01, below): {'; '.join(proven)}. " if proven else ""
    return (
        f"**AVF against direct inference, and models against textbooks:** {said}All other differences on this page "
        "may be chance, or were not tested: they are unproven. A test over sequences is about these checkpoints: "
        "another training is another draw.\n"
    )


def _other(found: Record) -> str:
    return str(found["b" if found["difference"] < 0.0 else "a"]["model"])


def _not_tried() -> str:
    return f"**Not tried:** {'; '.join(NOT_AT_HAND)}. So no figure of speech or video compares with one of the paper.\n"
