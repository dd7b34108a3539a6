"""How the server is, in numbers for people who look at it now.

The law: it says what is, also where that is bad: it is answered while Redis is away and while the server stops, and
says nothing of anyone's sessions but how many there are.
"""

import importlib.metadata
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import avf_wire as wire

from avf_server.problems import StoreError
from avf_server.settings import Settings
from avf_server.stepping.engine import Engine
from avf_server.stepping.service import Service
from avf_server.stores.redis import RedisStore
from avf_server.watching.events import Events

PAGES = Path("/proc/self/statm")


class Status:
    """The state of a server. `streams` counts those that are open."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        store: RedisStore,
        service: Service,
        events: Events,
        *,
        streams: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store
        self._service = service
        self._events = events
        self._streams = streams

    async def now(self) -> wire.Status:
        """How things are."""
        telemetry, settings, now = self._service.telemetry, self._settings, time.monotonic()
        recent = telemetry.recent
        return wire.Status(
            version=importlib.metadata.version("avf"),
            uptime_s=now - telemetry.started,
            stopping=self._service.stopping.is_set(),
            device=settings.device,
            models=sorted(self._engine.models),
            sessions=self._service.sessions.seen,
            max_sessions=settings.max_sessions,
            streams=self._streams(),
            watchers=self._events.watching,
            steps_per_s=recent.rate(now),
            latency_p50_s=recent.latency(now, 0.5),
            latency_p99_s=recent.latency(now, 0.99),
            batch_rows=recent.rows(now),
            max_batch=settings.max_batch,
            queue=self._service.waiting,
            queue_limit=settings.queue_limit,
            hot=len(self._service.sessions.hot),
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
