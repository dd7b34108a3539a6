"""From a finished run, of `avf train` or `avf fit`, to a checkpoint of the zoo: weights, figures and the model card.

    python -m avf_core.training.publish RUN NAME --data PATH --title TEXT [--limits TEXT] [--about TEXT] [--full]
    python -m avf_core.training.publish --refresh NAME --data PATH [--calibrate-on train,select]

The laws: no figure on a card is typed; all come from the run and from `evaluate` on the weights as they ship. All is
measured before anything is written, and weights and cards are written in one move.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import avf_sources
import numpy as np
import torch

from avf_core import checkpoints
from avf_core.analysis.evaluation import Evaluation, evaluate
from avf_core.analysis.predictive import predictive, recalibrate
from avf_core.analysis.sign_reference import SignReference, scores_and_signs
from avf_core.analysis.surprise import FEWEST, ReferenceDistribution, step_scores
from avf_core.analysis.verdict import judge
from avf_core.data import Source
from avf_core.errors import AvfError, TrainingError
from avf_core.models.base import Model
from avf_core.training import result
from avf_core.training.model_card import about, limits, model_card, parameters, readable

TOLERANCE = 0.01  # nats per step that half precision may move the free energy,
RELATIVE_TOLERANCE = 5e-4  # or so much of it, where that is more
MODEL_CARD = "MODEL_CARD.md"
OF_PUBLISHING = ("title", "name", "seconds", "total_updates", "skipped_updates")
"""What a card has of its publishing."""
BY_HAND = ("points",)
"""What is written into a card by hand: operating points that sessions ask for by name."""
DIGITS = 6  # of the reference distribution's figures, in nats


def publish(
    run: Path,
    name: str,
    *,
    data: Path,
    title: str,
    limits_text: str | None = None,
    about_text: str | None = None,
    period: float | None = None,
    half: bool = True,
    zoo: Path = checkpoints.ZOO,
) -> Path:
    """Write the run's best checkpoint to the zoo as `name`, its card with it; gives the folder.

    `limits_text` says what the checkpoint cannot do, `about_text` what its data are; there are texts for each kind of
    data. `period`: seconds that a step stands for, where data do not say. Weights are of `half` precision; raises
    TrainingError where that costs too much; nothing is left in the zoo then.
    """
    trained = result.best(run)
    source = Source(path=data).like(trained.card["data"])
    facts = {
        **_said_by_hand(zoo / name),
        **trained.card,
        "title": title,
        "name": name,
        **_spent(run, trained),
        **({"period": period} if period is not None else {}),
    }
    dtype = torch.float16 if half else torch.float32
    files = checkpoints.written(filter=trained.filter, settings=trained.settings, card=trained.card, dtype=dtype)
    shipped = _as_it_ships(files)
    selected = _selected(shipped, trained, source)
    card = measured(shipped, facts, source, limits_text, about_text, selected=selected)
    return save(zoo / name, card, files)


def refresh(
    name: str,
    *,
    data: Path,
    limits_text: str | None = None,
    about_text: str | None = None,
    calibrate_on: Sequence[str] = (),
    zoo: Path = checkpoints.ZOO,
) -> Path:
    """Measure a checkpoint of the zoo again and write its card anew; the texts stay where none are given.

    Predictions are recalibrated on the splits of `calibrate_on`, or on those that they were: the one of selection,
    where nothing else was ever said. Training data are fit for it where filters are no surer of them than of others.

    Raises TrainingError, with nothing written, where the card is not of a checkpoint that was published.
    """
    shipped = checkpoints.load(zoo / name)
    lacking = [key for key in OF_PUBLISHING if key not in shipped.card]
    if lacking:
        raise TrainingError(
            f"the card in {zoo / name} has no {', '.join(lacking)}: it was never published; give RUN, NAME and --title"
        )
    source = Source(path=data).like(shipped.card["data"])
    asked = {"calibrated_on": list(calibrate_on)} if calibrate_on else {}
    card = measured(shipped, {**shipped.card, **asked}, source, limits_text, about_text)
    return save(zoo / name, card, {})


def _spent(run: Path, trained: checkpoints.Checkpoint) -> dict[str, Any]:
    """Seconds and updates, by the run's result; what `avf fit` made says them in its card."""
    if "verdict" in trained.card:
        updates = trained.card["updates"]
        return {"seconds": trained.card["seconds"], "total_updates": updates, "budget": updates, "skipped_updates": 0}
    found = result.read(run, trained)
    return {
        "seconds": found["seconds"],
        "total_updates": found["updates"],
        "budget": found["updates"] + trained.card.get("init", {}).get("updates", 0),
        "skipped_updates": found["skipped"],
    }


def _said_by_hand(folder: Path) -> dict[str, Any]:
    """What the card of the checkpoint before says that no command measures, and that its name promises."""
    if not (folder / checkpoints.CARD).exists():
        return {}
    before = checkpoints.read_card(folder)
    return {key: before[key] for key in BY_HAND if key in before}


