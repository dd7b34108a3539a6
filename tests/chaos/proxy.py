"""A TCP proxy before the servers: it balances their connections, and breaks some, as its seed says.

The laws: what passes is passed on unchanged and in order, up to where the connection is broken; which connections
break, how and after how many bytes, follows from the seed and the connection's number. A server that refuses a
connection is passed over, as any load balancer does; one that hangs is not known to.
"""

import asyncio
import contextlib
import random
import re
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Address = tuple[str, int]
SESSION = re.compile(rb"/v1/sessions/([\w-]{16,})")
NO_LINGER = struct.pack("ii", 1, 0)  # closing then sends a reset
CONNECT = 1.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Mischief:
    """How likely a connection is to be reset after some bytes, or to be slow; `delay` in seconds a piece."""

    resets: float = 0.0
    slow: float = 0.0
    delay: float = 0.02
    most_bytes: int = 20_000


@dataclass(eq=False)
class Link:
    """One connection through the proxy, and the session that it last named."""

    target: Address
    budget: int | None  # bytes from either side until it is reset
    delay: float
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    session: str | None = None
    moving: asyncio.Event = field(default_factory=asyncio.Event)  # clear: nothing passes


class Proxy:
    """An asynchronous context manager; `url` is where clients connect. `targets` gives the servers there are."""

    def __init__(
        self, targets: Callable[[], Sequence[Address]], *, seed: int, mischief: Mischief | None = None
    ) -> None:
        self._targets = targets
        self._random = random.Random(seed)
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.mischief = mischief or Mischief()
        self.links: set[Link] = set()
        self.resets = 0
        self.url = ""

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def sessions_of(self, target: Address) -> set[str]:
        """The sessions that have a connection to a server."""
        return {link.session for link in self.links if link.target == target and link.session}

    def reset(self, link: Link) -> None:
        """Break a connection, so that both ends see a reset."""
        self.resets += 1
        for writer in (link.near, link.far):
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, near)
        except asyncio.CancelledError:  # the proxy ends: asyncio would log a cancelled handler
            return
        finally:
            self._tasks.discard(task)
            _reset(near)

    async def _carry(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until either side ends."""
        luck, size, slow = self._random.random(), self._random.random(), self._random.random()  # always three draws
        opened = await self._connect()
        if opened is None:
            return
        target, answers, far = opened
        budget = int(size * self.mischief.most_bytes) if luck < self.mischief.resets else None
        delay = self.mischief.delay if slow < self.mischief.slow else 0.0
        link = Link(target=target, budget=budget, delay=delay, near=near, far=far)
        link.moving.set()
        self.links.add(link)
        pumps = [asyncio.create_task(self._pump(link, *way)) for way in ((reader, far), (answers, near))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.links.discard(link)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            _reset(far)

    async def _connect(self) -> tuple[Address, asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next server in turn that takes one."""
        targets = list(self._targets())
        self._turn += 1
        for i in range(len(targets)):
            target = targets[(self._turn + i) % len(targets)]
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT):
                    return target, *await asyncio.open_connection(*target)
        return None

    async def _pump(self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if found := SESSION.findall(data):
                    link.session = found[-1].decode()
                await link.moving.wait()
                if link.delay:
                    await asyncio.sleep(link.delay)
                if link.budget is not None and len(data) >= link.budget:
                    sink.write(data[: link.budget])
                    await sink.drain()
                    self.reset(link)
                    return
                if link.budget is not None:
                    link.budget -= len(data)
                sink.write(data)
                await sink.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once, with a reset."""
    if writer.is_closing():
        return
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    writer.transport.abort()
