"""A running server without its transports: settings become objects here, in the order in which they need each other.

The law: whatever is opened here is closed here, in the opposite order; what cannot be opened is a StartError.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast

from avf_core import checkpoints, plugins
from avf_core.errors import AvfError
from avf_core.native import running
from avf_server import redaction, status
from avf_server.metrics.telemetry import Telemetry
from avf_server.models.served import Models
from avf_server.models.thread import ModelThread
from avf_server.problems import StartError, StoreError
from avf_server.sessions import forecasts, options, registry
from avf_server.sessions.branches import Branches
from avf_server.sessions.forecasts import Forecasts
from avf_server.sessions.listing import Listing
from avf_server.sessions.registry import Sessions
from avf_server.settings import Settings, limits
from avf_server.status import Status
from avf_server.stepping import service as stepping
from avf_server.stepping.cached import CachedBeliefs
from avf_server.stepping.engine import Engine
from avf_server.stepping.gathering import Gathering
from avf_server.stepping.service import Service
from avf_server.stopping import Stopping
from avf_server.stores import base as stores
from avf_server.stores import durability
from avf_server.stores.base import DurableStore
from avf_server.stores.choice import of_address
from avf_server.stores.durability import StoresByDurability
from avf_server.stores.embedded import EmbeddedRedis
from avf_server.stores.evictions import Evictions, Tells
from avf_server.stores.keeper import Keeper
from avf_server.tasks import Supervisor
from avf_server.watching import events, polls, webhooks
from avf_server.watching.events import Events
from avf_server.watching.feed import Feed
from avf_server.watching.polls import Polls
from avf_server.watching.webhooks import Webhooks

PATIENCE = 3.0  # seconds in which Redis must answer at the start


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The parts of a running server."""

    settings: Settings
    models: Models
    thread: ModelThread
    engine: Engine
    store: DurableStore
    sessions: Sessions
    service: Service
    cached: CachedBeliefs
    stopping: Stopping
    feed: Feed
    polls: Polls
    forecasts: Forecasts
    branches: Branches
    listing: Listing
    events: Events
    status: Status
    telemetry: Telemetry
    supervisor: Supervisor
    keeper: Keeper | None
    evictions: Evictions | None
    streams: set[asyncio.Task[None]]


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Everything that a server needs, ready to serve inside. Raises StartError."""
    async with AsyncExitStack() as stack:
        telemetry, stopping = Telemetry(), Stopping(retry_after=settings.retry_after_s)
        supervisor = Supervisor(lambda name: telemetry.task_failures.labels(name).inc())
        feed = Feed(_alarms(settings, stack, telemetry, supervisor))
        keeper = None if settings.redis_url else _embedded(settings, stack, supervisor)
        url = keeper.url if keeper is not None else str(settings.redis_url)
        store = await _open_store(settings, url, stack, supervisor)
        evictions = await _evictions(store, telemetry, stack, supervisor)
        models = _models(settings)
        thread = ModelThread(threads=settings.threads)
        stack.callback(thread.close)
        engine = Engine(models, thread, max_batch=settings.max_batch)
        stack.callback(supervisor.start("avf-warm-up", engine.warm).cancel)  # nobody waits for it
        cached, gathering = CachedBeliefs(settings.hot_sessions), Gathering()
        stores = StoresByDurability(
            limits(durability.Limits, settings), store, changed=feed.changed, supervisor=supervisor
        )
        sessions = Sessions(
            limits(registry.Limits, settings),
            limits(options.Limits, settings),
            models,
            thread,
            stores,
            feed,
            telemetry,
            drop=_dropping(cached, gathering),
        )
        service = Service(
            limits(stepping.Limits, settings), engine, sessions, cached, gathering, stopping, telemetry, supervisor
        )
        service.start()
        stack.push_async_callback(service.stop)
        listing = Listing(sessions, max_page=settings.max_page)
        owners = max(1, len(set(settings.api_keys)))
        watchers = Events(limits(events.Limits, settings), sessions, listing, feed, stopping, telemetry, owners=owners)
        streams = set[asyncio.Task[None]]()
        of_status = limits(status.Limits, settings)
        yield Runtime(
            settings=settings,
            models=models,
            thread=thread,
            engine=engine,
            store=store,
            sessions=sessions,
            service=service,
            cached=cached,
            stopping=stopping,
            feed=feed,
            polls=Polls(limits(polls.Limits, settings), sessions, feed, stopping, owners=owners),
            forecasts=Forecasts(limits(forecasts.Limits, settings), thread, sessions),
            branches=Branches(thread, sessions),
            listing=listing,
            events=watchers,
            status=Status(of_status, models, store, service, cached, watchers, telemetry, streams=lambda: len(streams)),
            telemetry=telemetry,
            supervisor=supervisor,
            keeper=keeper,
            evictions=evictions,
            streams=streams,
        )


def _alarms(
    settings: Settings, stack: AsyncExitStack, telemetry: Telemetry, supervisor: Supervisor
) -> Callable[[str, bytes], None] | None:
    """Who posts alarms; None where there is no address to post them to."""
    if settings.webhook_url is None:
        return None
    posts = Webhooks(limits(webhooks.Limits, settings), telemetry)
    stack.callback(supervisor.start("avf-webhooks", posts.run).cancel)
    return posts.stepped


def _dropping(cached: CachedBeliefs, gathering: Gathering) -> Callable[[str], None]:
    """Forgets all that is held of a session here, beside what it is."""

    def drop(session: str) -> None:
        cached.drop(session)
        gathering.forget(session)

    return drop


async def _open_store(settings: Settings, url: str, stack: AsyncExitStack, supervisor: Supervisor) -> DurableStore:
    """The store at this address, once it answers."""
    store = _store(settings, url, supervisor)
    stack.push_async_callback(store.close)
    await _answering(store, url)
    return store


def _store(settings: Settings, url: str, supervisor: Supervisor | None = None) -> DurableStore:
    keeps = stores.Limits(
        timeout=settings.redis_timeout_s,
        window=settings.replay_window,
        ttl=settings.session_ttl_s,
        history=settings.history_length,
        supervisor=supervisor,
    )
    try:
        return cast(DurableStore, of_address(url).open_store(url, keeps))  # as what has a scheme opens
    except Exception as error:  # of redis-py's parsers and constructors, which raise what they please
        raise StartError(f"{redaction.address(url)} is no address of a store: {redaction.reason(error, url)}") from None


def _models(settings: Settings) -> Models:
    names = settings.models or tuple(checkpoints.available())
    if not names:
        raise StartError("no model to serve: the zoo is empty; give --model with the folder of a checkpoint")
    try:
        plugins.use(settings.plugins)
        running.choose(settings.native)
        models = Models(names, device=settings.device)
    except (AvfError, RuntimeError) as error:  # torch raises RuntimeError for devices that it does not have
        raise StartError(" ".join(str(error).split())) from error
    if len(models) < len(names):
        raise StartError(f"two of the models {', '.join(names)} have the same name")
    return models


def _embedded(settings: Settings, stack: AsyncExitStack, supervisor: Supervisor) -> Keeper:
    """A Redis of our own, started again whenever it dies."""
    keeper = Keeper(stack.enter_context(EmbeddedRedis(settings.data_dir)))
    stack.callback(supervisor.start("avf-redis-keeper", keeper.run).cancel)
    return keeper


async def _evictions(
    store: DurableStore, telemetry: Telemetry, stack: AsyncExitStack, supervisor: Supervisor
) -> Evictions | None:
    """Looks whether the store drops what it was given; None where it does not say."""
    if not isinstance(store, Tells):
        return None
    evictions = Evictions(store.memory, telemetry.evicted_keys.inc)
    await evictions.look()
    stack.callback(supervisor.start("avf-redis-evictions", evictions.watch).cancel)
    return evictions


async def _answering(store: DurableStore, url: str) -> None:
    """Wait until Redis answers, for as long as a start may take."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            return await store.ping()
        except StoreError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise StartError(
                    f"cannot use the Redis at {redaction.address(url)}: {redaction.reason(error, url)}"
                ) from None
            await asyncio.sleep(0.05)
