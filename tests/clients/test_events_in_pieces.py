"""Events come whole, however the network cuts their bytes, for blocking code and for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import httpx
import pytest
from avf_client import Event, Retry
from avf_client.asynchronous import _carrier as awaited
from avf_client.blocking import _carrier as blocking
from avf_client.core.events import EventRun
from hypothesis import given
from hypothesis import strategies as st

RESETS = 3
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def text(end: bytes) -> bytes:
    """Resets with ids, a sign of life between them, and half an event at the end."""
    lines = [b": alive", b""]
    for epoch in range(1, RESETS + 1):
        lines += [b"event: reset", b"id: %d" % epoch, b'data: {"epoch":', b"data: %d}" % epoch, b"", b":", b""]
    return end.join([*lines, b"event: reset", b'data: {"epoch": 99}', b""])


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return [data[start:stop] for start, stop in pairwise(places)]


class Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in these pieces."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


def response(parts: list[bytes]) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Chunks(parts))


def told_blocking(parts: list[bytes], run: EventRun) -> list[Event | None]:
    return [run.hear(said) for said in blocking.events_of(response(parts))]


def told_awaited(parts: list[bytes], run: EventRun) -> list[Event | None]:
    async def listen() -> list[Event | None]:
        return [run.hear(said) async for said in awaited.events_of(response(parts))]

    return asyncio.run(listen())


@pytest.mark.parametrize("told", [told_blocking, told_awaited])
@given(end=ENDS, cuts=st.lists(st.integers(0, 10_000), max_size=40))
def test_pieces_make_no_difference(told: object, end: bytes, cuts: list[int]) -> None:
    """Any cuts and any of the three line ends give the same events, once each; what was cut off is none."""
    assert callable(told)
    run = EventRun(Retry(), size=1)
    events = [event for event in told(pieces(text(end), cuts), run) if event is not None]
    assert [(event.kind, event.epoch) for event in events] == [("reset", epoch) for epoch in range(1, RESETS + 1)]
    assert run.headers["Last-Event-ID"] == f"{RESETS}"
