"""Amortized variational filtering: models, inference procedures, filters, training. Knows nothing of servers.

    import avf_core

    filter = avf_core.load("srnn-jsb").filter

The names here are the library's public face. The law: importing this package imports nothing heavy; names are handed on
when first asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avf_core import data, errors
    from avf_core.analysis.bounds import Bound, bound
    from avf_core.analysis.calibration import Calibration, calibrate
    from avf_core.analysis.evaluation import Evaluation, evaluate
    from avf_core.analysis.forecasting import Forecast, Imputation, forecast, generate, impute
    from avf_core.analysis.monitoring import Monitoring, monitor
    from avf_core.beliefs import Belief
    from avf_core.checkpoints import Checkpoint, available, load
    from avf_core.configuration import build
    from avf_core.estimates import Estimate
    from avf_core.filtering import Filter
    from avf_core.training.config import TrainingConfig
    from avf_core.training.fitting import fit

_HOMES = {
    "analysis.bounds": ("Bound", "bound"),
    "analysis.calibration": ("Calibration", "calibrate"),
    "analysis.evaluation": ("Evaluation", "evaluate"),
    "analysis.forecasting": ("Forecast", "Imputation", "forecast", "generate", "impute"),
    "analysis.monitoring": ("Monitoring", "monitor"),
    "beliefs": ("Belief",),
    "checkpoints": ("Checkpoint", "available", "load"),
    "configuration": ("build",),
    "estimates": ("Estimate",),
    "filtering": ("Filter",),
    "training.config": ("TrainingConfig",),
    "training.fitting": ("fit",),
}
_MODULES = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Belief",
    "Bound",
    "Calibration",
    "Checkpoint",
    "Estimate",
    "Evaluation",
    "Filter",
    "Forecast",
    "Imputation",
    "Monitoring",
    "TrainingConfig",
    "available",
    "bound",
    "build",
    "calibrate",
    "data",
    "errors",
    "evaluate",
    "fit",
    "forecast",
    "generate",
    "impute",
    "load",
    "monitor",
]


def __getattr__(name: str) -> object:
    if name in ("data", "errors"):
        return importlib.import_module(f"avf_core.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'avf_core' has no attribute {name!r}; it has {', '.join(__all__)}")
    found: object = getattr(importlib.import_module(f"avf_core.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
