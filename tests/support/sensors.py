"""A model of two sensors that knows about which number each of its channels lies."""

from pathlib import Path
from typing import Any

from avf_core import checkpoints, configuration

CENTER, SCALE = [15.0, 1013.0], [8.0, 7.0]
SETTINGS: dict[str, Any] = {
    "model": {
        "kind": "srnn",
        "observation_size": 2,
        "latent_size": 2,
        "hidden_size": 4,
        "prior_widths": [4],
        "decoder_widths": [4],
        "likelihood": "gaussian",
        "center": CENTER,
        "scale": SCALE,
    },
    "inference": {"kind": "direct", "widths": [4]},
}
CARD = {"name": "weather", "data": {"channels": ["temp [C]", "pressure"]}}


def weather_in(folder: Path) -> Path:
    """The checkpoint `weather`, with random weights, in this folder."""
    place = folder / "weather"
    checkpoints.save(place, filter=configuration.build(SETTINGS), settings=SETTINGS, card=CARD)
    return place
