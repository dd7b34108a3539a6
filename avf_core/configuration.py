"""Where strings become objects: a filter from its configuration, a plain nested mapping.

    {"model": {"kind": "srnn", "latent_size": 100}, "inference": {"kind": "iterative", "iterations": 5}}

`kind` is the name of a file in avf_core/models or avf_core/inference, of an entry point, or a place such as
`package.module:Model` (`plugins`); the other keys are fields of its `Config`. Unknown kinds and keys fail, and the
error lists those there are.
"""

import dataclasses
import sys
import types
from typing import Any

from avf_core import inference, models
from avf_core.errors import ConfigurationError, PluginError
from avf_core.filtering import Filter
from avf_core.inference.base import Inference
from avf_core.models.base import Model
from avf_core.plugins import Folder, Settings, configure, plugin

__all__ = ["Settings", "build", "build_inference", "build_model", "configure", "model_config"]


def build(settings: Settings, *, trusted: bool = True) -> Filter:
    """The filter that `settings` describe, with fresh parameters.

    `trusted` is False where they come from others, and may have nothing imported that was not named here. Raises
    ConfigurationError for unknown kinds and keys, and for values that a `Config` refuses.
    """
    unknown = set(settings) - {"model", "inference"}
    if unknown:
        raise ConfigurationError(f"unknown sections {sorted(unknown)}, expected 'model' and 'inference'")
    model = build_model(settings["model"], trusted=trusted)
    built = Filter(model, build_inference(settings["inference"], model, trusted=trusted))
    built.settings = settings
    return built


def build_model(settings: Settings, *, trusted: bool = True) -> Model:
    """The model of these settings, with fresh parameters."""
    made, config = _part(models, settings, Model, trusted=trusted)
    model: Model = made(config)
    return model


def build_inference(settings: Settings, model: Model, *, trusted: bool = True) -> Inference:
    """The inference procedure of these settings, with the sizes of `model`."""
    made, config = _part(inference, settings, Inference, trusted=trusted)
    procedure: Inference = made(config, model)
    return procedure


def model_config(settings: Settings) -> Any:
    """The `Config` of the model of these settings."""
    return _part(models, settings, Model, trusted=True)[1]


def _part(folder: Folder, settings: Settings, base: Any, *, trusted: bool) -> tuple[Any, Any]:
    """The class of a plug-in, and its settings: those of the `Config` on the class, or beside it."""
    kind = settings.get("kind")
    found = plugin(folder, kind, trusted=trusted)
    made = getattr(found, base.__name__, None) if isinstance(found, types.ModuleType) else found
    if not isinstance(made, type) or not issubclass(made, base):
        raise PluginError(
            f"{kind} is no plug-in of {folder.__name__}: expected a class derived from "
            f"{base.__module__}.{base.__name__}, or a module with one of that name"
        )
    config = getattr(made, "Config", None) or getattr(sys.modules[made.__module__], "Config", None)
    if not isinstance(config, type) or not dataclasses.is_dataclass(config):
        raise PluginError(f"{kind} has no Config: expected a frozen dataclass on the class, or beside it")
    return made, configure(config, {key: value for key, value in settings.items() if key != "kind"})
