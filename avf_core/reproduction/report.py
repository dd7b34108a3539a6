"""The page of results, written from records: docs/results/TABLE/NAME.json in, docs/results.md and its plots out.

The law: no figure is typed. What people found out is in `what_paid.md` beside the records, and is taken in as it is;
the paper's figures stand in `tables`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, get_args

import avf_sources
import numpy as np

from avf_core.analysis import student
from avf_core.reproduction import (
    arms_report,
    calibration,
    gains,
    opening,
    pairs,
    paper_report,
    plots,
    records,
    sensor_report,
    textbooks,
    trade_report,
    worth,
    zoo_report,
)
from avf_core.reproduction.entries import Group, Role, divided_rightly, epochs_in
from avf_core.reproduction.tables import GROUPS, TABLES

Record = Mapping[str, Any]

HEADING = (
    "| | runs | {reported}, pooled | {reported}, mean over sequences | without first frames | KL "
    "| {selection}, pooled | epochs | updates | minutes |\n|---|---|---|---|---|---|---|---|---|---|"
)
START = {"start": "direct inference, where all arms begin"}  # a row of the table `arms`
ROWS = {
    "baseline": "baseline, direct inference",
    "avf": "AVF",
    "bound": "AVF, theta trained for the bound",
    "ships": "what ships: an emission that knows its own dimensions",
    "no-latent": "the same model without its latent: the decoder hears the prior's mean",
    "same": "direct inference, AVF's schedule",
    "time": "direct inference, AVF's processor time, best by selection of its search and its start",
}
TITLE = "# Results\n"
INTRODUCTION = """## How to read this page

Written by `avf reproduce --report` from the records in `results/` and the cards of the zoo; no figure is typed.

Nats per step; lower is better. Every frame is scored, from the first, and sums are divided by the frames scored, over
all steps ("pooled") or first within each sequence ("mean over sequences"). Each run keeps the checkpoint that was best
on the split it is selected on, which is never the one reported. "Updates" counts those of the run and of its start;
"epochs" are the run's own, of those it has in all: where its time was up before, the row is of a run that is not at its
end. "Minutes" are those of one core in training, of all runs behind, without validation. Spreads (±) are standard
deviations over seeds. Runs of one seed have no spread: two trainings that differ by the seed only may lie as far apart
as two rows. Records from before errors were measured are of one pass, on one seed of noise, which on the JSB chorales
moves a pooled figure by 0.02 to 0.03: two decimals are told of them. Errors over sequences and over noise stand below
the tables where they were measured, and with what ships, in "The zoo".
"""
HUNDREDTH = 100.0  # of an error over sequences: digits below say nothing, whatever noise leaves
TITLES = {"music": "Music", "speech": "Speech", "video": "Video"}
TITLES |= {"paper": "The paper, as published", "arms": "Fair arms"}


def write(results: Path) -> Path:
    """Write the page and its plots beside the folder of records; gives the page's path."""
    images = results.parent / "images"
    avf_sources.make_folder(images)
    for name, group in _groups(results).items():
        picture = plots.results(group, title=_about(name).title)
        avf_sources.replace_file(images / f"results-{name}.png", picture)
    for name, picture in {**trade_report.pictures(results), **calibration.pictures(results)}.items():
        avf_sources.replace_file(images / name, picture)
    path = results.parent / f"{results.name}.md"
    avf_sources.replace_file(path, page(results))
    return path


def page(results: Path) -> str:
    """The page as Markdown, from the records in a folder."""
    groups = _groups(results)
    parts = [TITLE, opening.paragraph(groups, GROUPS, pairs.PAIRS.load(results)), INTRODUCTION]
    for table in TABLES:
        found = {name: group for name, group in groups.items() if group[0]["table"] == table}
        if found:
            parts.append(f"## {TITLES.get(table, table)}\n\n```console\n$ avf reproduce {table} --data DATA\n```\n")
            if table == "paper":
                parts.append(paper_report.heading(found))
            if table == "arms":
                parts.append(arms_report.heading(found, {name: _about(name).title for name in found}))
            parts += [section(name, group, textbooks.rows(results)) for name, group in found.items()]
    if any(record["quick"] for group in groups.values() for record in group):
        parts.append("These runs are cut down to see that all of it works: **their figures mean nothing**.\n")
    else:
        sections = (
            sensor_report.section(results),
            zoo_report.section(),
            pairs.section(results),
            trade_report.section(results),
            calibration.section(results),
        )
        parts += [text for text in sections if text]
    known = textbooks.rows(results)
    if known:
        parts.append(zoo_report.beside(known))
    paid = results / "what_paid.md"
    if paid.exists():
        parts.append(paid.read_text())
    return "\n".join(parts)


