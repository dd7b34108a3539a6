"""Addresses behind a proxy that puts a prefix before them, such as `/avf`.

The law: the setting decides; where there is none, the proxy may say the prefix in `X-Forwarded-Prefix`, of plain
characters only, since it comes back in addresses. The proxy may strip the prefix from what it passes on, or leave it.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

PLAIN = re.compile(rb"(/[A-Za-z0-9._~-]+)+")
LONGEST = 200  # bytes


class Prefix:
    """ASGI middleware that says the prefix as `root_path`, as ASGI does."""

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the prefix of a request, or of a stream."""
        if scope["type"] in ("http", "websocket"):
            found = self._prefix or _forwarded(scope)
            scope = {**scope, "root_path": found} if found else scope
        await self._app(scope, receive, send)


def _forwarded(scope: Scope) -> str:
    """The prefix that a proxy says; nothing where it is none."""
    said = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").rstrip(b"/")
    return said.decode() if len(said) <= LONGEST and PLAIN.fullmatch(said) else ""
