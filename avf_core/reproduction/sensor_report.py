"""What the page of results says of the table `sensors`, from its records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avf_core.reproduction.measurements import Kind
from avf_core.reproduction.sensors import TITLES

SENSORS = Kind(
    folder="sensors",
    keys=("quick", "entry", "data", "channels", "preset", "updates", "standardised", "verdict", "faults"),
    command="avf reproduce sensors --data DATA",
)
FILTER = "the filter"
FAULTS = ("jump", "burst", "stuck", "drift", "swap")


def section(results: Path) -> str:
    """Filters beside textbook predictors, and the faults that both see; empty where there is no record."""
    found = SENSORS.load(results)
    if not found:
        return ""
    order, quick = list(TITLES), any(record["quick"] for record in found)
    found.sort(key=lambda record: order.index(_name(record)) if _name(record) in order else len(order))
    return "\n".join(
        [
            "## Sensors\n",
            "```console\n$ avf reproduce sensors --data DATA\n```\n",
            "Filters of `avf fit`, chosen by validation, beside textbook predictors that were fitted to the same data;",
            "gaps are heard by all alike. Nats per step and errors of forecasts are in deviations of the training",
            "data, the errors from 200 steps of the test split. What `avf fit` says is ahead or beaten has a p-value,",
            "the larger of Student's t and of flipped signs, paired over twenty stretches of that split, as",
            "neighbours err alike; below 0.01 it is proven of these filters and these steps: another training, or",
            "another stretch of time, is another draw. Where none is told, nothing was tested: unproven.\n",
            *(line for record in found for line in _table(record)),
            *_faults(found),
            *(
                ["These runs are cut down to see that all of it works: **their figures mean nothing**.\n"]
                if quick
                else []
            ),
        ]
    )


def _name(record: Mapping[str, Any]) -> str:
    name: str = record["entry"]["name"]
    return name


def _table(record: Mapping[str, Any]) -> list[str]:
    """One set: the filter in its place among the baselines."""
    verdict = record["verdict"]
    rows = {FILTER: {"nats": verdict["nats"], "errors": verdict["errors"]}, **verdict["baselines"]["rows"]}
    horizons = list(verdict["errors"])
    heads = ["", "nats per step", *(f"error, {horizon} ahead" for horizon in horizons)]
    minutes, steps = record["minutes"], {name: part["steps"] for name, part in record["data"]["splits"].items()}
    lines = [
        f"### {TITLES.get(_name(record), _name(record))}\n",
        f"{record['channels']} channels; {steps['train']} steps to train on, {steps['test']} of test. "
        f"`{record['preset']}`, {minutes:g} minutes, {record['updates']} updates: {verdict['verdict']}.\n",
        f"| {' | '.join(heads)} |",
        "|---|" + "---:|" * (len(heads) - 1),
    ]
    for name, row in sorted(rows.items(), key=lambda item: float(item[1]["nats"])):
        marks = "**" if name == FILTER else ""
        errors = [f"{row['errors'][horizon]:.3f}" for horizon in horizons]
        nats = f"{marks}{row['nats'] - record['standardised']:.3f}{marks}"
        lines.append(f"| {' | '.join([name, nats, *errors])} |")
    covered = ", ".join(f"{float(level):.0%} {part:.1%}" for level, part in verdict["coverage"].items())
    return [*lines, f"\nOf what came, bands held: {covered}.\n"]


def _faults(found: list[dict[str, Any]]) -> list[str]:
    """Areas under the receiver's operating characteristic."""
    seen = [record for record in found if "filter" in record["faults"]]
    if not seen:
        return []
    lines = [
        "### Faults\n",
        "Put into the test split, 24 steps long, in a channel drawn at random: how well they are told from the same",
        "steps without them (area under the ROC curve), by the filter channel by channel and by the innovation test",
        "of the best vector autoregression.\n",
        f"| | {' | '.join(FAULTS)} |",
        "|---|" + "---:|" * len(FAULTS),
    ]
    for record in seen:
        for name, key in ((FILTER, "filter"), ("innovations", "innovations")):
            cells = [f"{record['faults'][key][kind]:.2f}" for kind in FAULTS]
            lines.append(f"| {_name(record)}, {name} | {' | '.join(cells)} |")
    return [*lines, ""]
