"""The table `sensors`: filters of `avf fit` beside textbook predictors, and the faults that both see.

An entry is one call of `avf fit` on a file of `sensor_sets`, as a user makes it: presets are chosen by validation, and
the test split is looked at when all is done. The law: what a record says is found anew from the checkpoint and the
file, with forecasts further ahead than a card has them.
"""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from avf_core import checkpoints
from avf_core.analysis import faults
from avf_core.analysis.verdict import judge
from avf_core.data import Source
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.reproduction import records, sensor_sets
from avf_core.reproduction.entries import Entry, Group
from avf_core.training.model_card import parameters

if TYPE_CHECKING:
    from avf_core.reproduction.planning import Where

HORIZONS = (1, 4, 6, 10, 24)  # steps
TITLES = {
    "weather": "JFK weather of 2013, hourly",
    "ecg": "ECG record 208, frames of 9 samples",
    "motions": "BasicMotions, a watch, a tenth punched out",
    "daphnet": "Daphnet S06R02E0, worn accelerometers, a tenth punched out",
}
GROUPS = {name: Group(title=title) for name, title in TITLES.items()}


def _fit(name: str, *options: str) -> Entry:
    """An entry of all candidates of `avf fit`."""
    return Entry(
        name=name, group=name, role="ships", command="fit", preset="", data=name, changes=options, minutes=10.0
    )


SENSORS = (_fit("weather", f"--time={sensor_sets.TIME}"), _fit("ecg"), _fit("motions"), _fit("daphnet"))


def command(entry: Entry, path: Path, where: "Where") -> list[str]:
    """The arguments of `avf` that fit an entry to a file; the seconds that it has had are on disk."""
    words = ["fit", str(path), *entry.changes, "--out", str(where.folder(entry.name))]
    words += ["--preset", entry.preset] if entry.preset else []
    minutes = f"{entry.minutes * where.stretch:g}"
    return [*words, "--minutes", minutes, "--seed", str(entry.seed), "--threads", str(where.threads)]


def record(trained: records.Trained, say: records.Say) -> dict[str, Any]:
    """Judge what was fitted, and look for faults. Nats are of the natural units, also of standardised ones."""
    best = checkpoints.load(trained.folder)
    card = best.card
    source = Source(path=trained.data).like(card["data"])
    splits = {name: source.load(name) for name in ("train", "valid", "test")}
    test = splits["test"]
    verdict = judge(best.filter, splits["train"], splits["valid"], test, horizons=HORIZONS)
    say(verdict.sentence)
    scale = verdict.comparison.scale.deviation
    known = sum((~np.isnan(np.asarray(s, dtype=np.float64))) @ np.log(scale) for s in test)
    return {
        "format": records.FORMAT,
        "table": trained.table,
        "quick": trained.quick,
        "entry": asdict(trained.entry),
        "commands": [card["command"]],
        "settings": best.settings,
        "training": card["training"],
        "data": {**card["data"], "splits": {name: records.described(s) for name, s in splits.items()}},
        "machine": records.machine(card["torch"]),
        "parameters": parameters(best.filter),
        "preset": card["preset"],
        "channels": len(scale),
        "epochs": card["epoch"],
        "updates": card["updates"],
        "minutes": _given(card["command"]),
        "seconds": card["seconds"],
        "wall_seconds": round(trained.wall_seconds, 1),
        "candidates": card["candidates"],
        "valid": card["valid"],
        "test": card["test"],
        "verdict": verdict.as_dict(),
        "standardised": float(np.sum(known)) / verdict.comparison.steps,  # what nats in training deviations are less
        "faults": _faults(best.filter, splits["train"], splits["valid"], test),
        "log": records.tail(trained.folder / "log.txt"),
    }


def _given(command: str) -> float:
    """The minutes that a run was given, which its command says: those of the table, or more or fewer of them."""
    words = shlex.split(command)
    return float(words[words.index("--minutes") + 1])


def _faults(filter: Filter, *splits: Sequence[ndarray]) -> dict[str, Any]:
    """How well faults are told; why not, where the test split is too short for them."""
    try:
        seen = faults.found(filter, *splits)
    except DataError as error:
        return {"left out": str(error)}
    return {"filter": seen.filter, "innovations": seen.innovations}
