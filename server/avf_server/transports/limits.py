"""Bodies are bounded before they are read: by their announced length, and by counting where none is announced."""

import avf_wire as wire
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from avf_server import problems
from avf_server.problems import BodyTooLargeError


class BodyLimit:
    """ASGI middleware that refuses bodies of more than `limit` bytes."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse by the announced length at once; else count what comes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._limit:
            await _refuse(self._problem(), send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise self._problem()
            return message

        return counted

    def _problem(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the body has more than {self._limit} bytes, which is the limit")


async def _refuse(problem: BodyTooLargeError, send: Send) -> None:
    body = problems.to_json(problem)
    headers = {
        "content-type": wire.PROBLEM_MEDIA_TYPE,
        "content-length": str(len(body)),
        **problems.headers(problem),
    }
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
