"""API keys: taken as people have them, and told to nobody.

The law: a key becomes an `ApiKey` where it enters, and text again only in the header of a request (`headers`). Its own
text is `***`, and so say repr, logs, tracebacks, JSON and the specs of environments. Copies and pickles keep the key.
"""

import logging
import os

from avf_client.core._httpx import httpx
from avf_client.errors import InvalidArgument

VARIABLE = "AVF_API_KEY"
REDACTED = "***"
_DO = f"give the key as the server's operator wrote it, by api_key or {VARIABLE}"


class ApiKey(str):
    """A key whose text is `***`; equal to the key itself, as text or as another `ApiKey`."""

    def __new__(cls, key: str) -> "ApiKey":  # noqa: D102 - the class says it
        self = super().__new__(cls, REDACTED)
        self._key = key
        return self

    _key: str

    def __repr__(self) -> str:
        return repr(REDACTED)

    def __eq__(self, other: object) -> bool:
        return self._key == (other._key if isinstance(other, ApiKey) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[type["ApiKey"], tuple[str]]:
        return ApiKey, (self._key,)

    def reveal(self) -> str:
        """The key itself, for the header Authorization, or for another process' environment."""
        return self._key


def sealed(key: str | None) -> ApiKey | None:
    """The key, without the blanks and the line end that a file adds. Raises InvalidArgument, which does not tell it."""
    if key is None or isinstance(key, ApiKey):
        return key
    fault = _fault(key)
    if fault is not None:
        raise InvalidArgument(f"the API key {fault}: {_DO}")
    return ApiKey(key.strip())


def of_environment() -> ApiKey | None:
    """The key of the environment, AVF_API_KEY; None where it is not set, or empty."""
    return sealed(os.environ.get(VARIABLE) or None)


def headers(key: ApiKey | None) -> httpx.Headers:
    """The headers of every request with this key; their repr does not tell it."""
    return httpx.Headers({} if key is None else {"Authorization": f"Bearer {key.reveal()}"})


class _Untold(logging.Filter):
    """Leaves the key out of what websockets logs of a handshake, one header a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        values = record.args
        if isinstance(values, tuple) and str(next(iter(values), "")).lower().endswith("authorization"):
            record.args = (values[0], REDACTED)
        return True


def logger() -> logging.Logger:
    """A logger for websockets, below its own, that does not tell the key."""
    found = logging.getLogger("websockets.client.avf")
    if not found.filters:
        found.addFilter(_Untold())
    return found


def _fault(key: object) -> str | None:
    """What is wrong with a key."""
    if not isinstance(key, str):
        return f"is of the type {type(key).__name__}, expected text"
    text = key.strip()
    if not text:
        return "is empty"
    if text == REDACTED:
        return f"is {REDACTED}, which stands where a key is not told"
    if not all("!" <= character <= "~" for character in text):
        return "holds a blank, a control character or a letter that is not ASCII"
    return None
