"""A model that hears the calendar: two sensors, a valve, and of the time the hour and the weekday."""

from pathlib import Path
from typing import Any

import torch

from avf_core import calendar, checkpoints, configuration
from tests.support.models import TWO_SENSORS

MADE = calendar.names(["hour", "weekday"])
SETTINGS: dict[str, Any] = {
    "model": {
        **TWO_SENSORS,
        "likelihood": "vector-autoregressive",
        "emission": {"order": 1, "inputs": 5},
        "input_size": 5,
        "decode_inputs": True,
        "usual_dt": 3600.0,
    },
    "inference": {"kind": "direct", "widths": [4]},
}
CARD = {"name": "tides", "data": {"channels": ["level", "flow"], "inputs": ["valve", *MADE]}}
START = 1_704_067_200.0 + 5 * 3600.0  # five in the morning of a Monday


def save(models: Path) -> Path:
    """Its checkpoint, in a folder of this one, with weights drawn at random."""
    torch.manual_seed(2)
    filter = configuration.build(SETTINGS)
    with torch.no_grad():
        filter.model.emission.driving.normal_()
    checkpoints.save(models / "tides", filter=filter, settings=SETTINGS, card=CARD)
    return models / "tides"
