"""The WebSocket interface: from a handshake to a conversation of `streams/`.

The law: a stream that cannot be is refused by a problem, as HTTP where its sub-protocol is not known, and else in that
sub-protocol; more streams than the settings say are not held.
"""

import asyncio
from functools import cache

import avf_wire as wire
from fastapi import APIRouter, Response, WebSocket

from avf_server import problems
from avf_server.routes.common import problem_response
from avf_server.runtime import Runtime
from avf_server.streams import dialects
from avf_server.streams.conversation import Conversation
from avf_server.transports import asyncapi

router = APIRouter()


@router.websocket("/v1/sessions/{session}/stream")
async def stream(websocket: WebSocket, session: str) -> None:
    """Serve one stream."""
    runtime: Runtime = websocket.app.state.runtime
    offered: list[str] = websocket.scope["subprotocols"]
    dialect = dialects.chosen(offered)
    if dialect is None:
        known = " or ".join(dialects.DIALECTS)
        problem = problems.UnsupportedMediaTypeError(f"the sub-protocol is none that this server speaks: {known}")
        await websocket.send_denial_response(problem_response(problem))
        return
    await websocket.accept(subprotocol=dialect.subprotocol if offered else None)
    conversation = Conversation(websocket, runtime, session, dialect)
    if len(runtime.streams) >= runtime.settings.max_streams:
        await conversation.turn_away(_too_many(runtime), code=wire.CLOSE_TOO_MANY)
        return
    task = asyncio.current_task()
    assert task is not None
    runtime.streams.add(task)
    try:
        with runtime.telemetry.streams.track_inprogress():
            await conversation.hold()
    finally:
        runtime.streams.discard(task)


@router.get(asyncapi.PATH, include_in_schema=False)
async def description() -> Response:
    """The AsyncAPI document of streams."""
    return Response(_document(), media_type="application/vnd.aai.asyncapi+json")


@cache
def _document() -> str:
    return asyncapi.text()


def _too_many(runtime: Runtime) -> problems.OverloadedError:
    return problems.OverloadedError(
        f"{len(runtime.streams)} streams are open, which is the limit", retry_after=runtime.settings.retry_after_s
    )
