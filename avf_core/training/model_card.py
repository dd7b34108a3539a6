"""The model card as Markdown, from its facts: data, split, commands, seed, figures, sizes and limits."""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from avf_core.analysis import student
from avf_core.analysis.operating import NEAR, RELATIVE, Point
from avf_core.data import Description
from avf_core.filtering import Filter

ROWS = [
    ("free energy, pooled over steps", "free_energy_pooled", "standard_error"),
    ("free energy, mean over sequences", "free_energy_sequence_mean", "sequence_mean_error"),
    ("free energy, without first frames", "free_energy_without_first_frame", None),
    ("reconstruction", "reconstruction", None),
    ("KL", "kl", None),
]
"""What a card says of a split, by which figure, and the figure's error over sequences."""
QUANTILES = (0.05, 0.5, 0.95)
UNTOLD = 0.004  # the error of a figure that has none beside it


def about(data: Description) -> str:
    """What observations of such data are, in a few words."""
    if data.modality == "music":
        return f"piano rolls of {data.observation_size} keys"
    if data.modality == "audio":
        return f"speech, frames of {data.observation_size} samples at {data.rate} Hz"
    if data.modality == "video" and data.shape is not None:
        return f"video, grey frames of {' x '.join(map(str, data.shape))} pixels"
    if data.channels is not None:
        return f"{data.observation_size} numbers a step: {', '.join(data.channels)}"
    return f"{data.observation_size} numbers a step"


def limits(data: Description) -> str:
    """What a checkpoint that was trained on such data does not know."""
    if data.modality == "music":
        return (
            "It knows the style, the keys and the frame length of this data set, and nothing else; other music comes "
            "out as surprise. Inputs are zeros and ones."
        )
    if data.modality == "audio":
        return (
            "It knows the voices, the language and the microphones of this data set. Noise, music, other levels and "
            "other sampling rates come out as surprise; audio has to be resampled to its rate, within [-1, 1]."
        )
    if data.modality == "video":
        return (
            "It knows the scenes, the camera and the people of this data set. Other backgrounds, sizes and movements "
            "come out as surprise. Pixels are grey, within [0, 1]."
        )
    return "It knows this data set and nothing else; what is unlike it comes out as surprise."


