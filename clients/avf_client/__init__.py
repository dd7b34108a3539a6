"""The client of the avf service: sessions, estimates, sources of observations. No torch.

    from avf_client import Client

The law: importing this package imports nothing heavy (`avf --help` should be quick). Names are
handed on when first asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import avf_sources as sources
    from avf_wire import Audio

    from avf_client.asynchronous.client import AsyncClient, AsyncSession
    from avf_client.blocking.client import Client, Session
    from avf_client.core.events import Event
    from avf_client.core.retries import Retry
    from avf_client.errors import (
        AvfClientError,
        ConnectionFailed,
        InvalidObservation,
        ProblemError,
        ProtocolError,
        SequenceGap,
        SourceError,
        StartFailed,
        UnknownModel,
        UnknownSession,
    )
    from avf_client.observations import Step
    from avf_client.results.estimates import Estimate, Summary
    from avf_client.results.forecasts import Forecast
    from avf_client.results.histories import History

_HOMES = {
    "AsyncClient": "avf_client.asynchronous.client",
    "AsyncSession": "avf_client.asynchronous.client",
    "Audio": "avf_wire",
    "AvfClientError": "avf_client.errors",
    "Client": "avf_client.blocking.client",
    "ConnectionFailed": "avf_client.errors",
    "Estimate": "avf_client.results.estimates",
    "Event": "avf_client.core.events",
    "Forecast": "avf_client.results.forecasts",
    "History": "avf_client.results.histories",
    "InvalidObservation": "avf_client.errors",
    "ProblemError": "avf_client.errors",
    "ProtocolError": "avf_client.errors",
    "Retry": "avf_client.core.retries",
    "SequenceGap": "avf_client.errors",
    "Session": "avf_client.blocking.client",
    "SourceError": "avf_client.errors",
    "StartFailed": "avf_client.errors",
    "Step": "avf_client.observations",
    "Summary": "avf_client.results.estimates",
    "UnknownModel": "avf_client.errors",
    "UnknownSession": "avf_client.errors",
}

__all__ = [
    "AsyncClient",
    "AsyncSession",
    "Audio",
    "AvfClientError",
    "Client",
    "ConnectionFailed",
    "Estimate",
    "Event",
    "Forecast",
    "History",
    "InvalidObservation",
    "ProblemError",
    "ProtocolError",
    "Retry",
    "SequenceGap",
    "Session",
    "SourceError",
    "StartFailed",
    "Step",
    "Summary",
    "UnknownModel",
    "UnknownSession",
    "sources",
]


def __getattr__(name: str) -> object:
    """The public name, imported from its module when it is first asked for."""
    if name == "sources":  # a package of its own, handed on under the name that reads best beside Client
        return importlib.import_module("avf_sources")
    if name not in _HOMES:
        raise AttributeError(f"module 'avf_client' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
