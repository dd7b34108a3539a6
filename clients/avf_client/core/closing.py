"""The edge to the library `websockets`: what it offers, and its exceptions as ours. No I/O.

| close code                           | error                                      |
|--------------------------------------|--------------------------------------------|
| 4401                                 | Unauthorised                               |
| 4404, 4410                           | UnknownSession                             |
| 4409                                 | SessionMoved                               |
| 1003, 1007, 1009 (we broke the law)  | ProtocolError                              |
| others, 1012 and no code at all too  | ConnectionFailed: the stream may reconnect |
"""

from typing import Any

import avf_wire as wire
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from avf_client.core import keys, rest
from avf_client.core.keys import ApiKey
from avf_client.core.network import Way
from avf_client.errors import AvfClientError, ConnectionFailed, ProtocolError, refused

SUBPROTOCOLS = [Subprotocol(wire.SUBPROTOCOL_BINARY), Subprotocol(wire.SUBPROTOCOL_JSON)]
"""What is offered to the server, the best first."""
LARGEST_MESSAGE = 16 * 2**20
"""Bytes; an estimate of a model with a very large observation still fits."""

_PROBLEMS = {
    wire.CLOSE_UNAUTHORISED: ("unauthorised", 401),
    wire.CLOSE_UNKNOWN_SESSION: ("unknown-session", 404),
    wire.CLOSE_GONE: ("unknown-session", 404),
    wire.CLOSE_CONFLICT: ("session-moved", 409),
}
_BROKEN_LAW = (1003, 1007, 1009)
FOREIGN = (OSError, EOFError, ValueError, WebSocketException)
"""What making a connection may raise: of `websockets`, of the system, of TLS and of names that can be none."""


def arguments(url: str, way: Way, *, api_key: ApiKey | None, timeout: float) -> dict[str, Any]:
    """The arguments of the two `connect` of `websockets`; `timeout` is in seconds."""
    return {
        "uri": url,
        "additional_headers": keys.headers(api_key),
        "logger": keys.logger(),
        "subprotocols": SUBPROTOCOLS,
        "proxy": way.proxy,
        "open_timeout": timeout,
        "close_timeout": timeout,
        "max_size": LARGEST_MESSAGE,
        "compression": None,
        **({"ssl": way.tls} if url.startswith("wss:") else {}),
        **({"proxy_ssl": way.tls} if way.proxy_tls is not None else {}),
    }


def translated(url: str, error: Exception) -> AvfClientError:
    """What an exception of the network or of `websockets` means."""
    if isinstance(error, ConnectionClosed):
        frame = error.rcvd
        return closed(url, code=None if frame is None else frame.code, reason="" if frame is None else frame.reason)
    if isinstance(error, InvalidStatus):
        answer = error.response
        media_type = answer.headers.get("Content-Type", "")
        return handshake_refused(url, status=answer.status_code, media_type=media_type, body=bytes(answer.body))
    if isinstance(error, InvalidURI):
        return ProtocolError(f"{url} is no address of a stream: {error}")
    if isinstance(error, TimeoutError):
        return ConnectionFailed(f"nothing came from {url} in time")
    return ConnectionFailed(f"the stream {url} cannot be reached: {error}")


def closed(url: str, *, code: int | None, reason: str) -> AvfClientError:
    """The error of a stream that the server closed with this code; None where it broke without one."""
    if code in _PROBLEMS:
        name, status = _PROBLEMS[code]
        return refused(name, reason or f"the server closed {url} with {code}", status=status)
    if code in _BROKEN_LAW:
        return ProtocolError(f"the server closed {url} with {code}: {reason}")
    said = "without a word" if code is None else f"with {code} {reason}".rstrip()
    return ConnectionFailed(f"the stream {url} was cut {said}")


def handshake_refused(url: str, *, status: int, media_type: str, body: bytes) -> AvfClientError:
    """The error of a stream that the server refused to begin with this HTTP response."""
    if status == 401 and not body:
        return refused("unauthorised", f"{url} wants a valid API key", status=401)
    return rest.failure(url, status=status, media_type=media_type, body=body)
