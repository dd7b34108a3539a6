"""What predictions and p-values turned out to mean: a record for each shipped checkpoint, and their part of the page.

    python -m avf_core.reproduction.calibration NAME --data PATH [--out docs/results/calibration] [--steps 5000]

The law: a record is of the split that the card reports, by the weights as they ship, against the card's own reference.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from avf_core import checkpoints
from avf_core.analysis import operating
from avf_core.analysis.reliability import LEVEL, Bins, reliability
from avf_core.analysis.sign_reference import SignReference
from avf_core.analysis.surprise import ReferenceDistribution
from avf_core.data import Source
from avf_core.reproduction import plots
from avf_core.reproduction.measurements import Kind
from avf_core.training import measuring

CALIBRATION = Kind(
    folder="calibration",
    keys=("model", "steps", "served", "at_prior_mean", "levels", "covered", "below"),
    command="python -m avf_core.reproduction.calibration NAME --data PATH",
)
STEPS = 5000
NEAR = 0.5  # where probabilities are most often wrong, and what is told of them


def measure(name: str, source: Source, *, steps: int = STEPS) -> dict[str, Any]:
    """The record of a checkpoint of the zoo, on the first sequences of so many steps."""
    shipped = checkpoints.load(name)
    split = source.describe().reported
    sequences = operating.first(source.load(split), most=steps)
    known = shipped.card["reference"]
    kind = SignReference if "signs" in known else ReferenceDistribution
    reference = kind.from_dict(known) if known.get("score") == "free_energy" else None
    found = reliability(shipped.filter, sequences, reference=reference)
    about = {"model": name, "digest": shipped.digest, "data": source.place.name, "split": split}
    return {**about, "sequences": len(sequences), **found.as_dict()}


def section(results: Path) -> str:
    """The part of the page; empty where there is no record."""
    found = CALIBRATION.load(results)
    if not found:
        return ""
    return "\n".join(
        [
            "## What predictions and p-values mean\n",
            "On the reported split, by `python -m avf_core.reproduction.calibration NAME --data PATH`. Of notes: how",
            "often they came, beside what was said; the expected calibration error of served predictions (the mean",
            "over draws of the prior) and of those at the prior's mean, which leave out what the prior is unsure of.",
            "Of real numbers: how many lie within bands. By piece: the share of its steps with a p-value below 0.05,",
            "the middle half of pieces; pieces above 0.1 are unlike what the reference was made of.\n",
            "| checkpoint | steps | error, served | error, at the prior's mean | at the prior's mean, said and came | "
            "within 50 % | within 90 % | p < 0.05, middle half of pieces | pieces above 0.1 |",
            "|---|---|---|---|---|---|---|---|---|",
            *map(_row, found),
            "",
            *(f"![{record['model']}: reliability](images/calibration-{record['model']}.png)" for record in found),
            "",
        ]
    )


def pictures(results: Path) -> dict[str, bytes]:
    """The plots, by their names."""
    found = CALIBRATION.load(results)
    return {f"calibration-{record['model']}.png": plots.reliability(record, level=LEVEL) for record in found}


def _row(record: Mapping[str, Any]) -> str:
    served, plain = record["served"], record["at_prior_mean"]
    covered = dict(zip(record["levels"], record["covered"], strict=True)) if record["covered"] else {}
    below = record["below"]
    cells = [
        f"`{record['model']}`",
        str(record["steps"]),
        f"{Bins(**served).error:.4f}" if served else "–",
        f"{Bins(**plain).error:.4f}" if plain else "–",
        _worst(Bins(**plain)) if plain else "–",
        f"{covered[0.5]:.1%}" if covered else "–",
        f"{covered[0.9]:.1%}" if covered else "–",
        "–" if below is None else f"{np.quantile(below, 0.25):.1%} to {np.quantile(below, 0.75):.1%}",
        "–" if below is None else f"{sum(share > 0.1 for share in below)} of {len(below)}",
    ]
    return f"| {' | '.join(cells)} |"


def _worst(bins: Bins) -> str:
    """What was said where it was farthest from what came, of likely ones that were said often enough to tell."""
    enough = 0.002 * sum(bins.count)
    gaps = [
        (abs(said - came), said, came)
        for said, came, count in zip(bins.said, bins.came, bins.count, strict=True)
        if said > NEAR and count >= min(enough, max(bins.count))
    ]
    return f"{max(gaps)[1]:.2f} and {max(gaps)[2]:.2f}" if gaps else "–"


def take(options: argparse.Namespace) -> Path:
    """Measure the checkpoint that the options name; gives the record's path."""
    path: Path = options.out / f"{options.name}.json"
    record = measure(options.name, measuring.source_of(options.name, options.data), steps=options.steps)
    CALIBRATION.write(path, record)
    return path


if __name__ == "__main__":
    options = measuring.recording(
        "Measure what a checkpoint's predictions turned out to mean.",
        folder=CALIBRATION.folder,
        steps=STEPS,
        split="reported split",
    )
    measuring.run("calibration", options, take)
