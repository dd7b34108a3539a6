"""The page on a filter of `avf fit`: whether it is any good, on what, and what to do next; as Markdown."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from avf_core.analysis.verdict import Verdict

THE_FILTER = "the filter"
QUANTILES = (0.05, 0.5, 0.95, 0.99)


def page(title: str, card: Mapping[str, Any], found: Verdict) -> str:
    """All that was found, the verdict first."""
    return f"""# {title}: a filter of {card["about"]}

**{found.sentence[0].upper()}{found.sentence[1:]}.**

{beside(found)}

{notes(found)}

## What it observes

{_channels(card)}

{card["limits"]}

## How it came about

{_candidates(card)} The one picked, `{card["preset"]}`, was trained for {card["seconds"] / 60:.1f} minutes of a
processor ({card["updates"]} updates) by `{card["command"]}`, seed {card["seed"]}, torch {card["torch"]}. Split:
{card["split"]}; judged on {card["splits"][1]}. ![validation](curve.png)

## What is normal

{_reference(card)}
"""


def rows(found: Verdict) -> list[tuple[str, float, dict[int, float]]]:
    """Names, nats and errors by horizon of filter and baselines, the best in nats first."""
    listed = [(score.name, score.nats, score.errors) for score in found.comparison.scores]
    return sorted([(THE_FILTER, found.nats, found.errors), *listed], key=lambda row: row[1])


def beside(found: Verdict) -> str:
    """The filter in its place among the baselines, as a table of Markdown."""
    heads = ["", "nats per step", *(f"error, {horizon} ahead" for horizon in found.errors)]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for name, nats, errors in rows(found):
        cells = [name, f"{nats:.3f}", *(f"{error:.3f}" for error in errors.values())]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def notes(found: Verdict) -> str:
    """What the errors are of, and what of what came lay within bands."""
    asked = ", ".join(f"{level:.0%}" for level in found.coverage)
    held = ", ".join(f"{part:.1%}" for part in found.coverage.values())
    starts = len(found.comparison.starts)
    return (
        f"Errors are of forecasts from {starts} steps, in deviations of the training data; baselines are fitted to the "
        f"same data. The filter's are of {found.manner}, as is best on validation data. "
        f"Bands of {asked} hold {held} of what came."
    )


def _channels(card: Mapping[str, Any]) -> str:
    names = card["data"].get("channels") or [str(n) for n in range(len(card["ranges"]))]
    lines = ["| channel | usually from | middle | to |", "|---|---:|---:|---:|"]
    for name, (low, middle, high) in zip(names, card["ranges"], strict=True):
        lines.append(f"| {name} | {low:.6g} | {middle:.6g} | {high:.6g} |")
    inputs = card["data"].get("inputs")
    return "\n".join([*lines, *(["", f"Given, not observed: {', '.join(inputs)}."] if inputs else [])])


def _candidates(card: Mapping[str, Any]) -> str:
    scored = sorted(card["candidates"].items(), key=lambda item: item[1])
    tried = ", ".join(f"`{name}` {nats:.3f}" for name, nats in scored)
    lost = [
        f"`{name}` forecasts worse than a vector autoregression "
        f"({', '.join(f'{part:.1%} at {horizon}' for horizon, part in parts.items())})"
        for name, parts in card["behind"].items()
        if parts
    ]
    told = f" Beyond noise, {'; '.join(lost)}: what does so is picked only where all do." if lost else ""
    return f"Tried, with nats per step on {card['splits'][0]}: {tried}.{told}"


def _reference(card: Mapping[str, Any]) -> str:
    reference = card.get("reference")
    if reference is None:
        return "The validation split is too short for a reference distribution: surprise has no p-value."
    values = np.interp(QUANTILES, reference["levels"], reference["values"])
    shown = ", ".join(f"{level:.0%} below {value:.2f}" for level, value in zip(QUANTILES, values, strict=True))
    return (
        f"The free energy of a step, over {reference['count']} steps of {reference['split']}: {shown} nats. Surprise "
        "of a served session is its p-value on that distribution."
    )
