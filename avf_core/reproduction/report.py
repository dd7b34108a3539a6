"""The page of results, written from records: docs/results/TABLE/NAME.json in, docs/results.md and its plots out.

The law: no figure is typed. What people found out is in `what_paid.md` beside the records, and is taken in as it is;
the paper's figures stand in `tables`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, get_args

import avf_sources

from avf_core.analysis import student
from avf_core.reproduction import plots, records, sensor_report, zoo_report
from avf_core.reproduction.entries import Group, Role, epochs_in
from avf_core.reproduction.paper import NOT_AT_HAND
from avf_core.reproduction.tables import GROUPS, TABLES

Record = Mapping[str, Any]

HEADING = (
    "| | runs | {reported}, pooled | {reported}, mean over sequences | without first frames | KL "
    "| {selection}, pooled | epochs | updates | minutes |\n|---|---|---|---|---|---|---|---|---|---|"
)
ROWS = {
    "baseline": "baseline, direct inference",
    "avf": "AVF",
    "bound": "AVF, theta trained for the bound",
    "ships": "what ships: an emission that knows its own dimensions",
}
INTRODUCTION = """# Results

Written by `avf reproduce --report` from the records in `results/` and the cards of the zoo; no figure is typed.

Nats per step; lower is better. Every frame is scored, from the first, and sums are divided by the frames scored, over
all steps ("pooled") or first within each sequence ("mean over sequences"). Each run keeps the checkpoint that was best
on the split it is selected on, which is never the one reported. "Updates" counts those of the run and of its start;
"epochs" are the run's own, of those it has in all: where its time was up before, the row is of a run that is not at its
end. "Minutes" are those of one core in training, of all runs behind, without validation. Spreads (±) are standard
deviations over seeds.
"""
TITLES = {"music": "Music", "speech": "Speech", "video": "Video", "paper": "The paper, as published"}


def write(results: Path) -> Path:
    """Write the page and its plots beside the folder of records; gives the page's path."""
    images = results.parent / "images"
    avf_sources.make_folder(images)
    for name, group in _groups(results).items():
        picture = plots.results(group, title=_about(name).title)
        avf_sources.replace_file(images / f"results-{name}.png", picture)
    path = results.parent / f"{results.name}.md"
    avf_sources.replace_file(path, page(results))
    return path


def page(results: Path) -> str:
    """The page as Markdown, from the records in a folder."""
    parts = [INTRODUCTION]
    groups = _groups(results)
    for table in TABLES:
        found = {name: group for name, group in groups.items() if group[0]["table"] == table}
        if found:
            parts.append(f"## {TITLES.get(table, table)}\n\n```console\n$ avf reproduce {table} --data DATA\n```\n")
            if table == "paper":
                parts.append("".join(f"- Not at hand: {missing}.\n" for missing in NOT_AT_HAND))
            parts += [section(name, group) for name, group in found.items()]
    if any(record["quick"] for group in groups.values() for record in group):
        parts.append("These runs are cut down to see that all of it works: **their figures mean nothing**.\n")
    else:
        parts += [text for text in (sensor_report.section(results), zoo_report.section()) if text]
    textbooks = results / "textbooks.json"
    if textbooks.exists():
        parts.append(zoo_report.beside(json.loads(textbooks.read_text())["rows"]))
    paid = results / "what_paid.md"
    if paid.exists():
        parts.append(paid.read_text())
    return "\n".join(parts)


def section(name: str, group: Sequence[Record]) -> str:
    """What is said of the records of one group."""
    about, first = _about(name), group[0]
    reported = first["data"]["splits"][first["reported"]]
    lines = [
        f"### {about.title}\n",
        f"{first['data']['name']}: {reported['sequences']} sequences and {reported['steps']} frames in the split "
        f"{first['reported']}; selected on {first['selection']}.\n",
        HEADING.format(reported=first["reported"], selection=first["selection"]),
    ]
    for role, label in ROWS.items():
        runs = [record for record in group if record["entry"]["role"] == role]
        if runs:
            lines.append(row(f"{label}{_iterations(runs[0])}", runs))
    lines += [*_paper_rows(about, reported["mean_inverse_length"]), ""]
    said = (_ahead(group), _gain(group), _bounds(group), _floors(about), _paper_note(about), _curve_table(group))
    plot = f"![{about.title}: validation while training, and F by iterations](images/results-{name}.png)\n"
    return "\n".join([*lines, *(text for text in said if text), plot, _commands(group)])


