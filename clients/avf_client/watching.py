"""Carries the bytes of `events.EventRun`: for blocking code, and for asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

from avf_client.core import rest
from avf_client.core._httpx import httpx
from avf_client.core.events import SILENCE, Event, EventRun
from avf_client.errors import AvfClientError, ConnectionFailed

if TYPE_CHECKING:
    from avf_client.asynchronous.client import AsyncClient
    from avf_client.blocking.client import Client


def watch(client: "Client", path: str, run: EventRun) -> Generator[Event, None, None]:
    """The events at `path`, until the session ends."""
    while not run.done:
        try:
            try:
                with client._http.stream(**_request(path, run, client.timeout)) as response:
                    if response.status_code != 200:
                        response.read()
                        raise _failure(path, response)
                    for line in response.iter_lines():
                        if (event := run.hear(line)) is not None:
                            yield event
            except httpx.TransportError as error:
                raise rest.broken(client.base_url, error) from error
            if not run.done:
                raise ConnectionFailed(f"the events of {client.base_url} ended")
        except AvfClientError as error:
            time.sleep(run.lost(error))


async def watch_async(client: "AsyncClient", path: str, run: EventRun) -> AsyncGenerator[Event, None]:
    """The same, awaited."""
    while not run.done:
        try:
            try:
                async with client._http.stream(**_request(path, run, client.timeout)) as response:
                    if response.status_code != 200:
                        await response.aread()
                        raise _failure(path, response)
                    async for line in response.aiter_lines():
                        if (event := run.hear(line)) is not None:
                            yield event
            except httpx.TransportError as error:
                raise rest.broken(client.base_url, error) from error
            if not run.done:
                raise ConnectionFailed(f"the events of {client.base_url} ended")
        except AvfClientError as error:
            await asyncio.sleep(run.lost(error))


def _request(path: str, run: EventRun, timeout: float) -> dict[str, Any]:
    limits = httpx.Timeout(timeout, read=max(timeout, SILENCE))
    return {"method": "GET", "url": path, "headers": run.headers, "timeout": limits}


def _failure(path: str, response: httpx.Response) -> AvfClientError:
    media_type = response.headers.get("content-type", "")
    return rest.failure(f"GET {path}", status=response.status_code, media_type=media_type, body=response.content)
