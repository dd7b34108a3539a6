"""Sessions but for their steps: opened, looked at, copied, reset, ended."""

import avf_wire as wire
from fastapi import APIRouter, Request, Response

from avf_server.codecs import negotiation
from avf_server.routes.common import Owner, Server, Viewer, Writer, body, opened, reply

router = APIRouter(tags=["sessions"])


@router.post("/v1/sessions", status_code=201)
async def create_session(request: Request, server: Server, owner: Owner, writer: Writer) -> Response:
    """Open a session."""
    server.stopping.check()
    session = await server.sessions.create(await body(request, wire.CreateSession), owner=owner)
    return opened(request, writer, session)


@router.post("/v1/sessions/restore", status_code=201)
async def restore_session(
    request: Request,
    server: Server,
    owner: Owner,
    writer: Writer,
    seed: int | None = None,
    iterations: int | None = None,
    durability: wire.Durability | None = None,
) -> Response:
    """Open a session that goes on from a snapshot, which is the body."""
    server.stopping.check()
    negotiation.check(request.headers.get("content-type", ""), expected=wire.SNAPSHOT_MEDIA_TYPE)
    options = wire.Branch(seed=seed, iterations=iterations, durability=durability)
    return opened(request, writer, await server.branches.restore(await request.body(), options, owner=owner))


@router.get("/v1/sessions/{session}")
async def get_session(session: str, server: Server, owner: Viewer, writer: Writer) -> Response:
    """Where a session stands."""
    return reply(writer, await server.sessions.session(session, owner=owner))


@router.delete("/v1/sessions/{session}", status_code=204)
async def delete_session(session: str, server: Server, owner: Owner) -> Response:
    """End a session."""
    await server.sessions.delete(session, owner=owner)
    return Response(status_code=204)


@router.post("/v1/sessions/{session}/reset")
async def reset_session(session: str, server: Server, owner: Owner, writer: Writer) -> Response:
    """Begin a new epoch at the prior."""
    server.stopping.check()
    return reply(writer, await server.sessions.reset(session, owner=owner))


@router.get("/v1/sessions/{session}/snapshot")
async def get_snapshot(session: str, server: Server, owner: Viewer) -> Response:
    """The belief of a session, as a safetensors file."""
    return Response(await server.branches.snapshot(session, owner=owner), media_type=wire.SNAPSHOT_MEDIA_TYPE)


@router.post("/v1/sessions/{session}/fork", status_code=201)
async def fork_session(session: str, request: Request, server: Server, owner: Owner, writer: Writer) -> Response:
    """Open a session that goes on from where this one stands."""
    server.stopping.check()
    options = await body(request, wire.Branch)
    return opened(request, writer, await server.branches.fork(session, options, owner=owner))
