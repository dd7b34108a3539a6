"""Short training runs on sequences that have a rule."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from avf_core import configuration
from avf_core.training import state
from avf_core.training.config import TrainingConfig
from avf_core.training.trainer import Run, Trainer
from tests.core.pairs import PAIRS


class Quiet:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def updated(self, progress: state.Progress, metrics: dict[str, float]) -> None:
        self.metrics.append(metrics)

    def validated(self, progress: state.Progress, record: dict[str, Any]) -> None:
        assert record["epoch"] == progress.epoch


def melodies(count: int, seed: int) -> list[np.ndarray]:
    """Binary sequences with a rule: one key of six sounds, and moves up by one each step."""
    generator = np.random.default_rng(seed)
    return [np.eye(6, dtype=np.uint8)[(generator.integers(6) + np.arange(12)) % 6] for _ in range(count)]


def make_run(folder: Path, pair: str = "srnn-whitened", **changes: Any) -> Run:
    schedule = {"epochs": 4, "clip_length": 8, "batch_size": 8, "validate_every": 2, "theta_rate": 1e-2}
    config = TrainingConfig(**{**schedule, "phi_rate": 3e-3, "average_decay": 0.9, **changes})
    settings = PAIRS[pair]
    return Run(
        settings=settings, config=config, train=melodies(20, 0), valid=melodies(6, 1), facts={"seed": 1}, folder=folder
    )


def trainer_of(run: Run) -> Trainer:
    torch.manual_seed(run.config.seed)
    return Trainer(run, configuration.build(run.settings), Quiet())


def never() -> bool:
    """Whether training is to stop."""
    return False
