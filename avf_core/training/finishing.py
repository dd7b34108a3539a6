"""What stands at the end of `avf fit`: a checkpoint that can be served, its card, and a page for people.

The best candidate is recalibrated and given its reference distribution on the validation split, then judged on the test
split, which nobody has looked at before; long sequences of both in `stretches`, whose beginnings filter and baselines
hear without a past alike. The law: all is measured before anything is written, and checkpoint, card and page are
written in one move.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import avf_sources
import numpy as np
import torch
from numpy import ndarray

from avf_core import checkpoints
from avf_core.analysis.evaluation import evaluate
from avf_core.analysis.predictive import recalibrate
from avf_core.analysis.verdict import Verdict, judge
from avf_core.data import Sequences, Source
from avf_core.errors import DataError
from avf_core.filtering import Filter
from avf_core.training import report
from avf_core.training.choosing import Choice
from avf_core.training.model_card import about, limits, parameters
from avf_core.training.publish import reference
from avf_core.training.stretches import stretches

PAGE, CURVE = "report.md", "curve.png"
FIRST, SAMPLE = 8, 64  # steps: of a first run, which is slow, and of one by which it is told how long all takes
PASSES = (3.0, 5.0)  # over test and validation data, with some to spare
FIXED = 15.0  # seconds, for what does not grow with the data: forecasts


@dataclass(frozen=True, kw_only=True)
class Splits:
    """What is trained on, chosen and calibrated by, and judged on."""

    train: Sequences
    valid: Sequences
    test: Sequences


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The card of what was written, and the verdict in it."""

    card: Mapping[str, Any]
    verdict: Verdict


def finish(choice: Choice, source: Source, splits: Splits, *, folder: Path, command: str, curve: bytes) -> Finished:
    """Measure the best candidate and write it to `folder`, its learning curve beside it.

    Raises DataError where there is nothing to score.
    """
    trained = checkpoints.load(choice.best.run.folder)
    filter, valid = trained.filter, stretches(splits.valid)
    filter.recalibration = recalibrate(filter, valid)
    verdict = judge(filter, splits.train, valid, stretches(splits.test))
    described = source.describe()
    card: dict[str, Any] = {
        "preset": choice.best.name,
        "data": source.as_card(),
        "split": f"train; selected and calibrated on {described.selection}",
        "splits": [described.selection, described.reported],
        "command": command,
        "seed": choice.best.run.config.seed,
        "training": vars(choice.best.run.config),
        "torch": torch.__version__,
        "updates": choice.progress.updates,
        "epoch": choice.progress.best_epoch,
        "seconds": round(choice.progress.seconds, 1),
        "candidates": choice.validated,
        "behind": choice.behind,
        "valid": evaluate(filter, valid).as_dict(),
        "test": verdict.evaluation.as_dict(),
        "recalibration": filter.recalibration and filter.recalibration.as_dict(),
        "verdict": verdict.as_dict(),
        "parameters": parameters(filter),
        "about": about(described),
        "limits": limits(described),
        "ranges": ranges(splits.train),
    }
    normal = reference_on(trained, valid)
    if normal is not None:
        card["reference"] = {"split": described.selection, **normal}
    files = checkpoints.written(filter=filter, settings=trained.settings, card=card, dtype=torch.float32)
    title = source.place.name
    avf_sources.replace_set(folder, {**files, PAGE: report.page(title, card, verdict), CURVE: curve})
    return Finished(card=card, verdict=verdict)


def seconds_to_finish(filter: Filter, splits: Splits) -> float:
    """What `finish` will take, by the wall clock, as the machine is now: by a few steps of it."""
    evaluate(filter, [splits.valid[0][:FIRST]])
    began = time.monotonic()
    evaluate(filter, [splits.valid[0][:SAMPLE]])
    a_step = (time.monotonic() - began) / min(SAMPLE, len(splits.valid[0]))
    longest = [max(map(len, sequences)) for sequences in map(stretches, (splits.test, splits.valid))]
    batches = [max(1.0, len(sequences) / 128) for sequences in (splits.test, splits.valid)]
    return FIXED + a_step * sum(
        passes * steps * rows for passes, steps, rows in zip(PASSES, longest, batches, strict=True)
    )


def reference_on(checkpoint: checkpoints.Checkpoint, sequences: Sequences) -> dict[str, Any] | None:
    """The reference distribution of a card; None of too few steps for one."""
    try:
        return reference(checkpoint, sequences)
    except DataError:
        return None


def ranges(train: Sequences) -> list[list[float]]:
    """By channel, the lowest, middle and highest value of the training data, leaving a thousandth out on each side."""
    rows = np.concatenate([np.asarray(sequence, dtype=np.float64) for sequence in train])
    return [[float(v) for v in np.nanpercentile(column, (0.1, 50.0, 99.9))] for column in _columns(rows)]


def _columns(rows: ndarray) -> list[ndarray]:
    return list(rows.T)
