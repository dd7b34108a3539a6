"""From a finished run to a checkpoint of the zoo: half-precision weights, the figures and the model card.

    python -m avf_core.training.publish RUN NAME --data PATH --title TEXT [--limits TEXT] [--about TEXT]
    python -m avf_core.training.publish --refresh NAME --data PATH

The law: no figure on a card is typed; all come from the run and from `evaluate` on the weights as they ship.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from avf_core import checkpoints
from avf_core.analysis.evaluation import Evaluation, evaluate
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from avf_core.data import Source
from avf_core.errors import TrainingError
from avf_core.training.model_card import about, limits, model_card, parameters, readable

TOLERANCE = 0.01  # nats per step that half precision may move the free energy,
RELATIVE_TOLERANCE = 5e-4  # or so much of it, where that is more
DIGITS = 6  # of the reference distribution's figures, in nats


def publish(
    run: Path,
    name: str,
    *,
    data: Path,
    title: str,
    limits_text: str | None = None,
    about_text: str | None = None,
    zoo: Path = checkpoints.ZOO,
) -> Path:
    """Write the run's best checkpoint to the zoo as `name`, its card with it; gives the folder.

    `limits_text` says what the checkpoint cannot do, `about_text` what its data are; there are texts for each kind of
    data. Raises TrainingError where half precision costs too much; nothing is left in the zoo then.
    """
    trained = checkpoints.load(run)
    source = Source(path=data).like(trained.card["data"])
    folder = zoo / name
    result = json.loads((run / "result.json").read_text())
    selected = _save_in_half_precision(trained, result["valid"]["free_energy_pooled"], source, folder)
    facts = {
        **trained.card,
        "title": title,
        "name": name,
        "seconds": result["seconds"],
        "total_updates": result["updates"],
        "budget": result["updates"] + trained.card.get("init", {}).get("updates", 0),
        "skipped_updates": result["skipped"],
    }
    return _write_card(folder, facts, source, limits_text, about_text, selected=selected)


def refresh(
    name: str,
    *,
    data: Path,
    limits_text: str | None = None,
    about_text: str | None = None,
    zoo: Path = checkpoints.ZOO,
) -> Path:
    """Measure a checkpoint of the zoo again and write its card anew; the texts stay where none are given."""
    card = checkpoints.load(zoo / name).card
    source = Source(path=data).like(card["data"])
    return _write_card(zoo / name, dict(card), source, limits_text, about_text)


def reference(checkpoint: checkpoints.Checkpoint, sequences: list[np.ndarray]) -> dict[str, Any]:
    """The distribution of a step's free energy on normal data, for a card: what surprise is calibrated against."""
    scores = np.concatenate(step_scores(checkpoint.filter, sequences, score="free_energy"))
    found = ReferenceDistribution.fit(scores).as_dict()
    values = [round(float(value), DIGITS) for value in np.asarray(found["values"])]
    return {"score": "free_energy", **found, "levels": list(np.asarray(found["levels"])), "values": values}


def _save_in_half_precision(trained: checkpoints.Checkpoint, full: float, source: Source, folder: Path) -> Evaluation:
    """Save the checkpoint, unless rounding moves its free energy on the split it was selected on from `full`.

    Gives the figures of what was saved.
    """
    saved = {"filter": trained.filter, "settings": trained.settings, "card": trained.card}
    with tempfile.TemporaryDirectory() as trial:
        checkpoints.save(Path(trial), **saved, dtype=torch.float16)  # type: ignore[arg-type]
        half = evaluate(checkpoints.load(trial).filter, source.load(source.describe().selection))
    moved = half.free_energy_pooled
    if not abs(moved - full) <= max(TOLERANCE, RELATIVE_TOLERANCE * abs(full)):
        raise TrainingError(
            f"half precision moves the free energy from {full:.4f} to {moved:.4f}: ship other weights, or smaller ones"
        )
    checkpoints.save(folder, **saved, dtype=torch.float16)  # type: ignore[arg-type]
    return half


def _write_card(
    folder: Path,
    facts: dict[str, Any],
    source: Source,
    limits_text: str | None,
    about_text: str | None,
    *,
    selected: Evaluation | None = None,
) -> Path:
    """Measure what is in the folder, but for the `selected` split where that is known; write the card in both forms."""
    shipped = checkpoints.load(folder)
    description = source.describe()
    valid, test = source.load(description.selection), source.load(description.reported)
    card = {
        **facts,
        "data": source.as_card(),
        "splits": [description.selection, description.reported],
        "valid": (selected or evaluate(shipped.filter, valid)).as_dict(),
        "test": evaluate(shipped.filter, test).as_dict(),
        "parameters": parameters(shipped.filter),
        "weights": str(stored_type(folder)),
        "about": about_text or facts.get("about") or about(description),
        "limits": limits_text or facts.get("limits") or limits(description),
        "reference": {"split": description.selection, **reference(shipped, valid)},
    }
    (folder / "card.json").write_text(readable(card) + "\n")
    (folder / "MODEL_CARD.md").write_text(model_card(card))
    return folder


def stored_type(folder: Path) -> str:
    """The precision of the weights on disk, "float16" say."""
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    return str(next(iter(weights.values())).dtype).removeprefix("torch.")


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
    options = parser.parse_args()
    texts = {"data": options.data, "limits_text": options.limits, "about_text": options.about}
    if options.refresh:
        print(refresh(options.refresh, **texts))
    elif options.run and options.name and options.title:
        print(publish(options.run, options.name, title=options.title, **texts))
    else:
        parser.error("give RUN, NAME and --title, or --refresh NAME")


if __name__ == "__main__":
    main()
