"""Where strings become objects: a filter from its configuration, a plain nested mapping.

    {"model": {"kind": "srnn", "latent_size": 100}, "inference": {"kind": "iterative", "iterations": 5}}

`kind` is the name of a file in avf_core/models or avf_core/inference; the other keys are fields of its `Config`.
Unknown kinds and keys fail, and the error lists those there are.
"""

from typing import Any

from avf_core import inference, models
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference.base import Inference
from avf_core.models.base import Model
from avf_core.plugins import Settings, configure, plugin

__all__ = ["Settings", "build", "build_inference", "build_model", "configure"]


def build(settings: Settings) -> Filter:
    """The filter that `settings` describe, with fresh parameters.

    Raises ConfigurationError for unknown kinds and keys, and for values that a `Config` refuses.
    """
    unknown = set(settings) - {"model", "inference"}
    if unknown:
        raise ConfigurationError(f"unknown sections {sorted(unknown)}, expected 'model' and 'inference'")
    model = build_model(settings["model"])
    return Filter(model, build_inference(settings["inference"], model))


def build_model(settings: Settings) -> Model:
    """The model of these settings, with fresh parameters."""
    module = plugin(models, settings.get("kind"))
    model: Model = module.Model(configure(module.Config, _without_kind(settings)))
    return model


def build_inference(settings: Settings, model: Model) -> Inference:
    """The inference procedure of these settings, with the sizes of `model`."""
    module = plugin(inference, settings.get("kind"))
    config = configure(module.Config, _without_kind(settings))
    procedure: Inference = module.Inference(config, model)
    return procedure


def _without_kind(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "kind"}
