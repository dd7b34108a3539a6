"""Who is calling. API keys own sessions; what is kept of a key is a hash.

The law: a server with no keys is open and says so when it starts; one with keys tells callers without a valid
one nothing at all.
"""

import hashlib
import hmac
from collections.abc import Mapping

from avf_server.problems import UnauthorisedError

OPEN = ""
"""The owner of sessions on a server without keys."""


def owner_of(headers: Mapping[str, str], *, keys: tuple[str, ...]) -> str:
    """The owner that these headers speak for. Raises UnauthorisedError."""
    if not keys:
        return OPEN
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorisedError("this server wants an API key: send the header Authorization: Bearer KEY")
    presented = given.strip().encode()
    matches = [hmac.compare_digest(presented, key.encode()) for key in keys]  # all of them: equal time for any key
    if not any(matches):
        raise UnauthorisedError("this API key is not valid here")
    return hashlib.sha256(presented).hexdigest()[:32]
