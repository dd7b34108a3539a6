"""Where strings become objects: a filter from its configuration, a plain nested mapping.

    {"model": {"kind": "srnn", "latent_size": 100}, "inference": {"kind": "iterative", "iterations": 5}}

`kind` is the name of a file in avf_core/models or avf_core/inference; the other keys are fields of its `Config`.
Unknown kinds and keys fail, and the error lists those there are.
"""

import dataclasses
import importlib
import pkgutil
import types
import typing
from collections.abc import Mapping
from typing import Any

from avf_core import inference, models
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference.base import Inference
from avf_core.models.base import Model

Settings = Mapping[str, Any]


def kinds(folder: types.ModuleType) -> list[str]:
    """The plug-ins of a folder: its files, less `base` and private ones."""
    names = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in names if name != "base" and not name.startswith("_"))


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
    module = _plugin(models, settings)
    model: Model = module.Model(configure(module.Config, _without_kind(settings)))
    return model


def build_inference(settings: Settings, model: Model) -> Inference:
    """The inference procedure of these settings, with the sizes of `model`."""
    module = _plugin(inference, settings)
    config = configure(module.Config, _without_kind(settings))
    procedure: Inference = module.Inference(config, model)
    return procedure


def configure(config: type[Any], values: Settings) -> Any:
    """An instance of the dataclass `config` with these values; lists become tuples, types are checked."""
    fields = {field.name: field for field in dataclasses.fields(config)}
    unknown = set(values) - set(fields)
    if unknown:
        raise ConfigurationError(
            f"{config.__module__} has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(fields))}"
        )
    types_by_name = typing.get_type_hints(config)
    converted = {name: _convert(name, value, types_by_name[name]) for name, value in values.items()}
    return config(**converted)


def _convert(name: str, value: Any, wanted: Any) -> Any:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigurationError(f"{name} is {value!r}, expected one of {', '.join(map(repr, arguments))}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _convert(name, value, next(a for a in arguments if a is not type(None)))
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(name, item, arguments[0]) for item in value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(wanted, type) or not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
        raise ConfigurationError(f"{name} is {value!r}, expected {getattr(wanted, '__name__', wanted)}")
    return value


def _plugin(folder: types.ModuleType, settings: Settings) -> Any:
    kind, known = settings.get("kind"), kinds(folder)
    if kind not in known:
        raise ConfigurationError(f"no {folder.__name__} of kind {kind!r}; there are {', '.join(known)}")
    return importlib.import_module(f"{folder.__name__}.{kind}")


def _without_kind(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "kind"}
