"""What the routes share: who calls, which codec reads the body, and which one writes the answer.

The law: a route decides nothing; it decodes, calls a part of the runtime, and encodes. What reads asks for a `Viewer`,
what changes anything for an `Owner`, so that a token for looking only is refused by every route that is not named so.
These are coroutines though they wait for nothing: the framework calls plain functions in a thread.
"""

import time
from typing import Annotated, Literal

import avf_wire as wire
import msgspec
from fastapi import Depends, Query, Request, Response

from avf_server import problems
from avf_server.access.keys import Caller, Intent, caller_of
from avf_server.codecs import negotiation
from avf_server.codecs.base import Body, MessageCodec
from avf_server.problems import ProblemError
from avf_server.runtime import Runtime


async def runtime_of(request: Request) -> Runtime:
    """The parts of this server."""
    runtime: Runtime = request.app.state.runtime
    return runtime


Server = Annotated[Runtime, Depends(runtime_of)]


def _authorised(request: Request, server: Runtime, intent: Intent, *, in_address: bool = False) -> Caller:
    """The caller, who may do this to the session that the address names."""
    caller = caller_of(
        request.headers,
        keys=server.settings.api_keys,
        now=time.time(),
        query=request.query_params if in_address else None,
    )
    caller.check(session=request.path_params.get("session"), intent=intent)
    return caller


async def owner_of(request: Request, server: Server) -> str:
    """The owner of sessions, who may change them. Raises UnauthorisedError, ForbiddenError."""
    return _authorised(request, server, "write").owner


async def _viewer(request: Request, server: Server) -> str:
    return _authorised(request, server, "read").owner


async def _visitor(request: Request, server: Server) -> str:
    keys = server.settings.api_keys
    return caller_of(request.headers, keys=keys, now=time.time()).owner


async def _watcher(request: Request, server: Server) -> Caller:
    return _authorised(request, server, "read", in_address=True)


async def _maker(request: Request, server: Server) -> Caller:
    return _authorised(request, server, "write")


Owner = Annotated[str, Depends(owner_of)]
"""The owner of sessions, who may change them."""

Viewer = Annotated[str, Depends(_viewer)]
"""The owner of sessions, who may look at them."""

Visitor = Annotated[str, Depends(_visitor)]
"""Whoever has a valid key or token, also one for a session, where nothing of anyone's is shown."""

Watcher = Annotated[Caller, Depends(_watcher)]
"""As `Viewer`, with the token in the address: where browsers can set no headers."""

Maker = Annotated[Caller, Depends(_maker)]
"""As `Owner`, with the key."""


async def writer_of(request: Request) -> MessageCodec:
    """The codec of the answer. Raises NotAcceptableError."""
    return negotiation.writer(request.headers.get("accept", ""))


Writer = Annotated[MessageCodec, Depends(writer_of)]


With = Annotated[Literal["observation"] | None, Query(alias="with")]
"""What else an answer with an estimate is to hold."""


async def body(request: Request, kind: type[Body]) -> Body:
    """The message in a body that holds no observations, and is small.

    Raises UnsupportedMediaTypeError, BodyTooLargeError, MalformedBodyError.
    """
    reader = negotiation.message_reader(request.headers.get("content-type", ""))
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > wire.LONGEST_CONTROL:
            raise problems.BodyTooLargeError(
                f"the body has more than {wire.LONGEST_CONTROL} bytes, which is the limit for what is no observation"
            )
    return reader.decode(bytes(found), kind)


def part(writer: MessageCodec, message: object) -> msgspec.Raw:
    """A message as a part of one to encode: what is large is written part by part, in turns with others' work."""
    return msgspec.Raw(writer.encode(message))


def reply(
    writer: MessageCodec, message: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """The message in the form that the client asked for."""
    varying = {"Vary": "Accept"} | (headers or {})
    return Response(writer.encode(message), status, varying, media_type=writer.media_type)


def opened(request: Request, writer: MessageCodec, session: wire.Session) -> Response:
    """A session that has just been opened; its address begins with the prefix that the server is behind, if any."""
    prefix = request.scope.get("root_path", "")
    return reply(writer, session, status=201, headers={"Location": f"{prefix}/v1/sessions/{session.id}"})


def problem_response(problem: ProblemError) -> Response:
    """The problem as problem+json."""
    return Response(
        problems.to_json(problem),
        problem.status,
        problems.headers(problem),
        media_type=wire.PROBLEM_MEDIA_TYPE,
    )
