"""What the page of results says of the shipped checkpoints, from their cards."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from avf_core import checkpoints
from avf_core.analysis.operating import Point
from avf_core.training.model_card import said

HEADING = """| checkpoint | data | inference | reported, pooled | error over noise | mean over sequences \
| without first frames | KL | selected, pooled | updates in all | to the best |
|---|---|---|---|---|---|---|---|---|---|---|"""

PREDICTIONS = """| checkpoint | 50 % interval covers | 90 % interval covers | 98 % interval covers \
| mean ± 1.645 deviations covers | calibration error of probabilities |
|---|---|---|---|---|---|"""


def section() -> str:
    """The cards as tables, and the commands behind each checkpoint; empty where the zoo is."""
    cards = [checkpoints.read_card(checkpoints.ZOO / name) for name in checkpoints.available()]
    if not cards:
        return ""
    commands = [line for card in cards for line in (f"# {card['name']}", *_commands(card))]
    return "\n".join(
        [
            "## The zoo\n",
            "What ships, as it ships (weights in half precision where that costs nothing); `avf evaluate` gives these",
            "figures again. ± is over",
            "sequences; in 99 of 100 cases another seed moves a pooled figure by less than twice its error over noise.",
            "Inference: iterations x gradient samples of each.\n",
            HEADING,
            *map(_row, cards),
            "",
            "What their predictions, made before each frame, turned out to mean on the same split: how much the",
            "intervals cover, and how far probabilities are from frequencies (expected calibration error, ten bins).\n",
            PREDICTIONS,
            *map(_predicted, cards),
            "",
            *_judged(cards),
            "The runs behind them, in order; each starts (`START`) from the best checkpoint before it:\n",
            "```console",
            *commands,
            "```\n",
        ]
    )


def beside(rows: Sequence[Mapping[str, Any]]) -> str:
    """What textbooks and codecs need for the same frames, and the checkpoints among them, the fewest nats first.

    A row holds `data`, `split`, `by` and `nats per step`. A checkpoint that loses to one is named as what it is.
    """
    cards = [checkpoints.read_card(checkpoints.ZOO / name) for name in checkpoints.available()]
    lines = []
    for data, split in dict.fromkeys((row["data"], row["split"]) for row in rows):
        known = [(row["nats per step"], row["by"]) for row in rows if (row["data"], row["split"]) == (data, split)]
        best = min(nats for nats, _ in known)
        for card in cards:
            if (card["data"]["name"], card["splits"][1]) == (data, split):
                nats = card["test"]["free_energy_pooled"]
                name = f"`{card['name']}`" if nats <= best else f"`{card['name']}`, which reproduces the paper's kind"
                known.append((nats, name))
        lines += [f"| {data}, {split} | {by} | {nats:,.{1 if nats >= 100.0 else 2}f} |" for nats, by in sorted(known)]
    return "\n".join(
        [
            "## Beside textbooks and codecs\n",
            "Nats per step of the reported split, every frame scored, in the same units; `python -m benchmarks.codecs`",
            "measures what is neither a checkpoint nor taken from its publication.\n",
            "| data | by | nats per step |\n|---|---|---|",
            *lines,
            "",
        ]
    )


def _commands(card: dict[str, Any]) -> list[str]:
    return [*card.get("init", {}).get("commands", []), card["command"]]


def _row(card: dict[str, Any]) -> str:
    test, valid = card["test"], card["valid"]
    cells = [
        f"`{card['name']}`",
        f"{card['data']['name']}, {card['splits'][1]}",
        _point(card),
        f"**{said(test, 'free_energy_pooled', 'standard_error')}**",
        "–" if test.get("noise_error") is None else f"{test['noise_error']:.2g}",
        said(test, "free_energy_sequence_mean", "sequence_mean_error"),
        said(test, "free_energy_without_first_frame"),
        said(test, "kl"),
        said(valid, "free_energy_pooled"),
        str(card["budget"]),
        str(card["updates"] + card.get("init", {}).get("updates", 0)),
    ]
    return f"| {' | '.join(cells)} |"


def _judged(cards: Sequence[Mapping[str, Any]]) -> list[str]:
    """Filters of sensors beside predictors that were fitted to the same data."""
    told = [f"- `{card['name']}`: {card['verdict']['verdict']}." for card in cards if "verdict" in card]
    if not told:
        return []
    return ['Of sensors, beside predictors that were fitted to the same data, tested as under "Sensors":\n', *told, ""]


def _point(card: Mapping[str, Any]) -> str:
    """How a checkpoint is run: at the point that its card chose on the curve, or as it was trained."""
    trained = json.loads((checkpoints.ZOO / card["name"] / checkpoints.CONFIG).read_text())
    point = Point.configured(checkpoints.operated(trained, card))
    return "direct" if point.iterations is None else str(point)


def _predicted(card: dict[str, Any]) -> str:
    found = card["predictions"]
    covered = [f"{share:.1%}" for share in found["coverage"] or ()] or ["–"] * 3
    band = "–" if found["band_90"] is None else f"{found['band_90']:.1%}"
    error = "–" if found["calibration_error"] is None else f"{found['calibration_error']:.4f}"
    cells = [f"`{card['name']}`", *covered, band, error]
    return f"| {' | '.join(cells)} |"