def reference(checkpoint: checkpoints.Checkpoint, sequences: list[np.ndarray]) -> dict[str, Any]:
    """The distribution of a step's free energy on normal data, for a card: what surprise is calibrated against.

    With that of its signs beside it, where the model has signs of its own. Sequences with fewer than 100 steps to judge
    are taken with their first ones, too: costly steps are then held for somewhat more usual than they are.
    """
    filter = checkpoint.filter
    if type(filter.model).signs is Model.signs:
        scores = np.concatenate(step_scores(filter, sequences))
        if np.isfinite(scores).sum() < FEWEST:
            scores = np.concatenate(step_scores(filter, sequences, first=True))
        found = ReferenceDistribution.fit(scores).as_dict()
    else:
        found = SignReference.fit(filter.model.listened, *scores_and_signs(filter, sequences)).as_dict()
    values = [round(float(value), DIGITS) for value in np.asarray(found["values"])]
    return {"score": "free_energy", **found, "levels": list(np.asarray(found["levels"])), "values": values}


def _as_it_ships(files: Mapping[str, bytes | str]) -> checkpoints.Checkpoint:
    """The checkpoint that these files are, tried before they are where it ships from."""
    with tempfile.TemporaryDirectory() as trial:
        avf_sources.replace_set(Path(trial), files)
        return checkpoints.load(trial)


def _selected(shipped: checkpoints.Checkpoint, trained: checkpoints.Checkpoint, source: Source) -> Evaluation:
    """The figures on the split it was selected on, unless rounding has moved its free energy there."""
    sequences = source.load(source.describe().selection)
    half = evaluate(shipped.filter, sequences)
    moved, full = half.free_energy_pooled, evaluate(trained.filter, sequences).free_energy_pooled
    if not abs(moved - full) <= max(TOLERANCE, RELATIVE_TOLERANCE * abs(full)):
        raise TrainingError(
            f"half precision moves the free energy from {full:.4f} to {moved:.4f}: ship other weights, or smaller ones"
        )
    return half


def measured(
    shipped: checkpoints.Checkpoint,
    facts: dict[str, Any],
    source: Source,
    limits_text: str | None = None,
    about_text: str | None = None,
    *,
    selected: Evaluation | None = None,
) -> dict[str, Any]:
    """The card of what ships, measured, but for the `selected` split where that is known."""
    description = source.describe()
    valid, test = source.load(description.selection), source.load(description.reported)
    calibrating = [s for split in facts.get("calibrated_on", [description.selection]) for s in source.load(split)]
    recalibration = recalibrate(shipped.filter, calibrating)
    shipped.filter.recalibration = recalibration
    return {
        **facts,
        "data": source.as_card(),
        "splits": [description.selection, description.reported],
        "valid": (selected or evaluate(shipped.filter, valid)).as_dict(),
        "test": evaluate(shipped.filter, test).as_dict(),
        "recalibration": recalibration and recalibration.as_dict(),
        "predictions": predictive(shipped.filter, test).as_dict(),
        **_beside(shipped, source),
        "parameters": parameters(shipped.filter),
        "weights": shipped.weights,
        "about": about_text or facts.get("about") or about(description),
        "limits": limits_text or facts.get("limits") or limits(description),
        "reference": {"split": description.selection, **reference(shipped, valid)},
    }


def _beside(shipped: checkpoints.Checkpoint, source: Source) -> dict[str, Any]:
    """The verdict on a filter of sensors, beside baselines that are fitted to the same data; nothing of others."""
    description = source.describe()
    if description.modality != "series":
        return {}
    train, valid, test = map(source.load, ("train", description.selection, description.reported))
    return {"verdict": judge(shipped.filter, train, valid, test).as_dict()}


def save(folder: Path, card: Mapping[str, Any], files: Mapping[str, bytes | str]) -> Path:
    """Write a card in both forms, with the other files of its checkpoint where they are new, in one move."""
    both = {checkpoints.CARD: readable(card) + "\n", MODEL_CARD: model_card(card)}
    avf_sources.replace_set(folder, {**files, **both})
    return folder


def main() -> None:
    """Publish the run that the command line names, or measure a checkpoint of the zoo again."""
    parser = argparse.ArgumentParser(description="Publish a run to the zoo, or renew a checkpoint's card.")
    parser.add_argument("run", type=Path, nargs="?", help="The folder of a run.")
    parser.add_argument("name", nargs="?", help="Its name in the zoo.")
    parser.add_argument("--refresh", metavar="NAME", help="Renew the card of this checkpoint instead.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--title")
    parser.add_argument("--limits", help="What the checkpoint cannot do. [default: by the kind of data]")
    parser.add_argument("--about", help="What its data are. [default: by the kind of data]")
    parser.add_argument("--period", type=float, help="Seconds that a step stands for, where data do not say.")
    parser.add_argument("--calibrate-on", metavar="SPLITS", help="With --refresh; with commas between.")
    parser.add_argument("--full", action="store_true", help="Weights in single precision, not in half.")
    options = parser.parse_args()
    texts = {"data": options.data, "limits_text": options.limits, "about_text": options.about}
    if not options.refresh and not (options.run and options.name and options.title):
        parser.error("give RUN, NAME and --title, or --refresh NAME")
    try:
        if options.refresh:
            splits = options.calibrate_on.split(",") if options.calibrate_on else ()
            print(refresh(options.refresh, calibrate_on=splits, **texts))
        else:
            print(
                publish(
                    options.run,
                    options.name,
                    title=options.title,
                    period=options.period,
                    half=not options.full,
                    **texts,
                )
            )
    except (AvfError, OSError) as error:
        sys.exit(f"publish: {error}")


if __name__ == "__main__":
    main()
