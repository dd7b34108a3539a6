"""How the server is, in numbers for people who look at it now.

The law: it says what is, also where that is bad: it is answered while Redis is away and while the server stops, and
says nothing of anyone's sessions but how many there are.
"""

import importlib.metadata
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import avf_wire as wire

from avf_server.metrics.telemetry import Telemetry
from avf_server.models.served import Models
from avf_server.problems import StoreError
from avf_server.stepping.cached import CachedBeliefs
from avf_server.stepping.service import Service
from avf_server.stores.base import DurableStore
from avf_server.watching.events import Events

PAGES = Path("/proc/self/statm")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    max_sessions: int
    max_batch: int
    queue_limit: int


class Status:
    """The state of a server. `streams` counts those that are open."""

    def __init__(
        self,
        limits: Limits,
        models: Models,
        store: DurableStore,
        service: Service,
        cached: CachedBeliefs,
        events: Events,
        telemetry: Telemetry,
        *,
        streams: Callable[[], int],
    ) -> None:
        self._limits = limits
        self._models = models
        self._store = store
        self._service = service
        self._cached = cached
        self._events = events
        self._telemetry = telemetry
        self._streams = streams

    async def now(self) -> wire.Status:
        """How things are."""
        limits, recent, now = self._limits, self._telemetry.recent, time.monotonic()
        return wire.Status(
            version=importlib.metadata.version("avf"),
            uptime_s=now - self._telemetry.started,
            stopping=self._service.stopping.begun.is_set(),
            device=self._models.device,
            models=list(self._models),
            sessions=self._service.sessions.seen,
            max_sessions=limits.max_sessions,
            streams=self._streams(),
            watchers=self._events.watching,
            steps_per_s=recent.rate(now),
            latency_p50_s=recent.latency(now, 0.5),
            latency_p99_s=recent.latency(now, 0.99),
            batch_rows=recent.rows(now),
            max_batch=limits.max_batch,
            queue=self._service.waiting,
            queue_limit=limits.queue_limit,
            hot=len(self._cached),
            store=await self._store_status(),
            memory_bytes=_memory(),
            load=_load(),
            cpus=os.cpu_count() or 1,
        )

    async def _store_status(self) -> wire.StoreStatus:
        asked = time.monotonic()
        try:
            await self._store.ping()
        except StoreError as error:
            return wire.StoreStatus(ok=False, latency_s=None, detail=str(error))
        return wire.StoreStatus(ok=True, latency_s=time.monotonic() - asked, detail=None)


def _memory() -> int | None:
    """Bytes of memory that this process holds; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _load() -> float | None:
    """Processes that want to run, on average over the last minute; None where the system does not say."""
    with suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return None
