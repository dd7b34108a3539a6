"""How plug-ins are found and configured: a plug-in is a file of a folder, its name is the file's name.

Other distributions add some by entry points, in the group of the folder (`avf.models`, `avf.inference`,
`avf.emissions`, `avf.data`, `avf.codecs`, `avf.stores`), or one says where it is: `package.module`, or `module:name`
for an object in a module.

The laws: strings become objects here, once. Unknown names and keys fail, and the error lists those there are. A file of
the folder comes before an entry point of its name. What was written by others (the configuration of a checkpoint) never
imports a module that nobody here has named: it must be installed as an entry point, be imported already, or be in
AVF_PLUGINS.
"""

import dataclasses
import importlib
import os
import pkgutil
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from avf_core.errors import ConfigurationError, PluginError

Settings = Mapping[str, Any]
Folder = types.ModuleType

VARIABLE = "AVF_PLUGINS"
"""Modules, by commas, that a checkpoint may name: `--plugin` of the commands does the same for one of them."""


def kinds(folder: Folder) -> list[str]:
    """The plug-ins of a folder: its files, less private ones and those that its package names in `SHARED`."""
    shared = getattr(folder, "SHARED", ("base",))
    names = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in names if name not in shared and not name.startswith("_"))


def available(folder: Folder) -> list[str]:
    """The plug-ins that have names: those of the folder, then those of other distributions."""
    own = kinds(folder)
    return own + sorted(set(_entries(folder)) - set(own))


def plugin(folder: Folder, kind: object, *, trusted: bool = True) -> Any:
    """The plug-in `kind`: a module, or what stands behind the colon of `module:name`.

    `trusted` says whether `kind` may have modules imported: False where it is not the user who says it. Raises
    ConfigurationError with the kinds there are, and PluginError where a module is missing, or is not to be imported.
    """
    if kind in kinds(folder):
        return importlib.import_module(f"{folder.__name__}.{kind}")
    if isinstance(kind, str) and kind in _entries(folder):
        value = _entry(folder, kind).value
        return _found(value, _imported(value, trusted=True))
    if isinstance(kind, str) and ("." in kind or ":" in kind):
        return _found(kind, _imported(kind, trusted=trusted))
    raise ConfigurationError(
        f"no {folder.__name__} of kind {kind!r}; there are {', '.join(available(folder))}, "
        "and those of other packages as package.module or module:name"
    )


def use(modules: Iterable[str]) -> None:
    """Import modules that the user has named, so that checkpoints may name them too. Raises PluginError."""
    for name in modules:
        _imported(name, trusted=True)


def _entries(folder: Folder) -> dict[str, list[EntryPoint]]:
    """The entry points of other distributions, by their names."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=f"avf.{folder.__name__.rpartition('.')[2]}"):
        found.setdefault(entry.name, []).append(entry)
    return found


def _entry(folder: Folder, name: str) -> EntryPoint:
    """The entry point of this name; which one must not depend on the order in which distributions are found."""
    entries = _entries(folder)[name]
    values = sorted({entry.value for entry in entries})
    if len(values) > 1:
        raise PluginError(f"{' and '.join(values)} are both installed as {name!r}: give one of them as the kind")
    return entries[0]


def _imported(path: str, *, trusted: bool) -> types.ModuleType:
    """The module of `module:name`. Raises PluginError."""
    name = path.partition(":")[0]
    allowed = os.environ.get(VARIABLE, "").split(",")
    if name not in sys.modules and not trusted and name not in allowed:
        raise PluginError(
            f"{path!r} names the module {name}, which is not imported because a file says so: if you trust it, "
            f"name it yourself, by `--plugin {name}`, by {VARIABLE}={name}, or by importing it first"
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise PluginError(
            f"the plug-in {path!r} needs the module {error.name}, which is not there: install its package, "
            "or put the folder that holds it on PYTHONPATH"
        ) from error
    except Exception as error:
        raise PluginError(f"the plug-in {path!r} cannot be imported: {type(error).__name__}: {error}") from error


def _found(path: str, module: types.ModuleType) -> Any:
    """What `module:name` names; the module itself where nothing stands behind a colon."""
    found: Any = module
    for part in filter(None, path.partition(":")[2].split(".")):
        if not hasattr(found, part):
            raise PluginError(f"the plug-in {path!r} is not there: {module.__name__} has no {part}")
        found = getattr(found, part)
    return found


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
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{name} is {value!r}, expected {_described(wanted)}") from error


def _described(wanted: Any) -> str:
    """A type in words."""
    if typing.get_origin(wanted) is typing.Literal:
        return f"one of {', '.join(map(repr, typing.get_args(wanted)))}"
    return str(getattr(wanted, "__name__", wanted)) if isinstance(wanted, type) else str(wanted)
