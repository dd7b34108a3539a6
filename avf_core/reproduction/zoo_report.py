"""What the page of results says of the shipped checkpoints, from their cards."""

from typing import Any

from avf_core import checkpoints

HEADING = """| checkpoint | data | inference | reported, pooled | mean over sequences | without first frames | KL \
| selected, pooled | updates in all | to the best |
|---|---|---|---|---|---|---|---|---|---|"""


def section() -> str:
    """The cards as a table, and the commands behind each checkpoint; empty where the zoo is."""
    cards = [checkpoints.read_card(checkpoints.ZOO / name) for name in checkpoints.available()]
    if not cards:
        return ""
    commands = [line for card in cards for line in (f"# {card['name']}", *_commands(card))]
    return "\n".join(
        [
            "## The zoo\n",
            "What ships, as it ships (weights in half precision); `avf evaluate` gives these figures again.\n",
            HEADING,
            *map(_row, cards),
            "",
            "The runs behind them, in order; each starts (`START`) from the best checkpoint before it:\n",
            "```console",
            *commands,
            "```\n",
        ]
    )


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
