"""The models that a server holds, and how the server is."""

import avf_wire as wire
from fastapi import APIRouter, Response

from avf_server.routes.common import Server, Visitor, Writer, reply

router = APIRouter(tags=["models"])


@router.get("/v1/models")
async def list_models(server: Server, visitor: Visitor, writer: Writer) -> Response:
    """The models this server holds."""
    return reply(writer, wire.Models(models=[server.sessions.model(name) for name in server.models]))


@router.get("/v1/models/{name}")
async def get_model(name: str, server: Server, visitor: Visitor, writer: Writer) -> Response:
    """One model."""
    return reply(writer, server.sessions.model(name))


@router.get("/v1/status")
async def get_status(server: Server, visitor: Visitor, writer: Writer) -> Response:
    """How the server is, for people who look at it."""
    return reply(writer, await server.status.now())
