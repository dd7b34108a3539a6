"""What asyncio code does in its own way: `blocking._carrier` has the same names, and does the same with threads.

The law: these two files and the two `streaming` are written twice by hand, and nothing else; the rest of the blocking
face is made from this one by `clients/generate_blocking.py`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Any, TypeAlias

from avf_client.core._httpx import EventSource, ServerSentEvent, httpx
from avf_client.observations import StepLike

Http: TypeAlias = httpx.AsyncClient
Transport: TypeAlias = httpx.AsyncBaseTransport
Source: TypeAlias = Iterable[StepLike] | AsyncIterable[StepLike]
"""What a stream takes its observations from."""

sleep = asyncio.sleep
aside = asyncio.to_thread
"""Call what blocks, without holding up anybody else."""


async def fetch(http: Http, request: dict[str, Any], *, timeout: float) -> tuple[httpx.Response, bytes]:
    """One request and its whole answer. Raises TimeoutError where that takes longer, however slowly bytes come."""
    async with asyncio.timeout(timeout):
        response = await http.request(**request)
    return response, response.content


async def events_of(response: httpx.Response) -> AsyncGenerator[ServerSentEvent, None]:
    """The events of a response, whatever the chunks in which they come."""
    async for said in EventSource(response).aiter_sse():
        yield said
