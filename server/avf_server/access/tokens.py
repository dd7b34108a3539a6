"""Short-lived tokens for browsers: what a page may hold in place of an API key.

    avft1.PAYLOAD.SIGNATURE      both base64url; the signature, by itsdangerous, is HMAC-SHA256 of the first two parts
                                 by the API key

The laws: a token is good on every server that has the key which made it, and nowhere else; it says what it allows and
until when, and nothing of its maker; nothing of it is read before its signature has been checked. There is no clock
here: `now` is passed in, in seconds since 1970.
"""

import hashlib
from collections.abc import Sequence

import itsdangerous
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
    payload = itsdangerous.base64_encode(msgspec.json.encode(grant)).decode()
    return _signer(key).sign(PREFIX + payload).decode()


def read(token: bytes, *, keys: Sequence[str], now: float) -> tuple[Grant, str]:
    """The grant of a token, and the key that it was signed with.

    Raises UnauthorisedError where it was signed with none of `keys`, or has expired.
    """
    signed, _, signature = token[:LONGEST].rpartition(b".")
    matching = [key for key in keys if _signer(key).verify_signature(signed, signature)]  # all: equal time
    if not matching or len(token) > LONGEST:
        raise UnauthorisedError("this token is not valid here: it was made with another API key, or is damaged")
    grant = msgspec.json.decode(itsdangerous.base64_decode(signed.removeprefix(PREFIX.encode())), type=Grant)
    if now >= grant.expires_at:
        raise UnauthorisedError("this token has expired: ask whoever gave it for a new one")
    return grant, matching[0]


def _signer(key: str) -> itsdangerous.Signer:
    return itsdangerous.Signer(key, key_derivation="none", digest_method=hashlib.sha256)
