"""HEAD for all that GET is for: probes and caches ask so (RFC 9110, section 9.3.2).

The law: the same status and headers as of GET, and no body; a stream of events ends where it would begin.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """A middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask as GET, and leave the body out."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        begun = False

        async def without_body(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                await send(message)
            elif message["type"] == "http.response.body" and not begun:
                begun = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def until_begun() -> Message:
            return {"type": "http.disconnect"} if begun else await receive()

        await self._app({**scope, "method": "GET"}, until_begun, without_body)
