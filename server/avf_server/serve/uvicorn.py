"""A server on a socket, under uvicorn, from ready to drained.

The laws: SIGTERM refuses new work at once, lets ticks finish, sends every stream its goaway, and only then
closes; a second signal hurries. A stream is never closed for a late pong, because a busy client may be slow
to answer: pings go out, and the kernel reclaims connections whose peer acknowledges nothing for two minutes
(TCP_USER_TIMEOUT).
"""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import uvicorn
from fastapi import FastAPI

from avf_server.runtime import Runtime
from avf_server.serve import connections, descriptors
from avf_server.serve.app import create_app
from avf_server.settings import Settings, limits
from avf_server.streams.sockets import bounded

logger = logging.getLogger(__name__)

Announce = Callable[[str, list[str]], None]
Stop = Callable[[], None]
"""Stops a server as SIGTERM does, from any thread."""

PING_INTERVAL = 20.0  # seconds
TICK = 0.1  # seconds between uvicorn's looks at itself
DEAD_PEER_MS = 120_000  # milliseconds
LAST_REPLIES = 1.0  # seconds for what was answered to be written


def run(
    settings: Settings, listener: socket.socket, *, announce: Announce, hand_over: Callable[[Stop], None] | None = None
) -> None:
    """Serve until told to stop. `announce` is called once ready, with the address and the models' names.

    `hand_over` is called just before, with what stops the server: signals reach the main thread only.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MS)
    app = create_app(settings)
    bounds = limits(connections.Limits, settings)
    bounds = replace(bounds, max_connections=descriptors.room_for(bounds.max_connections))
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=connections.bounded(bounds),
        ws=bounded(settings.stream_send_s),
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=PING_INTERVAL,
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        timeout_keep_alive=settings.idle_s,
        timeout_graceful_shutdown=1,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(app, config, listener, announce, hand_over))


async def _serve(
    app: FastAPI,
    config: uvicorn.Config,
    listener: socket.socket,
    announce: Announce,
    hand_over: Callable[[Stop], None] | None,
) -> None:
    async with app.router.lifespan_context(app):
        gc.freeze()  # what is there now stays: a full collection would else hold up every stream, for 0.2 seconds
        gc.enable()
        runtime: Runtime = app.state.runtime
        if not runtime.settings.api_keys:
            who = "whoever reaches this server" if runtime.settings.insecure else "every program on this machine"
            logger.warning("no API keys are set: %s may use it", who)
        server = _Server(config, runtime, lambda: announce(_url(listener), sorted(runtime.models)))
        if hand_over is not None:
            hand_over(lambda: server.handle_exit(signal.SIGTERM, None))
        await server.serve(sockets=[listener])


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Uvicorn, told to drain the runtime before it closes anything."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._runtime = runtime
        self._ready = ready
        self._loop = asyncio.get_running_loop()
        self._draining: asyncio.Task[None] | None = None
        self._descriptors = descriptors.Watch()
        self._looked = self._loop.time()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; once in it, look for what nothing else would say."""
        now = self._loop.time()
        self._runtime.telemetry.loop_lag.observe(max(0.0, now - self._looked - TICK))
        self._looked = now
        if counter % 10 == 0:
            self._descriptors.look()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, a second one hurries. It is not raised again: the exit code is 0."""
        if self._draining is not None:
            self.force_exit = self.should_exit = True
        self._loop.call_soon_threadsafe(self._drain_once, sig)

    def _drain_once(self, sig: int) -> None:
        if self._draining is None:
            logger.info("%s: stopping", signal.Signals(sig).name)
            self._draining = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            await self._runtime.service.stop()
            if self._runtime.streams:
                await asyncio.wait(set(self._runtime.streams), timeout=LAST_REPLIES)
        finally:
            self.should_exit = True
