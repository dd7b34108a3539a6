"""For those who watch: lists, histories, and server-sent events (the HTML standard, section 9.2).

The law: a stream of events is closed, and what it held is let go, as soon as its client has left.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from avf_server.access.keys import Caller
from avf_server.routes.common import Server, Viewer, Watcher, With, Writer, reply
from avf_server.watching.events import Event, WatchOptions

router = APIRouter(tags=["watching"])

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies are not to keep events for later


class _History(msgspec.Struct, frozen=True, kw_only=True):
    """`wire.History`, with the entries as they are stored."""

    session: str
    entries: list[msgspec.Raw]
    cursor: str | None
    more: bool


class _EventStream(StreamingResponse):
    """Events as they are sent."""

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._events = events
        super().__init__((_lines(event) async for event in events), media_type=MEDIA_TYPE, headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()


@router.get("/v1/sessions")
async def list_sessions(
    server: Server, owner: Viewer, writer: Writer, cursor: str | None = None, limit: int | None = None
) -> Response:
    """The caller's sessions, the last opened first."""
    return reply(writer, await server.listing.sessions(owner, cursor=cursor, limit=limit))


@router.get("/v1/sessions/{session}/history")
async def get_history(
    session: str,
    server: Server,
    owner: Viewer,
    writer: Writer,
    cursor: str | None = None,
    limit: int | None = None,
    newest: bool = False,
) -> Response:
    """Scalars of a session's steps, in order: those after `cursor`, or with `newest` the last ones."""
    found = await server.listing.history(session, owner=owner, cursor=cursor, limit=limit, newest=newest)
    page = _History(
        session=session,
        entries=[writer.note(note) for _, note in found],
        cursor=found[-1][0] if found else cursor,
        more=not newest and len(found) == server.listing.limit(limit),
    )
    return reply(writer, page)


@router.get("/v1/sessions/{session}/events")
async def get_session_events(
    session: str,
    server: Server,
    caller: Watcher,
    interval: float = 0.0,
    with_: With = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Estimates of a session as they come, as server-sent events."""
    options = WatchOptions(interval=interval, observation=with_ is not None, until=_until(caller))
    events = await server.events.session(session, owner=caller.owner, options=options, after=last_event_id or None)
    return _EventStream(events)


@router.get("/v1/events")
async def get_events(server: Server, caller: Watcher, interval: float = 0.5) -> Response:
    """What becomes of all of the caller's sessions, as server-sent events."""
    return _EventStream(
        await server.events.all(owner=caller.owner, options=WatchOptions(interval=interval, until=_until(caller)))
    )


def _until(caller: Caller) -> float:
    """When what the caller presented ends, in the event loop's time."""
    return asyncio.get_running_loop().time() + caller.expires_at - time.time()


def _lines(event: Event) -> bytes:
    """An event as it is sent; its JSON has no line breaks."""
    if not event.name:
        return b":\n\n"
    identifier = b"" if event.id is None else b"id: %s\n" % event.id.encode()
    return b"event: %s\n%sdata: %s\n\n" % (event.name.encode(), identifier, event.data)
