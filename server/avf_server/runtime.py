"""A running server without its transports: settings become objects here, in the order in which they need each other.

The law: whatever is opened here is closed here, in the opposite order; what cannot be opened is a StartError.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import avf_wire as wire

from avf_core import checkpoints
from avf_core.errors import AvfError
from avf_server.metrics.telemetry import Telemetry
from avf_server.models.catalogue import model_info
from avf_server.problems import StartError, StoreError
from avf_server.sessions.branches import Branches
from avf_server.sessions.forecasts import Forecasts
from avf_server.sessions.listing import Listing
from avf_server.sessions.registry import Sessions
from avf_server.settings import Settings
from avf_server.status import Status
from avf_server.stepping.engine import Engine
from avf_server.stepping.service import Service
from avf_server.stores.durability import Keeping
from avf_server.stores.embedded import EmbeddedRedis
from avf_server.stores.redis import RedisStore
from avf_server.watching.events import Events
from avf_server.watching.polls import Waiting

PATIENCE = 3.0  # seconds in which Redis must answer at the start
REVIVAL = 0.5  # seconds between looks at the embedded Redis


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The parts of a running server."""

    settings: Settings
    engine: Engine
    store: RedisStore
    sessions: Sessions
    service: Service
    waiting: Waiting
    forecasts: Forecasts
    branches: Branches
    listing: Listing
    events: Events
    status: Status
    telemetry: Telemetry
    streams: set[asyncio.Task[None]]

    def models(self) -> list[wire.ModelInfo]:
        """The models as clients see them, by name."""
        return [
            model_info(checkpoint, iterations=self.engine.iterations(name), normal=self.engine.normals[name])
            for name, checkpoint in sorted(self.engine.models.items())
        ]


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Everything that a server needs, ready to serve inside. Raises StartError."""
    async with AsyncExitStack() as stack:
        url = settings.redis_url or await _embedded(settings, stack)
        store = _store(settings, url)
        stack.push_async_callback(store.close)
        await _answering(store, url)
        engine = _engine(settings)
        stack.callback(engine.close)
        await engine.warm()
        telemetry = Telemetry()
        sessions = Sessions(settings, engine, Keeping(settings, store), telemetry)
        service = Service(settings, engine, sessions, telemetry)
        service.start()
        stack.push_async_callback(service.stop)
        listing = Listing(settings, sessions)
        events, streams = Events(service, listing), set[asyncio.Task[None]]()
        yield Runtime(
            settings=settings,
            engine=engine,
            store=store,
            sessions=sessions,
            service=service,
            waiting=Waiting(service),
            forecasts=Forecasts(settings, engine, sessions),
            branches=Branches(engine, sessions),
            listing=listing,
            events=events,
            status=Status(settings, engine, store, service, events, streams=lambda: len(streams)),
            telemetry=telemetry,
            streams=streams,
        )


def _store(settings: Settings, url: str) -> RedisStore:
    try:
        return RedisStore(
            url,
            timeout=settings.redis_timeout_s,
            window=settings.replay_window,
            ttl=settings.session_ttl_s,
            history=settings.history_length,
        )
    except ValueError as error:
        raise StartError(f"{url!r} is no address of a Redis: {error}") from error


def _engine(settings: Settings) -> Engine:
    names = settings.models or tuple(checkpoints.available())
    if not names:
        raise StartError("no model to serve: the zoo is empty; give --model with the folder of a checkpoint")
    try:
        engine = Engine(names, device=settings.device, threads=settings.threads, max_batch=settings.max_batch)
    except (AvfError, RuntimeError) as error:  # torch raises RuntimeError for devices that it does not have
        raise StartError(" ".join(str(error).split())) from error
    if len(engine.models) < len(names):
        raise StartError(f"two of the models {', '.join(names)} have the same name")
    return engine


async def _embedded(settings: Settings, stack: AsyncExitStack) -> str:
    """Start a Redis of our own, and start it again whenever it dies; its address."""
    embedded = stack.enter_context(EmbeddedRedis(settings.data_dir))
    keeper = asyncio.create_task(_keep(embedded), name="avf-redis-keeper")
    stack.callback(keeper.cancel)
    return embedded.url


async def _keep(embedded: EmbeddedRedis) -> None:
    while True:
        await asyncio.sleep(REVIVAL)
        embedded.revive()


async def _answering(store: RedisStore, url: str) -> None:
    """Wait until Redis answers, for as long as a start may take."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            return await store.ping()
        except StoreError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise StartError(f"cannot use the Redis at {_without_password(url)}: {error}") from error
            await asyncio.sleep(0.05)


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
