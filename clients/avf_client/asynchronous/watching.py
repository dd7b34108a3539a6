"""Carries the bytes of `core.events.EventRun`."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from avf_client.asynchronous import _carrier
from avf_client.asynchronous.connection import AsyncConnection
from avf_client.core import rest
from avf_client.core._httpx import ServerSentEvent
from avf_client.core.events import Event, EventRun
from avf_client.errors import AvfClientError, ConnectionFailed


async def watch(connection: AsyncConnection, path: str, run: EventRun) -> AsyncGenerator[Event, None]:
    """The events at `path`, until the session ends; a connection that breaks is made again."""
    while not run.done:
        try:
            async with _listening(connection, path, run) as said:
                async for each in said:
                    event = run.hear(each)
                    if event is not None:
                        yield event
            if not run.done:
                raise ConnectionFailed(f"the events of {connection.base_url} ended")
        except AvfClientError as error:
            await _carrier.sleep(run.lost(error))


@asynccontextmanager
async def _listening(
    connection: AsyncConnection, path: str, run: EventRun
) -> AsyncGenerator[AsyncIterator[ServerSentEvent], None]:
    """What one connection brings. Raises ConnectionFailed where it breaks, and what the server refuses with."""
    try:
        async with connection.http.stream(**rest.events_request(path, run.headers, connection.timeout)) as response:
            if response.status_code != 200:
                raise rest.refusal(f"GET {path}", response, await response.aread())
            async with aclosing(_carrier.events_of(response)) as said:
                yield said
    except AvfClientError:  # some of which are ValueErrors, as FOREIGN are
        raise
    except rest.FOREIGN as error:
        raise rest.broken(connection.base_url, error) from error
