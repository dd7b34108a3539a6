"""Checkpoints of tiny models, untrained: the same weights each time."""

from pathlib import Path
from typing import Any

import torch

from avf_core import checkpoints, configuration

Settings = dict[str, dict[str, Any]]

ITERATIVE = {"kind": "iterative", "iterations": 2, "units": 16, "rule": "learned_sgd"}


def srnn(observation_size: int, **changes: Any) -> Settings:
    """The settings of an SRNN of so many observations, with eight hidden units and four latents."""
    model = {"latent_size": 4, "hidden_size": 8, "prior_widths": [8], "decoder_widths": [8]}
    return {"model": {"kind": "srnn", "observation_size": observation_size, **model, **changes}, "inference": ITERATIVE}


TWO_SENSORS = {
    "kind": "srnn",
    "observation_size": 2,
    "latent_size": 2,
    "hidden_size": 4,
    "prior_widths": [4],
    "decoder_widths": [4],
}
TINY = srnn(6)  # six binary numbers
KEYS = srnn(88)  # a piano roll
SPEECH = srnn(200, likelihood="discretized", scale=0.1)  # 200 samples of sound
GAUSSIAN: Settings = {
    "model": {"kind": "lgssm", "latent_size": 2, "observation_size": 3},
    "inference": {"kind": "iterative", "iterations": 1, "units": 8, "rule": "learned_sgd"},
}


def save(folder: Path, settings: Settings, *, seed: int = 0, **card: Any) -> Path:
    """Save a checkpoint in this folder, with weights drawn from the seed and this card; gives the folder."""
    torch.manual_seed(seed)
    checkpoints.save(folder, filter=configuration.build(settings), settings=settings, card=card)
    return folder
