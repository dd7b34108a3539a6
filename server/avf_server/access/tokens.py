"""Short-lived tokens for browsers: what a page may hold in place of an API key.

    avft1.PAYLOAD.SIGNATURE      both base64url; the signature is HMAC-SHA256 of the first two parts by the API key

The laws: a token is good on every server that has the key which made it, and nowhere else; it says what it allows and
until when, and nothing of its maker; nothing of it is read before its signature has been checked. There is no clock
here: `now` is passed in, in seconds since 1970.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from avf_server.problems import UnauthorisedError

PREFIX = "avft1."
LONGEST = 1024  # bytes


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a token allows: one session, or (None) all of its owner's; to look only; until `expires_at`."""

    expires_at: float  # seconds since 1970
    session: str | None = None
    read_only: bool = False


def is_token(credential: bytes) -> bool:
    """Whether this is meant as a token, and not as an API key."""
    return credential.startswith(PREFIX.encode())


def make(grant: Grant, *, key: str) -> str:
    """The token of a grant, signed with an API key."""
    signed = PREFIX + _encode(msgspec.json.encode(grant))
    return f"{signed}.{_encode(_signature(signed, key))}"


def read(token: bytes, *, keys: Sequence[str], now: float) -> tuple[Grant, str]:
    """The grant of a token, and the key that it was signed with.

    Raises UnauthorisedError where it was signed with none of `keys`, or has expired.
    """
    signed, _, signature = token[:LONGEST].decode("ascii", "replace").rpartition(".")
    given = _decode(signature)
    matching = [key for key in keys if hmac.compare_digest(given, _signature(signed, key))]  # all: equal time
    if not matching or len(token) > LONGEST:
        raise UnauthorisedError("this token is not valid here: it was made with another API key, or is damaged")
    grant = msgspec.json.decode(_decode(signed.removeprefix(PREFIX)), type=Grant)
    if now >= grant.expires_at:
        raise UnauthorisedError("this token has expired: ask whoever gave it for a new one")
    return grant, matching[0]


def _signature(signed: str, key: str) -> bytes:
    return hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
