"""From a finished run to a checkpoint of the zoo: half-precision weights, the test figures and the model card.

    python -m avf_core.training.publish RUN NAME --data PATH --title TEXT

The law: no figure on a card is typed; all come from the run and from `evaluate` on the weights as they ship.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from avf_core import checkpoints
from avf_core.data import Source
from avf_core.errors import TrainingError
from avf_core.evaluation import Evaluation, evaluate

TOLERANCE = 0.01  # nats per step that half precision may move the free energy


def publish(run: Path, name: str, *, data: Path, title: str, zoo: Path = checkpoints.ZOO) -> Path:
    """Write the run's best checkpoint to the zoo as `name`.

    Raises TrainingError where half precision costs too much.
    """
    trained = checkpoints.load(run)
    folder = zoo / name
    source = Source(path=data).like(trained.card["data"])
    description = source.describe()
    valid = source.load(description.selection)
    full = evaluate(trained.filter, valid).free_energy_pooled
    checkpoints.save(folder, filter=trained.filter, settings=trained.settings, card=trained.card, dtype=torch.float16)
    shipped = checkpoints.load(folder)
    half = evaluate(shipped.filter, valid)
    if abs(half.free_energy_pooled - full) > TOLERANCE:
        raise TrainingError(f"half precision moves the free energy from {full:.4f} to {half.free_energy_pooled:.4f}")
    test = evaluate(shipped.filter, source.load(description.reported))
    result = json.loads((run / "result.json").read_text())
    card = {
        **trained.card,
        "title": title,
        "name": name,
        "seconds": result["seconds"],
        "total_updates": result["updates"],
        "budget": result["updates"] + trained.card.get("init", {}).get("updates", 0),
        "skipped_updates": result["skipped"],
        "splits": [description.selection, description.reported],
        "valid": half.as_dict(),
        "test": test.as_dict(),
        "parameters": {
            "model": sum(p.numel() for p in shipped.filter.model.parameters()),
            "inference": sum(p.numel() for p in shipped.filter.inference.parameters()),
        },
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    (folder / "MODEL_CARD.md").write_text(model_card(card, half, test))
    return folder


def model_card(card: dict[str, Any], valid: Evaluation, test: Evaluation) -> str:
    """The card as Markdown."""
    rows = [
        ("free energy, pooled over steps", "free_energy_pooled"),
        ("free energy, mean over sequences", "free_energy_sequence_mean"),
        ("free energy, without first frames", "free_energy_without_first_frame"),
        ("reconstruction", "reconstruction"),
        ("KL", "kl"),
    ]
    table = "\n".join(f"| {text} | {getattr(valid, key):.3f} | {getattr(test, key):.3f} |" for text, key in rows)
    energies = ", ".join(f"{energy:.3f}" for energy in test.free_energy_by_iteration)
    by_iteration = (
        f"\nTest free energy after 0 to {test.iterations} inference iterations: {energies}.\n"
        if test.iterations
        else ""
    )
    settings = json.dumps(card["training"])
    init = card.get("init")
    commands = ", then ".join(f"`{command}`" for command in init["commands"]) if init else ""
    start = f"the weights of {commands}; {init['updates']} updates" if init else "random weights"
    return f"""# {card["name"]}: {card["title"]}

| nats per step, every frame scored | {" | ".join(card["splits"])} |
|---|---|---|
{table}
{by_iteration}
| | |
|---|---|
| data | {card["data"]["name"]}: piano rolls of 88 keys, a frame a quarter note, transposed to C major or C minor |
| split | {card["split"]}; {card["splits"][1]}: {test.sequences} sequences, {test.steps} steps |
| command | `{card["command"]}` |
| seed | {card["seed"]} |
| training | {card["epoch"]} epochs to the best validation, {card["updates"]} updates ({card["total_updates"]} in all, \
{card["skipped_updates"]} skipped), {card["seconds"] / 60:.0f} minutes; torch {card["torch"]} |
| start | {start} |
| schedule | `{settings}` |
| parameters | {card["parameters"]["model"]:,} in the model, {card["parameters"]["inference"]:,} in the inference model |
| weights | float16, computed in float32 |

**Limits.** It knows four-part chorales in C, as this data set writes them (an octave above sounding pitch), and
nothing else. Other rhythm, keys or textures come out as surprise. Inputs are zeros and ones.
"""


def main() -> None:
    """Publish the run that the command line names."""
    parser = argparse.ArgumentParser(description="Publish a run to the zoo.")
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--title", required=True)
    options = parser.parse_args()
    print(publish(options.run, options.name, data=options.data, title=options.title))


if __name__ == "__main__":
    main()
