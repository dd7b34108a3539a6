"""What the page of results says of the shipped checkpoints, from their cards.

`NAME/*.json` in the folder of records are the `result.json` of the runs behind a checkpoint, in the order of their
names, where they are no entries of a table.
"""

import json
from pathlib import Path
from typing import Any

from avf_core import checkpoints
from avf_core.training import tables

HEADING = """| checkpoint | data | inference | reported, pooled | mean over sequences | without first frames | KL \
| selected, pooled | updates in all | to the best |
|---|---|---|---|---|---|---|---|---|---|"""


def section(results: Path) -> str:
    """The cards as a table, and the commands behind each checkpoint; empty where the zoo is."""
    cards = [json.loads((checkpoints.ZOO / name / "card.json").read_text()) for name in checkpoints.available()]
    if not cards:
        return ""
    plot = "![The zoo: validation while training](images/results-zoo.png)\n\n" if stages(results) else ""
    commands = [line for card in cards for line in (f"# {card['name']}", *_commands(card))]
    return "\n".join(
        [
            "## The zoo\n",
            "What ships, as it ships (weights in half precision); `avf evaluate` gives these figures again.\n",
            HEADING,
            *map(_row, cards),
            "",
            f"{plot}The runs behind them, in order; each starts (`START`) from the best checkpoint before it:\n",
            "```console",
            *commands,
            "```\n",
        ]
    )


def stages(results: Path) -> dict[str, list[dict[str, Any]]]:
    """By checkpoint the results of the runs behind it, where they are kept; the oldest first."""
    found = {}
    for name in checkpoints.available():
        paths = sorted((results / name).glob("*.json")) if name not in tables.TABLES else []
        if paths:
            found[name] = [json.loads(path.read_text()) for path in paths]
    return found


def _commands(card: dict[str, Any]) -> list[str]:
    return [*card.get("init", {}).get("commands", []), card["command"]]


def _row(card: dict[str, Any]) -> str:
    test, valid = card["test"], card["valid"]
    how = f"{test['iterations']} iteration{'s' if test['iterations'] != 1 else ''}" if test["iterations"] else "direct"
    digits = 1 if abs(test["free_energy_pooled"]) >= 100.0 else 3
    cells = [
        f"`{card['name']}`",
        f"{card['data']['name']}, {card['splits'][1]}",
        how,
        f"**{test['free_energy_pooled']:.{digits}f}**",
        f"{test['free_energy_sequence_mean']:.{digits}f}",
        f"{test['free_energy_without_first_frame']:.{digits}f}",
        f"{test['kl']:.{digits}f}",
        f"{valid['free_energy_pooled']:.{digits}f}",
        str(card["budget"]),
        str(card["updates"] + card.get("init", {}).get("updates", 0)),
    ]
    return f"| {' | '.join(cells)} |"
