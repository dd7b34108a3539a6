"""How plug-ins are found and configured: a plug-in is a file of a folder, its name is the file's name.

The law: strings become objects here, once. Unknown names and keys fail, and the error lists those there are.
"""

import dataclasses
import importlib
import pkgutil
import types
import typing
from collections.abc import Mapping
from typing import Any

from avf_core.errors import ConfigurationError

Settings = Mapping[str, Any]


def kinds(folder: types.ModuleType) -> list[str]:
    """The plug-ins of a folder: its files, less private ones and those that its package names in `SHARED`."""
    shared = getattr(folder, "SHARED", ("base",))
    names = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in names if name not in shared and not name.startswith("_"))


def plugin(folder: types.ModuleType, kind: object) -> Any:
    """The module of the plug-in `kind`. Raises ConfigurationError with the kinds there are."""
    known = kinds(folder)
    if kind not in known:
        raise ConfigurationError(f"no {folder.__name__} of kind {kind!r}; there are {', '.join(known)}")
    return importlib.import_module(f"{folder.__name__}.{kind}")


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
