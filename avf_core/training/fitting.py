"""Training in one call: from settings and sequences to a checkpoint, for programs; `avf train` is for people."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from avf_core import checkpoints, configuration
from avf_core.checkpoints import Checkpoint
from avf_core.data import Sequences
from avf_core.training import presets
from avf_core.training.config import TrainingConfig
from avf_core.training.listeners import Several
from avf_core.training.trainer import Listener, Run, Trainer


def fit(
    settings: Mapping[str, Mapping[str, Any]],
    train: Sequences,
    valid: Sequences,
    *,
    folder: str | Path,
    schedule: TrainingConfig | None = None,
    listener: Listener | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Checkpoint:
    """The best checkpoint of the filter that `settings` describe, as `build` does, trained on `train`.

    Best is the lowest free energy on `valid`, in nats per step. Sequences have shape (time, observation), in natural
    units; a model that standardises, and was not told how, takes the mean and deviation of `train`. The run is in
    `folder`, and goes on from where it stands there. Raises ConfigurationError, and TrainingError where nothing can be
    learned.
    """
    config = schedule or TrainingConfig()
    torch.manual_seed(config.seed)
    chosen = presets.fit({section: dict(values) for section, values in settings.items()}, train)
    facts = {"seed": config.seed}
    run = Run(settings=chosen, config=config, train=train, valid=valid, facts=facts, folder=Path(folder))
    filter = configuration.build(chosen)
    filter.model.begin(train)
    trainer = Trainer(run, filter, listener or Several())
    trainer.resume()
    trainer.train(stop=stop)
    return checkpoints.load(run.folder)
