"""Some servers on one Redis, behind one proxy; what dies is started again.

The laws: the Redis is a real one, whose file is synced before each answer; servers share nothing but it. A supervisor
starts a process again as soon as it has ended, as an orchestrator would, and says when it is up.
"""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import redis.asyncio
from avf_server.stores import embedded
from redis.exceptions import RedisError

from tests.support.processes import Nursery, Process
from tests.support.waiting import PATIENCE, free_port

from .proxy import Address, Mischief, Proxy

Part = TypeVar("Part", bound="Kept")


class Kept:
    """A process that is started again whenever it ends, until `give_up`."""

    def __init__(self, name: str, nursery: Nursery, *, log: Path) -> None:
        self.name = name
        self.log = log
        self._nursery = nursery
        self.process: Process | None = None
        self.up = asyncio.Event()
        self.stopped = False  # by SIGSTOP
        self.dying = False  # told to end, and not yet up again
        self.codes: list[int] = []
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and wait until it is up."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keeper of {self.name}")
        await self.ready()

    async def ready(self) -> None:
        """Wait until it is up."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.up.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name} did not start: {self.log.read_text()[-2000:]}") from None

    async def give_up(self) -> None:
        """Start it no more."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    @property
    def serving(self) -> bool:
        """Whether it is up, and neither stopped nor told to end."""
        return self.up.is_set() and not self.stopped and not self.dying

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to it."""
        assert self.process is not None
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.stopped = number is signal.SIGSTOP
        else:
            self.dying = True
        self.process.send(number)

    async def _keep(self) -> None:
        while True:
            self.process = await self._spawn()
            answering = asyncio.create_task(self._answering(self.process))
            ended = asyncio.shield(asyncio.wrap_future(self.process.ended))
            await asyncio.wait((answering, ended), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                answering.result()
                self.dying = False
                self.up.set()
            try:
                self.codes.append(await ended)
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
                self.up.clear()
            self.stopped = False

    async def _spawn(self) -> Process:
        raise NotImplementedError

    async def _answering(self, process: Process) -> None:
        raise NotImplementedError


class Server(Kept):
    """One `avf serve`; its port is another one after each start."""

    def __init__(
        self, name: str, nursery: Nursery, *, log: Path, options: Sequence[str], settings: dict[str, str]
    ) -> None:
        super().__init__(name, nursery, log=log)
        self._options = options
        self._settings = settings
        self.address: Address = ("127.0.0.1", 0)

    async def _spawn(self) -> Process:
        start = partial(self._nursery.serve, *self._options, log=self.log, environment=self._settings)
        return await asyncio.to_thread(start)

    async def _answering(self, process: Process) -> None:
        said = await asyncio.shield(asyncio.wrap_future(process.ready))
        host, _, port = said["server_url"].removeprefix("http://").partition(":")
        self.address = (host, int(port))


class Redis(Kept):
    """One Redis with its own folder, on a port of loopback that stays the same, so that a replica finds it again."""

    def __init__(self, name: str, nursery: Nursery, *, folder: Path, port: int, primary: Address | None = None) -> None:
        super().__init__(name, nursery, log=folder / "log")
        self.folder = folder
        self.port = port
        self._primary = primary
        self.url = f"redis://127.0.0.1:{port}"

    async def _spawn(self) -> Process:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "auto-aof-rewrite-min-size": "16mb",  # so that a start reads a small file
            "repl-diskless-sync-delay": "0",  # there is one replica to wait for
            "save": "",
            "daemonize": "no",
        } | ({"replicaof": f"{self._primary[0]} {self._primary[1]}"} if self._primary else {})
        argv = [part for name, value in options.items() for part in (f"--{name}", *value.split(" "))]
        return await asyncio.to_thread(partial(self._nursery.run, embedded.binary(), *argv, log=self.log))

    async def _answering(self, process: Process) -> None:
        """Wait until it has read its file, and a replica until it is in step with its primary."""
        client = redis.asyncio.Redis.from_url(self.url, socket_timeout=1.0)
        try:
            while True:
                try:
                    state = await client.info("replication")
                    if self._primary is None or state["master_link_status"] == "up":
                        return
                except (RedisError, OSError):
                    pass
                await asyncio.sleep(0.01)
        finally:
            await client.aclose()


class Cluster:
    """Servers, one Redis, where wanted a replica of it, and the proxy. An asynchronous context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        model: Path,
        servers: int,
        seed: int,
        mischief: Mischief | None = None,
        replica: bool = False,
        settings: dict[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._model = model
        self._count = servers
        self._replica_wanted = replica
        self._settings = {"AVF_PORT": "0", "AVF_THREADS": "1", "AVF_MAX_BATCH": "16"} | (settings or {})
        self._stack = AsyncExitStack()
        self.proxy = Proxy(self._addresses, seed=seed, mischief=mischief)
        self.servers: list[Server] = []
        self.redis: Redis
        self.replica: Redis | None = None

    async def __aenter__(self) -> "Cluster":
        async with AsyncExitStack() as stack:
            nursery = stack.enter_context(Nursery())
            self.redis = await self._keep(stack, self._redis("redis", nursery))
            if self._replica_wanted:
                primary = ("127.0.0.1", self.redis.port)
                self.replica = await self._keep(stack, self._redis("replica", nursery, primary=primary))
            options = ["--redis-url", self.redis.url, "--model", str(self._model)]
            for name in (f"server{i}" for i in range(self._count)):
                log = self._folder / f"{name}.log"
                server = Server(name, nursery, log=log, options=options, settings=self._settings)
                self.servers.append(await self._keep(stack, server))
            await stack.enter_async_context(self.proxy)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def heal(self) -> None:
        """Let all that is stopped go on, break nothing more, and wait until everything is up."""
        self.proxy.mischief = Mischief()
        for link in self.proxy.links:
            link.moving.set()
        parts: list[Kept] = [*self.servers, self.redis, *([self.replica] if self.replica else [])]
        for part in parts:
            if part.stopped:
                part.kill(signal.SIGCONT)
        for part in parts:
            await part.ready()

    def _addresses(self) -> list[Address]:
        """The servers that a load balancer would know: also those that hang."""
        return [server.address for server in self.servers if server.up.is_set()]

    def _redis(self, name: str, nursery: Nursery, *, primary: Address | None = None) -> Redis:
        return Redis(name, nursery, folder=self._folder / name, port=free_port(), primary=primary)

    async def _keep(self, stack: AsyncExitStack, part: Part) -> Part:
        stack.push_async_callback(part.give_up)
        await part.start()
        return part