def row(label: str, runs: Sequence[Record]) -> str:
    """A row of the table: means over the seeds, with their spread."""
    minutes = mean(run["seconds_in_all"] for run in runs) / 60.0
    cells = [
        label,
        str(len(runs)),
        f"**{_spread([run['test']['free_energy_pooled'] for run in runs])}**",
        _spread([run["test"]["free_energy_sequence_mean"] for run in runs]),
        _spread([run["test"]["free_energy_without_first_frame"] for run in runs]),
        _spread([run["test"]["kl"] for run in runs]),
        _spread([run["valid"]["free_energy_pooled"] for run in runs]),
        _epochs(runs),
        f"{mean(run['updates_in_all'] for run in runs):.0f}",
        f"{minutes:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def divided_rightly(printed: float, mean_inverse_length: float) -> float:
    """A figure of the paper, divided by the frames it scored: it leaves one frame of each sequence out.

    Its mean over sequences of (sum from the second frame on) / T is too low by (T - 1) / T; by its mean where lengths
    differ.
    """
    return printed / (1.0 - mean_inverse_length)


def figure(value: float, error: float | None = None) -> str:
    """An energy in nats per step with the digits that its error allows; three, or one where it is large."""
    known = error if error else 0.4 if abs(value) >= 100.0 else 0.004
    return student.told(value, None, by=known)


def _groups(results: Path) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for table in TABLES:
        for record in records.load(results, table):
            found.setdefault(record["entry"]["group"], []).append(record)
    order = [*GROUPS, *found]
    roles = get_args(Role)
    for group in found.values():
        group.sort(key=lambda record: (roles.index(record["entry"]["role"]), record["entry"]["name"]))
    return dict(sorted(found.items(), key=lambda item: order.index(item[0])))


def _about(name: str) -> Group:
    return GROUPS.get(name, Group(title=name))


def _iterations(run: Record) -> str:
    n = run["test"]["iterations"]
    return f", {n} iteration{'s' if n != 1 else ''}" if n else ""


def _epochs(runs: Sequence[Record]) -> str:
    """How far the runs came: the least and the most, of all their epochs."""
    least, most = min(run["epochs"] for run in runs), max(run["epochs"] for run in runs)
    so_far = str(most) if least == most else f"{least} to {most}"
    lengths = [epochs_in(run["entry"].get("changes", ())) or run["training"]["epochs"] for run in runs]
    return f"{so_far} of {max(lengths)}"


def _spread(values: Sequence[float]) -> str:
    text = figure(mean(values))
    return f"{text} ± {figure(stdev(values))}" if len(values) > 1 else text


def _paper_rows(about: Group, inverse: float) -> list[str]:
    if about.paper is None:
        return []
    names = ("baseline", "AVF")
    return [
        f"| {name}, paper, divided rightly | | | {divided_rightly(printed, inverse):.2f} | | | | | | |"
        for name, printed in zip(names, about.paper, strict=True)
    ]


def _paper_note(about: Group) -> str:
    if about.paper is None:
        return ""
    return (
        f"The paper (Marino, Cvitkovic & Yue 2018, Table 3) prints {about.paper[0]} for its baseline and "
        f"{about.paper[1]} for AVF: means over sequences that leave the first frame unscored but divide by all frames. "
        "In the table they are divided by the frames scored.\n"
    )


def _floors(about: Group) -> str:
    if about.floors is None:
        return ""
    return (
        f"For scale: independent notes with the training set's marginals {about.floors[0]}, the same with a Markov "
        f"chain a note {about.floors[1]} (pooled).\n"
    )


def _ahead(group: Sequence[Record]) -> str:
    """By how much AVF is ahead, seed by seed."""
    energies: dict[str, dict[int, float]] = {"baseline": {}, "avf": {}}
    for run in group:
        if run["entry"]["role"] in energies:
            energies[run["entry"]["role"]][run["entry"]["seed"]] = run["test"]["free_energy_pooled"]
    both = sorted(energies["baseline"].keys() & energies["avf"].keys())
    if not both:
        return ""
    gains = [f"{energies['avf'][seed] - energies['baseline'][seed]:+.3f}" for seed in both]
    seeds = f"seed{'s' if len(both) > 1 else ''} {', '.join(map(str, both))}"
    return f"AVF less its baseline, pooled: {', '.join(gains)} ({seeds}).\n"


def _gain(group: Sequence[Record]) -> str:
    """What inference takes off the prior's free energy, as in the paper's Figure 4b."""
    by_iterations: dict[int, list[float]] = {}
    for run in group:
        if run["test"]["iterations"]:
            by_iterations.setdefault(run["test"]["iterations"], []).append(100.0 * run["test"]["improvement"])
    texts = [f"{mean(gains):.1f} % with {n}" for n, gains in sorted(by_iterations.items())]
    return f"Inference takes off the prior's free energy, by iterations: {', '.join(texts)}.\n" if texts else ""


def _bounds(group: Sequence[Record]) -> str:
    runs = [run for run in group if run["bound"]]
    if not runs:
        return ""
    count = ", ".join(map(str, sorted({run["bound"]["particles"] for run in runs})))
    return f"The particle bound (FIVO, {count} particles) on -log p, pooled: {'; '.join(map(_bound, runs))}.\n"


def _bound(run: Record) -> str:
    """The bound beside the free energy of the same run."""
    found, energy = run["bound"]["pooled"], run["test"]["free_energy_pooled"]
    below = f"{figure(energy - found)} below its free energy of {figure(energy)}"
    return f"{figure(found)} for `{run['entry']['name']}`, {below}"


def _curve_table(group: Sequence[Record]) -> str:
    """Free energy against iterations in training."""
    runs = sorted((r for r in group if r["entry"]["role"] == "curve"), key=lambda r: r["test"]["iterations"])
    if not runs:
        return ""
    lines = [
        f"| iterations in training | {runs[0]['selection']}, pooled | {runs[0]['reported']}, pooled "
        "| off the prior's F | updates | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        lines.append(
            f"| {run['test']['iterations']} | {figure(run['valid']['free_energy_pooled'])} "
            f"| {figure(run['test']['free_energy_pooled'])} | {100.0 * run['test']['improvement']:.1f} % "
            f"| {run['updates_in_all']} | {run['seconds_in_all'] / 60.0:.0f} |"
        )
    return "\n".join([*lines, ""])


def _commands(group: Sequence[Record]) -> str:
    """The command of each entry, with its start's name."""
    lines = []
    for run in group:
        entry = run["entry"]
        typed = run["commands"][-1].replace("--out OUT", f"--out runs/{entry['name']}")
        lines.append(typed.replace("--init START", f"--init runs/{entry['start']}"))
    return "\n".join(["```console", *lines, "```", ""])
