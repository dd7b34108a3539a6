"""Who is calling. API keys own sessions; what is kept of a key is a hash. Tokens speak for a part of what a key owns.

The laws: a server with no keys is open and says so when it starts; one with keys tells callers without a valid one
nothing at all. What a token does not allow is refused, even where it would be harmless.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from avf_server import problems
from avf_server.access import tokens
from avf_server.problems import UnauthorisedError

OPEN = ""
"""The owner of sessions on a server without keys."""

Intent = Literal["read", "write"]
"""Whether a request may change anything."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls: the owner of sessions, and the key; and what the token allows, where it was one."""

    owner: str
    key: str | None = None
    grant: tokens.Grant | None = None

    @property
    def expires_at(self) -> float:
        """When what the caller presented ends, in seconds since 1970."""
        return float("inf") if self.grant is None else self.grant.expires_at

    def check(self, *, session: str | None, intent: Intent) -> None:
        """Raise ForbiddenError unless the caller may do this to that session; None is all that an owner has."""
        if self.grant is None:
            return
        if self.grant.session not in (None, session):
            raise problems.ForbiddenError(f"this token is for session {self.grant.session} only")
        if self.grant.read_only and intent == "write":
            raise problems.ForbiddenError("this token is for looking only")


def caller_of(
    headers: Mapping[str, str], *, keys: tuple[str, ...], now: float, query: Mapping[str, str] | None = None
) -> Caller:
    """Who these headers speak for; where `query` is given, its `token` counts too. Raises UnauthorisedError."""
    if not keys:
        return Caller(owner=OPEN)
    presented = _presented(headers, query or {})
    matching = [key for key in keys if hmac.compare_digest(presented, key.encode())]  # all of them: equal time
    if matching:
        return Caller(owner=_owner(presented), key=matching[0])
    if tokens.is_token(presented):
        grant, key = tokens.read(presented, keys=keys, now=now)
        return Caller(owner=_owner(key.encode()), key=key, grant=grant)
    raise UnauthorisedError("this API key is not valid here")


def _presented(headers: Mapping[str, str], query: Mapping[str, str]) -> bytes:
    """The key or token of a request; of the address, tokens only: addresses are written into logs and histories."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip().encode()
    token = query.get("token", "").encode()
    if tokens.is_token(token):
        return token
    raise UnauthorisedError("this server wants an API key: send the header Authorization: Bearer KEY")


def _owner(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:32]
