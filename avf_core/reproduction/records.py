"""From a finished run of a table to its record: one JSON file with all that the results say of it.

    config, seed, data with hashes, learning curve, figures on the selected and the reported split, F by iterations

The law: the record is enough; the page of results is written from records alone. Nothing in it says where anything lay.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import avf_sources
import numpy as np
import torch

from avf_core.analysis.bounds import bound
from avf_core.analysis.evaluation import BySteps, Evaluation, by_steps, evaluate
from avf_core.data import Source
from avf_core.errors import TrainingError
from avf_core.filtering import Filter
from avf_core.reproduction import worth
from avf_core.reproduction.entries import Entry
from avf_core.training import result
from avf_core.training.model_card import parameters, readable

FORMAT = "avf-result"
LOG_LINES = 12
PAIRED = ("arms", "paper")  # the tables whose rows are tested against each other
MOST_POINTS = 3  # numbers of iterations at test time that are evaluated

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run on disk, and what is known of it: `behind` are the folders of the starts, the oldest first."""

    table: str
    entry: Entry
    folder: Path
    behind: tuple[Path, ...]
    data: Path
    wall_seconds: float
    quick: bool = False


def record(trained: Trained, say: Say) -> dict[str, Any]:
    """Evaluate the best checkpoint of a run; gives what is kept of it.

    Raises TrainingError where the run has no checkpoint, as no validation was reached.
    """
    best = result.best(trained.folder)
    source = Source(path=trained.data).like(best.card["data"])
    description = source.describe()
    splits = {name: source.load(name) for name in {"train": 0, description.selection: 0, description.reported: 0}}
    reported = splits[description.reported]
    found = result.read(trained.folder, best)
    return {
        "format": FORMAT,
        "table": trained.table,
        "quick": trained.quick,
        "entry": asdict(trained.entry),
        "commands": [*best.card.get("init", {}).get("commands", []), best.card["command"]],
        "settings": best.settings,
        "training": best.card["training"],
        "data": {**best.card["data"], "splits": {name: described(s) for name, s in splits.items()}},
        "selection": description.selection,
        "reported": description.reported,
        "machine": machine(best.card["torch"]),
        "parameters": parameters(best.filter),
        **_spent(trained, found, best.card),
        "curve": _curve(found["history"]),
        "valid": found["valid"],
        **_measured(best.filter, reported, trained, say),
        **_told(best.filter, trained.entry.role, splits["train"], reported, description.modality),
        "log": tail(trained.folder / "log.txt"),
    }


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON in one move; lists of numbers take one line each."""
    avf_sources.make_folder(path.parent)
    avf_sources.replace_file(path, readable(value) + "\n")


def load(results: Path, table: str) -> list[dict[str, Any]]:
    """The records of a table, by name. Raises TrainingError for a file that is none."""
    return [_load(path) for path in sorted((results / table).glob("*.json"))]


def read(results: Path, table: str, name: str) -> dict[str, Any]:
    """The record of an entry. Raises TrainingError for a file that is none."""
    return _load(_path(results, table, name))


def is_there(results: Path, table: str, entry: Entry) -> bool:
    """Whether there is a record of this very entry: of the same preset, changes, data, seed and start."""
    path = _path(results, table, entry.name)
    if not path.exists():
        return False
    return Entry.of(_load(path)["entry"], path).same_run(entry)


def iteration_counts(trained: int) -> list[int]:
    """The numbers of iterations to evaluate at test time: from none to twice those trained."""
    wanted = {round(2 * trained * i / (MOST_POINTS - 1)) for i in range(MOST_POINTS)}
    return sorted(wanted | {1, trained})


def _measured(filter: Filter, reported: Sequence[np.ndarray], trained: Trained, say: Say) -> dict[str, Any]:
    """The figures of the reported split; those of other numbers of iterations, the bound, and every sequence."""
    particles, steps = trained.entry.particles, by_steps(filter, reported)
    test = steps.figures
    say(f"reported split: F = {test.free_energy_pooled:.4f}")
    by_iterations = []
    for n in iteration_counts(test.iterations) if test.iterations else []:
        found = test if n == test.iterations else evaluate(filter, reported, iterations=n)
        by_iterations.append({"iterations": n, **_few(found)})
        say(f"{n} iterations at test time: F = {found.free_energy_pooled:.4f}")
    tighter = bound(filter, reported, particles=particles) if particles else None
    if tighter:
        say(f"{particles} particles: {tighter.pooled:.4f}")
    kept = ("kind", "particles", "pooled", "standard_error", "sequence_mean", "effective")
    return {
        "test": test.as_dict(),
        "test_by_iterations": by_iterations,
        "bound": {key: getattr(tighter, key) for key in kept} if tighter else None,
        **(_by_sequence(steps) if trained.table in PAIRED else {}),
    }


def _by_sequence(found: BySteps) -> dict[str, Any]:
    """The free energy of every sequence in nats, on the noise that all arms share, and its steps: for paired tests."""
    sums = [float(energies.sum()) for energies in found.energies]
    return {"by_sequence": {"energies": sums, "steps": found.scored.tolist()}}


def _told(
    filter: Filter, role: str, train: Sequence[np.ndarray], reported: Sequence[np.ndarray], modality: str
) -> dict[str, Any]:
    """What a latent tells of a frame, of runs that are beside one without a latent."""
    if role not in worth.ROLES or modality not in worth.TARGETS:
        return {}
    return {"told": worth.measured(filter, train, reported, modality)}


def _few(found: Evaluation) -> dict[str, float]:
    keys = ("free_energy_pooled", "free_energy_sequence_mean", "reconstruction", "kl", "improvement")
    return {key: getattr(found, key) for key in keys}


def _spent(trained: Trained, found: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """Updates and seconds, of the run and of all runs behind it; those of a start count up to its best checkpoint."""
    before = card.get("init", {}).get("updates", 0)
    seconds = [result.read(folder)["seconds"] for folder in trained.behind]
    return {
        "finished": found["finished"],
        "epochs": found["epochs"],
        "updates": found["updates"],
        "updates_before": before,
        "updates_in_all": before + found["updates"],
        "updates_to_best": before + card["updates"],
        "skipped": found["skipped"],
        "seconds": found["seconds"],
        "seconds_in_all": round(sum(seconds) + found["seconds"], 1),
        "wall_seconds": round(trained.wall_seconds, 1),
    }


def described(sequences: Sequence[np.ndarray]) -> dict[str, Any]:
    """Counts, and a hash of every number and shape; the mean of 1 / length is what a frame weighs in a sequence."""
    digest = hashlib.sha256()
    for sequence in sequences:
        digest.update(f"{sequence.shape} {sequence.dtype.str}\n".encode())
        digest.update(np.ascontiguousarray(sequence).data)
    lengths = np.array([len(s) for s in sequences])
    return {
        "sequences": len(sequences),
        "steps": int(lengths.sum()),
        "mean_inverse_length": float((1.0 / lengths).mean()),
        "sha256": digest.hexdigest(),
    }


def _curve(history: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Validations as columns; energies in nats per step."""
    return {
        "epoch": [row["epoch"] for row in history],
        "updates": [row["updates"] for row in history],
        "seconds": [row["seconds"] for row in history],
        "free_energy": [round(row["valid"]["free_energy_pooled"], 5) for row in history],
        "kl": [round(row["valid"]["kl"], 5) for row in history],
        "prior": [round(row["valid"]["free_energy_by_iteration"][0], 5) for row in history],
    }


def machine(version: str) -> dict[str, Any]:
    """What a run was made with: the version is torch's."""
    return {
        "torch": version,
        "python": platform.python_version(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def tail(path: Path) -> list[str]:
    """The last lines that a run printed; neither its result, which is here, nor lines that say where things lay."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    said = dict.fromkeys(line.rstrip() for line in lines)  # once: a run may have been scored twice
    kept = [line for line in said if line and not line.startswith(("$", "{", "resuming"))]
    return [line for line in kept if not re.search(r"(^|\W)/\w", line)][-LOG_LINES:]


def _path(results: Path, table: str, name: str) -> Path:
    return results / table / f"{name}.json"


def _load(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if found["format"] != FORMAT:
            raise KeyError(found["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is no record of a run ({error!r}): delete it, and run its entry again") from error
    return found
