"""The client of the avf service: sessions, estimates, sources of observations. No torch.

    from avf_client import Client

The law: importing this package imports nothing heavy (the server imports `avf_client.wire` from it, and `avf --help`
should be quick). Names are handed on when first asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avf_client import sources
    from avf_client.aio import AsyncClient, AsyncSession
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
    from avf_client.estimates import Estimate, Summary
    from avf_client.events import Event
    from avf_client.forecasts import Forecast
    from avf_client.histories import History
    from avf_client.retries import Retry
    from avf_client.sync import Client, Session
    from avf_client.wire import Audio

_HOMES = {
    "AsyncClient": "aio",
    "AsyncSession": "aio",
    "Audio": "wire",
    "AvfClientError": "errors",
    "Client": "sync",
    "ConnectionFailed": "errors",
    "Estimate": "estimates",
    "Event": "events",
    "Forecast": "forecasts",
    "History": "histories",
    "InvalidObservation": "errors",
    "ProblemError": "errors",
    "ProtocolError": "errors",
    "Retry": "retries",
    "SequenceGap": "errors",
    "Session": "sync",
    "SourceError": "errors",
    "StartFailed": "errors",
    "Summary": "estimates",
    "UnknownModel": "errors",
    "UnknownSession": "errors",
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
    "Summary",
    "UnknownModel",
    "UnknownSession",
    "sources",
]


def __getattr__(name: str) -> object:
    """The public name, imported from its module when it is first asked for."""
    if name == "sources":
        return importlib.import_module("avf_client.sources")
    if name not in _HOMES:
        raise AttributeError(f"module 'avf_client' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"avf_client.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
