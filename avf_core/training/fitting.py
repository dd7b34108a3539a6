"""Training in one call: from a filter and sequences to a checkpoint, for programs; `avf fit` and `avf train` are for
people."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from avf_core import checkpoints, configuration
from avf_core.checkpoints import Checkpoint
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.training import presets
from avf_core.training._given import Given, sequences_of
from avf_core.training.config import TrainingConfig
from avf_core.training.listeners import Several
from avf_core.training.sizes import sized
from avf_core.training.trainer import Listener, Run, Trainer


def fit(
    filter: Filter | Mapping[str, Mapping[str, Any]] | str,
    train: Given,
    valid: Given,
    *,
    folder: str | Path | None = None,
    schedule: TrainingConfig | None = None,
    listener: Listener | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Checkpoint:
    """The best checkpoint of a filter that is trained on `train`: that of the lowest free energy on `valid`.

    The filter is one that `build` made, which is trained as it stands, in place; or its settings, as `build` takes
    them; or the name of a preset, such as "sensor", whose schedule is taken where none is given. From settings, and of
    a preset, a model that standardises, and was not told how, takes the units of `train`.

    Data are sequences of shape (time, observation) in natural units, NaN where a number is missing: arrays or tensors,
    a torch Dataset of them, or a DataLoader whose batches are of shape (batch, time, observation). A run in a `folder`
    goes on from where it stands there; without one nothing is kept but what is returned.

    Raises ConfigurationError, DataError, and TrainingError where nothing can be learned.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as place:
            options = {"schedule": schedule, "listener": listener, "stop": stop}
            return fit(filter, train, valid, folder=place, **options)  # type: ignore[arg-type]
    given, held_out = sequences_of(train), sequences_of(valid)
    settings, built, config = _chosen(filter, given, held_out, schedule)
    facts = {"seed": config.seed}
    run = Run(settings=settings, config=config, train=given, valid=held_out, facts=facts, folder=Path(folder))
    trainer = Trainer(run, built, listener or Several())
    trainer.resume()
    trainer.train(stop=stop)
    best = checkpoints.load(run.folder)
    if isinstance(filter, Filter):
        filter.load_state_dict(best.filter.state_dict())
        filter.eval()
    return best


def _chosen(
    filter: Filter | Mapping[str, Mapping[str, Any]] | str, train: Any, valid: Any, schedule: TrainingConfig | None
) -> tuple[dict[str, dict[str, Any]], Filter, TrainingConfig]:
    """Settings, a filter of these to train, and how."""
    if isinstance(filter, Filter):
        if filter.settings is None:
            raise ConfigurationError("the filter does not know its settings: make it by avf_core.build, or pass those")
        known = {section: dict(values) for section, values in filter.settings.items()}
        return known, filter.requires_grad_(True), schedule or TrainingConfig()
    if isinstance(filter, str):
        preset = sized(presets.get(filter), train, valid)
        settings, config = preset.settings, schedule or preset.training
    else:
        settings, config = {section: dict(values) for section, values in filter.items()}, schedule or TrainingConfig()
    torch.manual_seed(config.seed)
    fitted = presets.fit(settings, train)
    built = configuration.build(fitted)
    built.model.begin(train)
    return fitted, built, config