def section(name: str, group: Sequence[Record], known: Sequence[Record] = ()) -> str:
    """What is said of the records of one group, beside what textbooks need for the same data."""
    about, first = _about(name), group[0]
    reported = first["data"]["splits"][first["reported"]]
    lines = [
        f"### {about.title}\n",
        f"{first['data']['name']}: {reported['sequences']} sequences and {reported['steps']} frames in the split "
        f"{first['reported']}; selected on {first['selection']}.\n",
        HEADING.format(reported=first["reported"], selection=first["selection"]),
    ]
    for role, label in {**(START if first["table"] == "arms" else {}), **ROWS}.items():
        runs = arms_report.arm(group, role)
        of_one = [[run] for run in runs] if role == "ships" else [runs] * bool(runs)  # each has another recipe
        lines += [row(f"{label}{_iterations(found[0])}", found) for found in of_one]
    floors = textbooks.of(about, first["data"]["name"], first["reported"], known)
    lines += [*_paper_rows(about, reported["mean_inverse_length"]), *map(_floor_row, floors), ""]
    ahead, taken = _ahead(group), gains.sentence(group, floors)
    paired, curve = arms_report.sentence(group), gains.curve_table(group, floors)
    said = (_errors(group), ahead, paired, taken, worth.table(group), _bounds(group), _paper_note(about), curve)
    plot = f"![{about.title}: validation while training, and F by iterations](images/results-{name}.png)\n"
    return "\n".join([*lines, *(text for text in said if text), plot, _commands(group)])


