"""Requests that come at every step go straight to their route: what finds and fills it costs more than the step.

The law: the same function answers, with the same arguments, as where the framework finds it: only POST of steps, with
nothing in the address but the session, comes this way; all else, and whatever is said otherwise, goes the other.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from avf_server.problems import ProblemError
from avf_server.routes.common import owner_of, runtime_of, writer_of
from avf_server.routes.steps import post_steps

BEFORE, AFTER = "/v1/sessions/", "/steps"

Handler = Callable[[Request, Exception], Awaitable[Response]]


class Straight:
    """ASGI middleware, the innermost. `on_problem` and `on_left` answer as for every other route."""

    def __init__(self, app: ASGIApp, *, on_problem: Handler, on_left: Handler) -> None:
        self._app = app
        self._on_problem = on_problem
        self._on_left = on_left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        session = _session(scope)
        if session is None:
            await self._app(scope, receive, send)
            return
        scope["path_params"] = {"session": session}
        request = Request(scope, receive)
        try:
            response = await _answer(request, session)
        except ProblemError as problem:
            response = await self._on_problem(request, problem)
        except ClientDisconnect as left:
            response = await self._on_left(request, left)
        await response(scope, receive, send)


async def _answer(request: Request, session: str) -> Response:
    server = await runtime_of(request)
    owner, writer = await owner_of(request, server), await writer_of(request)
    return await post_steps(session, request, server, owner, writer)


def _session(scope: Scope) -> str | None:
    """The session whose steps these are; None where this is another request."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"] or scope.get("root_path"):
        return None
    path: str = scope["path"]
    if not (path.startswith(BEFORE) and path.endswith(AFTER)):
        return None
    session = path[len(BEFORE) : -len(AFTER)]
    return session if session and "/" not in session else None