def model_card(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    facts = "\n".join(f"| {name} | {text} |" for name, text in _facts(card).items())
    return f"""# {card["name"]}: {card["title"]}

| nats per step, every frame scored | {" | ".join(card["splits"])} |
|---|---|---|
{_figures(card["valid"], card["test"])}

± is over sequences. Another seed moves a pooled figure by less than twice its error over noise, in 99 of 100 cases.
{_by_iteration(card)}{_beside(card)}{_curve(card)}
| | |
|---|---|
{facts}

**Limits.** {card["limits"]}
"""


def said(found: Mapping[str, Any], key: str, error: str | None = None) -> str:
    """A figure of an evaluation, with its error over sequences and as many digits as the error over noise allows.

    Evaluations of before errors were told have three digits.
    """
    by = found.get("noise_error") or found.get("standard_error") or UNTOLD
    return student.told(float(found[key]), found.get(error) if error else None, by=by)


def _figures(valid: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    rows = [f"| {text} | {said(valid, key, error)} | {said(test, key, error)} |" for text, key, error in ROWS]
    told = [found.get("noise_error") for found in (valid, test)]
    noise = ["–" if error is None else f"{error:.2g}" for error in told]
    return "\n".join([*rows, f"| error over noise | {' | '.join(noise)} |"])


def _by_iteration(card: Mapping[str, Any]) -> str:
    test = card["test"]
    if not test["iterations"]:
        return ""
    energies = ", ".join(said({**test, "energy": energy}, "energy") for energy in test["free_energy_by_iteration"])
    return f"\nFree energy on {card['splits'][1]} after 0 to {test['iterations']} inference iterations: {energies}.\n"


def _beside(card: Mapping[str, Any]) -> str:
    """The filter in its place among textbook predictors, where it was judged beside them."""
    found = card.get("verdict")
    if not found:
        return ""
    rows = {"the filter": found, **found["baselines"]["rows"]}
    horizons = list(found["errors"])
    lines = []
    for name, row in sorted(rows.items(), key=lambda item: float(item[1]["nats"])):
        errors = [f"{row['errors'][horizon]:.3f}" for horizon in horizons]
        nats = f"{row['nats']:.3f}"
        lines.append(f"| {' | '.join([name, nats, *errors])} |")
    return f"""
Beside predictors that were fitted to the same data: {found["verdict"]}. Errors are of forecasts, in deviations of the
training data.

| {card["splits"][1]} | nats per step | {" | ".join(f"error, {horizon} ahead" for horizon in horizons)} |
|---|---|{"---|" * len(horizons)}
{chr(10).join(lines)}
"""


def period(card: Mapping[str, Any]) -> float | None:
    """The seconds that a step stands for; None where nobody knows."""
    if "period" in card:
        return float(card["period"])
    samples = re.search(r"frames of (\d+) samples", card["about"])
    return int(samples[1]) / card["sample_rate"] if samples and card.get("sample_rate") else None


def _real_time(card: Mapping[str, Any]) -> dict[str, str]:
    """How much faster than its data come a filter is, on one thread."""
    seconds, curve = period(card), card.get("curve")
    if seconds is None or not curve:
        return {}
    at = card.get("operating") and point_of(card["operating"])
    row = next((row for row in curve["points"] if point_of(row) == at), curve["points"][0])
    factor = 1e3 * seconds / row["ms_1"]
    return {"real time": f"a step stands for {seconds:g} s, and takes {row['ms_1']:.3f} ms alone: {factor:,.0f} times"}


def _curve(card: Mapping[str, Any]) -> str:
    """F against milliseconds, the fastest first."""
    found = card.get("curve")
    if not found:
        return ""
    rows = [
        f"| {point_of(row)} | {said({**card['test'], 'energy': row['free_energy']}, 'energy')} "
        f"| {row['ms_1']:.3f} | {row['ms_64']:.4f} |"
        for row in found["points"]
    ]
    direct = found["points"][0]["iterations"] is None
    at = _shipping(direct, card.get("operating"))
    return f"""
What the time of a step is worth, on {found["steps"]} steps of {found["split"]}: milliseconds of a row, alone and of a
batch of 64, processor time of one thread of {found["machine"]}.
{at}

| {"particles" if direct else "iterations x gradient samples"} | nats per step | alone | of 64 |
|---|---|---|---|
{chr(10).join(rows)}
"""


def _shipping(direct: bool, operating: Mapping[str, Any] | None) -> str:
    """At which point it ships, and why."""
    if direct:
        return "It ships with one; with more, the energy is the bound, and sessions ask for them by `particles`."
    rule = f"the fastest that costs at most {NEAR} nats, or {RELATIVE:.2%}, beside the best"
    return f"It ships at {point_of(operating)}, {rule}." if operating else f"It ships as it was trained, {rule}."


def point_of(said: Mapping[str, Any]) -> Point:
    """A point of a card."""
    samples = said.get("samples")
    return Point(
        iterations=said.get("iterations"),
        samples=tuple(samples) if isinstance(samples, list | tuple) else samples,
        particles=said.get("particles", 1),
    )


def _facts(card: Mapping[str, Any]) -> dict[str, str]:
    data, test = card["data"], card["test"]
    options = f", read with `{json.dumps(data['options'])}`" if data["options"] else ""
    sizes = card["parameters"]
    return {
        "data": f"{data['name']} ({data['kind']}{options}): {card['about']}",
        "split": f"{card['split']}; {card['splits'][1]}: {test['sequences']} sequences, {test['steps']} steps",
        "command": f"`{card['command']}`",
        "seed": str(card["seed"]),
        "training": (
            f"{card['epoch']} epochs to the best validation, {card['updates']} updates ({card['total_updates']} in "
            f"all, {card['skipped_updates']} skipped), {card['seconds'] / 60:.0f} minutes; torch {card['torch']}"
        ),
        "start": _start(card.get("init")),
        "schedule": f"`{json.dumps(card['training'])}`",
        "parameters": f"{sizes['model']:,} in the model, {sizes['inference']:,} in the inference model",
        "weights": f"{card['weights']}, computed in float32",
        **_real_time(card),
        **({"predictions": _predictions(card)} if "predictions" in card else {}),
        "surprise": _reference(card["reference"]),
    }


def _start(init: Mapping[str, Any] | None) -> str:
    if not init:
        return "random weights"
    commands = ", then ".join(f"`{command}`" for command in init["commands"])
    return f"the weights of {commands}; {init['updates']} updates"


def _predictions(card: Mapping[str, Any]) -> str:
    """How far what is predicted means what it says."""
    found, (selected, reported) = card["predictions"], card["splits"]
    how = f"one step ahead on {reported}, by {found['samples']} samples of the prior"
    if found["coverage"] is None:
        return f"expected calibration error {found['calibration_error']:.4f}, {how}"
    bands = dict(zip(found["levels"], found["coverage"], strict=True))
    return (
        f"the 90 % band covers {bands[0.9]:.1%}, mean +- 1.645 deviations {found['band_90']:.1%}, {how}; "
        f"recalibrated on {' and '.join(card.get('calibrated_on', [selected]))}"
    )


def _reference(reference: Mapping[str, Any]) -> str:
    """What free energies of a step are normal."""
    values = np.interp(QUANTILES, reference["levels"], reference["values"])
    shown = ", ".join(f"{level:.0%} below {value:.2f}" for level, value in zip(QUANTILES, values, strict=True))
    return f"the free energy of a step, over {reference['count']} steps of {reference['split']}: {shown} nats"


def readable(value: object) -> str:
    """JSON with an item a line, but lists of numbers in one."""
    return re.sub(r"\[\n[^\[\]{}\"]*\]", lambda m: " ".join(m[0].split()), json.dumps(value, indent=1))


def parameters(filter: Filter) -> dict[str, int]:
    """How many numbers were learned."""
    return {
        "model": sum(p.numel() for p in filter.model.parameters()),
        "inference": sum(p.numel() for p in filter.inference.parameters()),
    }