def row(label: str, runs: Sequence[Record]) -> str:
    """A row of the table: means over the seeds, with their spread."""
    minutes = mean(run["seconds_in_all"] for run in runs) / 60.0
    cells = [
        label,
        str(len(runs)),
        f"**{_spread(runs, 'test', 'free_energy_pooled')}**",
        _spread(runs, "test", "free_energy_sequence_mean"),
        _spread(runs, "test", "free_energy_without_first_frame"),
        _spread(runs, "test", "kl"),
        _spread(runs, "valid", "free_energy_pooled"),
        _epochs(runs),
        f"{mean(run['updates_in_all'] for run in runs):.0f}",
        f"{minutes:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _groups(results: Path) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for table in TABLES:
        if table != sensor_report.SENSORS.folder:
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
    """How far the runs came: the least and the most, of all their epochs; of an arm with a time, where it stayed."""
    timed = [run["epochs"] for run in runs if run["entry"].get("time_of")]
    if timed:
        stayed = len(runs) - len(timed)
        return f"{_range(timed)}, by time{f'; {stayed} as it began' if stayed else ''}"
    lengths = [epochs_in(run["entry"].get("changes", ())) or run["training"]["epochs"] for run in runs]
    return f"{_range([run['epochs'] for run in runs])} of {max(lengths)}"


def _range(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return str(most) if least == most else f"{least} to {most}"


def _spread(runs: Sequence[Record], split: str, key: str) -> str:
    """The mean over seeds with their spread; of one seed as many digits as noise leaves."""
    values = [run[split][key] for run in runs]
    usual = gains.unmeasured(values[0])
    if len(values) > 1:
        spread = stdev(values)
        return student.told(mean(values), spread, by=spread or usual)
    found = runs[0][split]
    noise, error = found.get("noise_error"), found.get("standard_error") or 0.0
    return student.told(values[0], None, by=usual if noise is None else max(noise, error / HUNDREDTH))


def _errors(group: Sequence[Record]) -> str:
    """The errors of single runs, where they were measured: of each role from the least to the most."""
    told = []
    for role in ROWS:
        known = [run for run in group if run["entry"]["role"] == role and run["test"].get("noise_error") is not None]
        if known:
            names = [run["entry"]["name"] for run in known]
            sequences, noise = ([run["test"][key] for run in known] for key in ("standard_error", "noise_error"))
            told.append(f"{_ends(names)} ± {_between(sequences, 2)} over sequences, {_between(noise, 1)} over noise")
    return f"Errors of pooled figures: {'; '.join(told)}.\n" if told else ""


def _between(values: Sequence[float], digits: int) -> str:
    return _ends([f"{value:.{digits}g}" for value in sorted(values)])


def _ends(texts: Sequence[str]) -> str:
    """The first and the last of a row, or the one that they are."""
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


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


def _floor_row(floor: tuple[str, float]) -> str:
    """What a textbook needs, pooled."""
    return f"| {floor[0]} | | {student.told(floor[1], None, by=gains.unmeasured(floor[1]))} | | | | | | | |"


def _ahead(group: Sequence[Record]) -> str:
    """AVF less its baseline, seed by seed, and whether that may be chance: over seeds, by both tests."""
    arms: dict[str, dict[int, Record]] = {"baseline": {}, "avf": {}}
    for run in group:
        if run["entry"]["role"] in arms:
            arms[run["entry"]["role"]][run["entry"]["seed"]] = run
    both = sorted(arms["baseline"].keys() & arms["avf"].keys())
    if not both:
        return ""
    avf, baseline = ([arms[role][seed] for seed in both] for role in ("avf", "baseline"))
    gaps = np.array([_pooled(one) - _pooled(other) for one, other in zip(avf, baseline, strict=True)])
    seeds = f"seed{'s' if len(both) > 1 else ''} {', '.join(map(str, both))}"
    told = ", ".join(f"{'+' if gap > 0.0 else ''}{gains.figure(float(gap))}" for gap in gaps)
    verdict = arms_report.unended([*avf, *baseline]) or f" {arms_report.over_trainings(gaps)}"
    return f"AVF less its baseline, pooled: {told} ({seeds});{verdict}.\n"


def _pooled(run: Record) -> float:
    return float(run["test"]["free_energy_pooled"])


def _bounds(group: Sequence[Record]) -> str:
    runs = [run for run in group if run["bound"]]
    if not runs:
        return ""
    count = ", ".join(map(str, sorted({run["bound"]["particles"] for run in runs})))
    return f"The particle bound (FIVO, {count} particles) on -log p, pooled: {'; '.join(map(_bound, runs))}.\n"


def _bound(run: Record) -> str:
    """The bound beside the free energy of the same run."""
    found, energy = run["bound"]["pooled"], run["test"]["free_energy_pooled"]
    below = f"{gains.figure(energy - found)} below its free energy of {gains.figure(energy)}"
    return f"{gains.figure(found)} for `{run['entry']['name']}`, {below}"


def _commands(group: Sequence[Record]) -> str:
    """The command of each entry, with its start's name; those that differ by seed and seconds only are one."""
    alike: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for run in group:
        entry = run["entry"]
        typed = run["commands"][-1].replace("--out OUT", f"--out runs/{entry['name']}")
        typed = typed.replace("--init START", f"--init runs/{entry['start']}")
        pattern, varies = _with_any_seed(typed, entry["seed"])
        alike.setdefault(pattern, []).append((typed, varies))
    lines = []
    for pattern, found in alike.items():
        if len(found) == 1:
            lines.append(found[0][0])
            continue
        columns = [f"{name} = {', '.join(varies[name] for _, varies in found)}" for name in found[0][1]]
        lines += [f"# {'; '.join(columns)}", pattern]
    return "\n".join(["```console", *lines, "```", ""])


def _with_any_seed(typed: str, seed: int) -> tuple[str, dict[str, str]]:
    """A command with names in place of its seed, and of the seconds that belong to it; and what they stand for."""
    named = re.sub(rf"(training\.seed=|runs/\S+-s?){seed}(?= |$)", r"\1SEED", typed)
    seconds = re.search(r"--training-seconds ([\d.]+)", named)
    if seconds is None:
        return named, {"SEED": str(seed)}
    return named.replace(seconds[0], "--training-seconds SECONDS"), {"SEED": str(seed), "SECONDS": seconds[1]}
