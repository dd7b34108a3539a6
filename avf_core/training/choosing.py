"""Which preset fits some data best, by validation: each is tried for a while, and the best one goes on.

The law: all candidates hear the same training data and are judged on the same validation data, and nobody looks at the
test split. Where a run stands is on disk (`trial.json` and each candidate's own run), so that the same call goes on
after it was interrupted; time that was spent stays spent.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import avf_sources
import torch

from avf_core import configuration
from avf_core.data import Sequences
from avf_core.errors import TrainingError
from avf_core.training import presets
from avf_core.training.config import Preset
from avf_core.training.listeners import Metrics, Several
from avf_core.training.sizes import sized
from avf_core.training.state import Progress
from avf_core.training.trainer import Listener, Run, Trainer

CANDIDATES = ("sensor", "sensor-robust", "lgssm")
TRIALS = 0.5  # of the time is for trying all candidates, in equal parts
RECORD = "trial.json"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A preset for some data, and where it is trained."""

    name: str
    preset: Preset
    run: Run


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The candidate that is best so far, how it went, and the validation of every other by name, in nats per step.

    `finished` where time is up, or nothing more is to be learned; else the same call goes on.
    """

    best: Candidate
    progress: Progress
    validated: dict[str, float]
    finished: bool


Listeners = Callable[[Candidate], Listener]


def choose(
    train: Sequences,
    valid: Sequences,
    *,
    folder: Path,
    names: Sequence[str] = CANDIDATES,
    seconds: float,
    seed: int = 1,
    listener: Listeners = lambda candidate: Several(),
    stop: Callable[[], bool] = lambda: False,
) -> Choice:
    """The best of these presets after so many seconds, of which half are for trying them all.

    Raises TrainingError where none could be validated.
    """
    candidates = [_candidate(name, train, valid, folder=folder, seed=seed) for name in names]
    clock = _Clock(folder / RECORD)
    found: dict[str, Progress] = {}
    shares = dict.fromkeys(names, seconds * (TRIALS if len(names) > 1 else 1.0) / len(names))
    for candidate in candidates:
        if found and stop():
            break
        found[candidate.name] = _train(candidate, clock, shares[candidate.name], listener, stop)
    scored = {name: progress.best for name, progress in found.items() if progress.best is not None}
    if not scored:
        raise TrainingError("no candidate has a finite free energy on the validation data: look at the data")
    best = next(candidate for candidate in candidates if candidate.name == min(scored, key=lambda name: scored[name]))
    rest = seconds - sum(clock.spent.values())
    if not stop() and rest > 0.0 and not found[best.name].finished:
        found[best.name] = _train(best, clock, clock.spent.get(best.name, 0.0) + rest, listener, stop)
    progress = found[best.name]
    assert progress.best is not None
    return Choice(
        best=best,
        progress=progress,
        validated={**scored, best.name: progress.best},
        finished=progress.finished or sum(clock.spent.values()) >= seconds or not stop(),
    )


class _Clock:
    """The seconds that were spent on each candidate, by the wall clock; they are kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.spent = path, dict[str, float]()
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            self.spent = {name: float(value) for name, value in found["seconds"].items()}

    def add(self, name: str, seconds: float) -> None:
        self.spent[name] = self.spent.get(name, 0.0) + seconds
        avf_sources.replace_file(self.path, json.dumps({"seconds": self.spent}) + "\n")


def _candidate(name: str, train: Sequences, valid: Sequences, *, folder: Path, seed: int) -> Candidate:
    preset = presets.override(sized(presets.get(name), train), {"training.seed": seed})
    run = Run(
        settings=presets.fit(preset.settings, train),
        config=preset.training,
        train=train,
        valid=valid,
        facts={"preset": name, "seed": seed},
        folder=folder / name,
    )
    return Candidate(name=name, preset=preset, run=run)


def _train(
    candidate: Candidate, clock: _Clock, until: float, listener: Listeners, stop: Callable[[], bool]
) -> Progress:
    """Train until so many seconds have been spent on it, in all."""
    torch.manual_seed(candidate.run.config.seed)
    filter = configuration.build(candidate.run.settings)
    filter.model.begin(candidate.run.train)
    avf_sources.make_folder(candidate.run.folder)
    trainer = Trainer(candidate.run, filter, Several(Metrics(candidate.run.folder), listener(candidate)))
    trainer.resume()
    started, before = time.monotonic(), clock.spent.get(candidate.name, 0.0)
    if trainer.progress.history and (before >= until or trainer.progress.finished):
        return trainer.progress
    progress = trainer.train(stop=lambda: stop() or before + time.monotonic() - started >= until)
    clock.add(candidate.name, time.monotonic() - started)
    return progress
