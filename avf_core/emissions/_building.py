"""From an emission's name to the emission: a name is that of a file, with dashes for underscores.

The law: an emission that is named by its place is never imported because a file says so, as a checkpoint may (see
`plugins`): installed as an entry point, imported already, or in AVF_PLUGINS, it is taken.
"""

import sys
import types

from avf_core import emissions
from avf_core.emissions.base import Emission, Units
from avf_core.errors import ConfigurationError, PluginError
from avf_core.plugins import Settings, available, configure, plugin


def names() -> list[str]:
    """The emissions there are."""
    return [kind.replace("_", "-") for kind in available(emissions)]


def build(name: str, options: Settings, *, units: Units, size: int, shape: tuple[int, ...] | None = None) -> Emission:
    """The emission of this name with these options, for observations of `size` numbers.

    Raises ConfigurationError for unknown names and options, PluginError where a plug-in is none.
    """
    made = named(name)
    config = configure(sys.modules[made.__module__].Config, options)
    emission: Emission = made(config, units, size, shape)
    return emission


def named(name: str) -> type[Emission]:
    """The class of this emission. Raises ConfigurationError for unknown names, PluginError where a plug-in is none."""
    placed = "." in name or ":" in name
    if not placed and name not in names():
        raise ConfigurationError(
            f"no likelihood {name!r}; there are {', '.join(names())}, "
            "and those of other packages as package.module or module:name"
        )
    found = plugin(emissions, name if placed else name.replace("-", "_"), trusted=not placed)
    made = getattr(found, "Emission", None) if isinstance(found, types.ModuleType) else found
    if not isinstance(made, type) or not issubclass(made, Emission):
        raise PluginError(f"{name} is no emission: expected a class derived from {Emission.__module__}.Emission")
    return made
