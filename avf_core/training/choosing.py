"""Which preset fits some data best, by validation: each is tried for a while, and the best one goes on.

The law: all candidates hear the same training data and are judged on the same validation data, and nobody looks at the
test split. Picked is the one with the lowest nats, of those whose forecasts do not lose to a vector autoregression's
beyond noise (`Rival`), or of all where all do. Where a run stands is on disk (`trial.json` and each candidate's own
run), so that the same call goes on after it was interrupted; time that was spent stays spent.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import avf_sources
import torch

from avf_core import checkpoints, configuration
from avf_core.analysis.rivals import Rival
from avf_core.data import Sequences
from avf_core.errors import TrainingError
from avf_core.filtering import Filter
from avf_core.training import presets
from avf_core.training.config import Preset
from avf_core.training.listeners import Metrics, Several
from avf_core.training.sizes import sized
from avf_core.training.state import Progress
from avf_core.training.stretches import stretches
from avf_core.training.trainer import Listener, Run, Trainer

CANDIDATES = ("sensor-held", "sensor-robust", "lgssm", "sensor")  # what is quick to train comes first
MOST_AFTER = 0.4  # of the time, for what comes after training
TRIALS = 0.5  # of the time is for trying all candidates, in equal parts
RECORD = "trial.json"
PREPARING = "preparing"  # what is done before any training, in that record


Losses = dict[int, float]
"""By horizon, by which part forecasts err more than a vector autoregression's, beyond noise; empty where by none."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A preset for some data, and where it is trained."""

    name: str
    preset: Preset
    run: Run


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The candidate that is best so far, how it went, and the validation of every other by name, in nats per step.

    `behind`: of those whose forecasts were looked at, the best in nats first, until one does not lose: by horizon, by
    which part they err more than a vector autoregression's, beyond noise.
    `finished` where time is up, or nothing more is to be learned; else the same call goes on.
    """

    best: Candidate
    progress: Progress
    validated: dict[str, float]
    behind: dict[str, Losses]
    finished: bool


Listeners = Callable[[Candidate], Listener]


def choose(
    train: Sequences,
    valid: Sequences,
    *,
    folder: Path,
    names: Sequence[str] = CANDIDATES,
    seconds: float,
    after: Callable[[Filter], float] = lambda filter: 0.0,
    seed: int = 1,
    listener: Listeners = lambda candidate: Several(),
    stop: Callable[[], bool] = lambda: False,
) -> Choice:
    """The best of these presets after so many seconds by the wall clock, of which half are for trying them all.

    Who comes when that half is over is not tried. `after` says, of a filter that has just begun, how many seconds are
    to be left, of which it gets two fifths at most. Raises TrainingError where none could be validated.
    """
    started, held_out = time.monotonic(), stretches(valid)
    avf_sources.make_folder(folder)
    candidates = [_candidate(name, train, held_out, folder=folder, seed=seed) for name in names]
    rival = Rival.of(train, held_out) if len(names) > 1 else None
    begun = {candidates[0].name: _begun(candidates[0])}
    left = seconds - min(after(begun[candidates[0].name]), MOST_AFTER * seconds)
    clock = _Clock(folder / RECORD)
    clock.add(PREPARING, time.monotonic() - started)
    found: dict[str, Progress] = {}
    for candidate in candidates:
        if found and (stop() or clock.total >= TRIALS * left):
            break
        share = (left - clock.spent[PREPARING]) * (TRIALS if len(names) > 1 else 1.0) / len(names)
        with clock.counting(candidate.name):
            rest = share - clock.of(candidate.name)
            found[candidate.name] = _train(candidate, rest, listener, stop, begun=begun.pop(candidate.name, None))
    scored = {name: progress.best for name, progress in found.items() if progress.best is not None}
    if not scored:
        raise TrainingError("no candidate has a finite free energy on the validation data: look at the data")

    def losses(name: str) -> Losses:
        return {} if rival is None else rival.ahead_of(checkpoints.load(folder / name).filter, held_out)

    with clock.counting(PREPARING):
        chosen, behind = picked(sorted(scored, key=lambda name: scored[name]), losses)
    best = next(candidate for candidate in candidates if candidate.name == chosen)
    rest = left - clock.total
    if not stop() and rest > 0.0 and not found[best.name].finished:
        with clock.counting(best.name):
            found[best.name] = _train(best, rest, listener, stop)
    progress = found[best.name]
    assert progress.best is not None
    return Choice(
        best=best,
        progress=progress,
        validated={**scored, best.name: progress.best},
        behind=behind,
        finished=progress.finished or clock.total >= left or not stop(),
    )


class _Clock:
    """The seconds that were spent on each candidate, by the wall clock; they are kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.spent = path, dict[str, float]()
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            self.spent = {name: float(value) for name, value in found["seconds"].items()}

    @property
    def total(self) -> float:
        """What was spent on all."""
        return sum(self.spent.values())

    def of(self, name: str) -> float:
        """What was spent on it."""
        return self.spent.get(name, 0.0)

    def add(self, name: str, seconds: float) -> None:
        """Count so many more."""
        self.spent[name] = self.of(name) + seconds
        avf_sources.replace_file(self.path, json.dumps({"seconds": self.spent}) + "\n")

    @contextmanager
    def counting(self, name: str) -> Iterator[None]:
        """Count what is spent within."""
        started = time.monotonic()
        yield
        self.add(name, time.monotonic() - started)


def _candidate(name: str, train: Sequences, valid: Sequences, *, folder: Path, seed: int) -> Candidate:
    preset = presets.override(sized(presets.get(name), train, valid), {"training.seed": seed})
    run = Run(
        settings=presets.fit(preset.settings, train),
        config=preset.training,
        train=train,
        valid=valid,
        facts={"preset": name, "seed": seed},
        folder=folder / name,
    )
    return Candidate(name=name, preset=preset, run=run)


def picked(ranked: Sequence[str], losses: Callable[[str], Losses]) -> tuple[str, dict[str, Losses]]:
    """The first of these names whose forecasts do not lose, or the first of all; and the losses that were looked at."""
    behind: dict[str, Losses] = {}
    for name in ranked:
        behind[name] = losses(name)
        if not behind[name]:
            return name, behind
    return ranked[0], behind


def _begun(candidate: Candidate) -> Filter:
    torch.manual_seed(candidate.run.config.seed)
    filter = configuration.build(candidate.run.settings)
    filter.model.begin(candidate.run.train)
    return filter


def _train(
    candidate: Candidate,
    seconds: float,
    listener: Listeners,
    stop: Callable[[], bool],
    *,
    begun: Filter | None = None,
) -> Progress:
    """Train for so many more seconds, and validate what that came to; nothing where there are none, once it began.

    `begun` is the filter that it begins with, where that was made before.
    """
    until = time.monotonic() + seconds
    filter = _begun(candidate) if begun is None else begun
    avf_sources.make_folder(candidate.run.folder)
    trainer = Trainer(candidate.run, filter, Several(Metrics(candidate.run.folder), listener(candidate)))
    trainer.resume()
    if trainer.progress.history and (seconds <= 0.0 or trainer.progress.finished):
        return trainer.progress
    progress = trainer.train(stop=lambda: stop() or time.monotonic() >= until)
    if not stop() and (not progress.history or progress.updates > progress.history[-1]["updates"]):
        trainer.validate()
        trainer.save()
    return progress
