"""Short-lived tokens, made with an API key, for browsers to present in its place."""

import math
import time

import avf_wire as wire
from fastapi import APIRouter, Request, Response

from avf_server import problems
from avf_server.access import tokens
from avf_server.routes.common import Maker, Server, Writer, body, reply
from avf_server.runtime import Runtime

router = APIRouter(tags=["tokens"])

LIFETIME = 3600.0  # seconds, where none is asked for


@router.post("/v1/tokens", status_code=201)
async def post_token(request: Request, server: Server, maker: Maker, writer: Writer) -> Response:
    """A token for all sessions of the key that this request is made with."""
    wanted = await body(request, wire.TokenRequest)
    return reply(writer, _token(server, maker, wanted, session=None), status=201)


@router.post("/v1/sessions/{session}/tokens", status_code=201)
async def post_session_token(session: str, request: Request, server: Server, maker: Maker, writer: Writer) -> Response:
    """A token for one session."""
    wanted = await body(request, wire.TokenRequest)
    await server.sessions.meta(session, owner=maker.owner)
    return reply(writer, _token(server, maker, wanted, session=session), status=201)


def _token(server: Runtime, maker: Maker, wanted: wire.TokenRequest, *, session: str | None) -> wire.Token:
    """Raises ForbiddenError for a token that asks for a token, InvalidSettingError for what cannot be granted."""
    if maker.grant is not None:
        raise problems.ForbiddenError("tokens are made with an API key, not with a token")
    if maker.key is None:
        raise problems.InvalidSettingError("this server has no API keys, so no tokens: leave the token out")
    most = server.settings.max_token_s
    lifetime = min(LIFETIME, most) if wanted.lifetime_s is None else wanted.lifetime_s
    if not 0.0 < lifetime <= most:
        raise problems.InvalidSettingError(f"lifetime_s is {lifetime}, expected seconds in (0, {most}]")
    expires_at = math.floor((time.time() + lifetime) * 1000) / 1000
    grant = tokens.Grant(expires_at=expires_at, session=session, read_only=wanted.read_only)
    return wire.Token(
        token=tokens.make(grant, key=maker.key), expires_at=expires_at, session=session, read_only=wanted.read_only
    )
