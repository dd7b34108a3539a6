"""A model of two sensors that knows about which number each of its channels lies."""

from pathlib import Path
from typing import Any

from tests.support import models
from tests.support.models import TWO_SENSORS

CENTER, SCALE = [15.0, 1013.0], [8.0, 7.0]
SETTINGS: dict[str, Any] = {
    "model": {
        **TWO_SENSORS,
        "likelihood": "gaussian",
        "center": CENTER,
        "scale": SCALE,
    },
    "inference": {"kind": "direct", "widths": [4]},
}
CARD: dict[str, Any] = {"name": "weather", "data": {"channels": ["temp [C]", "pressure"]}}


def weather_in(folder: Path) -> Path:
    """The checkpoint `weather`, with random weights, in this folder."""
    return models.save(folder / "weather", SETTINGS, **CARD)
