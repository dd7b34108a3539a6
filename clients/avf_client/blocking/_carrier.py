"""What blocking code does in its own way: `asynchronous._carrier` has the same names, and does the same with tasks."""

import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, ParamSpec, TypeAlias, TypeVar

from avf_client.core._httpx import EventSource, ServerSentEvent, httpx
from avf_client.observations import StepLike

P = ParamSpec("P")
T = TypeVar("T")

Http: TypeAlias = httpx.Client
Transport: TypeAlias = httpx.BaseTransport
Source: TypeAlias = Iterable[StepLike]
"""What a stream takes its observations from."""

sleep = time.sleep


def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what blocks: the caller waits."""
    return function(*args, **kwargs)


def fetch(http: Http, request: dict[str, Any], *, timeout: float) -> tuple[httpx.Response, bytes]:
    """One request and its whole answer. Raises TimeoutError where that takes longer, however slowly bytes come."""
    start = time.monotonic()
    body = bytearray()
    with http.stream(**request) as response:
        for piece in response.iter_bytes():
            body += piece
            if time.monotonic() - start > timeout:
                raise TimeoutError
    return response, bytes(body)


def events_of(response: httpx.Response) -> Generator[ServerSentEvent, None, None]:
    """The events of a response, whatever the chunks in which they come."""
    yield from EventSource(response).iter_sse()
