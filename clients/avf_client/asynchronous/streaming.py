"""A stream over WebSockets for asyncio code: carries the bytes of `running.Run`.

The law: at most one task hears the server and at most one asks the source, and neither is cancelled with something in
its hands: a task is awaited to its end, kept for the next move, or cancelled when the run is over.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from avf_client.asynchronous import _carrier
from avf_client.asynchronous.connection import AsyncConnection
from avf_client.core.addresses import stream_url
from avf_client.core.closing import FOREIGN, arguments, translated
from avf_client.core.encodings import Encoding, chosen
from avf_client.core.protocol import Incoming, Outgoing
from avf_client.core.running import Run
from avf_client.errors import AvfClientError
from avf_client.observations import StepLike
from avf_client.results.estimates import Summary

_NO_MORE = object()


class AsyncStreaming:
    """One run of `AsyncSession.stream`."""

    def __init__(self, connection: AsyncConnection, run: Run, xs: _carrier.Source) -> None:
        self._connection = connection
        self._run = run
        self._source = aiter(xs if isinstance(xs, AsyncIterable) else _asynchronous(run.pieces(xs)))
        self._link: _Link | None = None
        self._hearing: asyncio.Task[Incoming] | None = None
        self._asking: asyncio.Task[Any] | None = None

    async def estimates(self) -> AsyncGenerator[Summary, None]:
        """The estimates of all observations of the source, in order."""
        run = self._run
        try:
            while not run.machine.done:
                estimate = await self._advance()
                if estimate is not None:
                    yield estimate
        except GeneratorExit:
            await self._settle()
            raise
        finally:
            await self._drop_link()
            await _cancel(self._asking)
            run.leave()
        if run.source_error is not None:
            raise run.source_error

    async def _advance(self) -> Summary | None:
        """One move: connect, or hear one message, or take one observation."""
        machine = self._run.machine
        try:
            if self._link is None:
                self._link = await _Link.open(self._connection, self._run)
            for outgoing in machine.outgoing():
                await self._link.send(outgoing)
            self._hearing = self._hearing or asyncio.create_task(self._link.receive())
            waiting: set[asyncio.Task[Any]] = {self._hearing}
            if machine.wants_observation:
                self._asking = self._asking or asyncio.create_task(_next(self._source))
                waiting.add(self._asking)
            timeout = None if machine.wants_observation else self._connection.timeout
            done, _ = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise translated(self._link.url, TimeoutError())
            if self._hearing in done:
                hearing, self._hearing = self._hearing, None
                return self._run.hear(hearing.result())
        except AvfClientError as error:
            await self._drop_link()
            await asyncio.sleep(self._run.lost(error, now=time.monotonic()))
        else:
            self._take()
        return None

    def _take(self) -> None:
        asking, self._asking = cast("asyncio.Task[Any]", self._asking), None
        error = asking.exception()
        if isinstance(error, Exception):
            self._run.source_failed(error)
        elif asking.result() is _NO_MORE:
            self._run.machine.finish()
        else:
            self._run.take(asking.result())

    async def _settle(self) -> None:
        """The caller leaves early: have what was taken filtered, so that the session's place is known."""
        self._run.machine.finish()
        while not self._run.machine.done:
            try:
                await self._advance()
            except AvfClientError:
                return

    async def _drop_link(self) -> None:
        hearing, self._hearing = self._hearing, None
        await _cancel(hearing)
        link, self._link = self._link, None
        if link is not None:
            await link.close()


class _Link:
    """One connection. Raises ConnectionFailed where it breaks, and the problem where the server refuses."""

    def __init__(self, url: str, socket: ClientConnection, encoding: Encoding) -> None:
        self.url = url
        self._socket = socket
        self._encoding = encoding

    @classmethod
    async def open(cls, connection: AsyncConnection, run: Run) -> "_Link":
        """Connect."""
        url = stream_url(connection.base_url, run.session_id, run.options.query)
        try:
            socket = await connect(
                **arguments(url, connection.way, api_key=connection.api_key, timeout=connection.timeout)
            )
        except FOREIGN as error:
            raise translated(url, error) from error
        return cls(url, socket, chosen(socket.subprotocol, run.form))

    async def send(self, message: Outgoing) -> None:
        """Send one message. Where the connection is closed, `receive` says so, after what came before it closed."""
        try:
            await self._socket.send(self._encoding.encode(message))
        except ConnectionClosed:
            return
        except OSError as error:
            raise translated(self.url, error) from error

    async def receive(self) -> Incoming:
        """The next message."""
        try:
            data = await self._socket.recv()
        except (OSError, ConnectionClosed) as error:
            raise translated(self.url, error) from error
        return self._encoding.decode(data)

    async def close(self) -> None:
        """Close the connection."""
        await self._socket.close()


async def _asynchronous(xs: Iterable[StepLike]) -> AsyncIterator[StepLike]:
    for x in xs:
        yield x


async def _next(source: AsyncIterator[StepLike]) -> object:
    return await anext(source, _NO_MORE)


async def _cancel(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task and see it end; its result and its error are no longer of interest."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
