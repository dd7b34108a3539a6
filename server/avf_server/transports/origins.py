"""Pages of other sites, and names that other people's DNS points here, are kept from a server without keys.

The laws: a browser sends requests for any page it shows, and says for which in `Origin`; what changes anything, and
every WebSocket, is refused where that is another site, unless the settings list it. A name with a dot that is not
known to be ours may be a stranger's that was pointed at this machine (DNS rebinding), and is refused. Where keys are
asked for, pages cannot send them unasked, and only a list that is set is checked.
"""

import ipaddress
import socket
from collections.abc import Iterable
from functools import cache, lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from avf_server import problems
from avf_server.routes.common import problem_response

NAMES = 256  # that are remembered, of those by which this server is called
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Origins:
    """A middleware. `hosts` and `origins` are those of the settings; `guarded` where no keys are asked for."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str], guarded: bool) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._guarded = guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        problem = self._problem(scope) if scope["type"] in ("http", "websocket") else None
        if problem is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await problem_response(problem)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": problem.name})

    def _problem(self, scope: Scope) -> problems.ProblemError | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if not self._is_ours(_name(host)):
            return problems.ForbiddenError(
                f"this server is not known as {_name(host)!r}: use its address, or add the name to AVF_ALLOWED_HOSTS"
            )
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE
        if self._guarded and changes and origin is not None and not self._is_allowed(origin.lower(), host):
            return problems.ForbiddenError(
                f"a page of {origin} may not use this server: add it to AVF_ALLOWED_ORIGINS, or ask for keys"
            )
        return None

    def _is_ours(self, name: str) -> bool:
        if name in self._hosts or (not self._guarded and not self._hosts):
            return True
        if _is_address(name) or name == "localhost" or name.endswith(".localhost"):
            return True
        return not self._hosts and ("." not in name or name in _own_names())

    def _is_allowed(self, origin: str, host: str) -> bool:
        return origin.rstrip("/") in self._origins or (origin != "null" and urlsplit(origin).netloc == host)


def _name(host: str) -> str:
    """A header `Host` without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


@lru_cache(NAMES)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@cache
def _own_names() -> frozenset[str]:
    return frozenset({socket.gethostname().lower(), socket.getfqdn().lower()})
