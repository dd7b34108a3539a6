"""The curve of F against milliseconds of a checkpoint of the zoo, for its card, and the point on it that it is run at.

    python -m avf_core.training.curve NAME --data PATH

The laws: the curve is taken on the split that training was selected on, and so is the point: the fastest that costs at
most `operating.NEAR` nats a step beside the best, or `operating.RELATIVE` of F where that is more. That is half of what
a card's figures may move by at all; the other half is left to the precision of the machine. Where the point is another
one than before, all figures of the card are measured anew at it. The weights, and what they were trained with, stay.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avf_core import checkpoints
from avf_core.analysis import operating
from avf_core.analysis.operating import Point, Worth
from avf_core.data import Source
from avf_core.training import measuring, publish

DIGITS = 4  # of milliseconds


def take(name: str, *, data: Path, zoo: Path = checkpoints.ZOO) -> Path:
    """Take the curve of a checkpoint of the zoo, and write its card; gives the folder."""
    shipped = checkpoints.load(zoo / name)
    source = Source(path=data).like(shipped.card["data"])
    split = source.describe().selection
    sequences = operating.first(source.load(split))
    found = operating.curve(shipped.filter, shipped.settings, sequences)
    card = {**shipped.card, "curve": _curve(found, split, sequences)}
    point = chosen(shipped.settings, found)
    if point != (shipped.card.get("operating") or {}):
        card["operating"] = point
        filter = operating.at(shipped.filter, shipped.settings, configured(shipped.settings, point))
        card = publish.measured(replace(shipped, filter=filter), card, source)
    return publish.save(zoo / name, card, {})


def chosen(settings: Mapping[str, Any], found: Sequence[Worth]) -> dict[str, Any]:
    """What a card says of the point; nothing, where that is as it was trained, or where nothing iterates."""
    full = Point.configured(settings)
    if full.iterations is None:
        return {}
    point = operating.knee(found, near=operating.NEAR, relative=operating.RELATIVE).point
    said = {name: list(value) if isinstance(value, tuple) else value for name, value in point.settings.items()}
    return {} if point == full else said


def configured(settings: Mapping[str, Any], said: Mapping[str, Any]) -> Point:
    """The point of these settings, with what a card says of it."""
    return Point.configured({"inference": {**settings["inference"], **said}})


def _curve(found: Sequence[Worth], split: str, sequences: Sequence[Any]) -> dict[str, Any]:
    rows = [worth.as_dict() for worth in found]
    for row in rows:
        row |= {key: round(float(str(row[key])), DIGITS) for key in ("ms_1", "ms_64")}
    steps = sum(map(len, sequences))
    return {"split": split, "sequences": len(sequences), "steps": steps, "machine": _machine(), "points": rows}


def _machine() -> str:
    """The processor, in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    options = measuring.parser("Take the curve of a checkpoint of the zoo, for its card.")
    measuring.run("curve", options, lambda found: take(found.name, data=found.data))
