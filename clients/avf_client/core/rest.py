"""The HTTP side of the protocol without I/O: calls to make, and how to read what comes back.

The law: a `Call` says everything about a request, whether it may be repeated included; `read` turns any response
into the reply or into one exception of `avf_client.errors`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import avf_wire as wire
import msgspec

from avf_client.core._httpx import httpx
from avf_client.core.addresses import segment, session_path
from avf_client.core.retries import NeverSent
from avf_client.errors import AvfClientError, ConnectionFailed, InvalidArgument, ProtocolError, from_problem, refused

T = TypeVar("T")
CHUNK = 128
"""Observations in one request, at most."""
SILENCE = 45.0
"""Seconds without a sign of life, after which events are taken for cut off; the server gives one every 15."""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One request. `idempotent`: sending it twice does what sending it once does.

    `patience` is the time that the server may take on purpose, in seconds.
    """

    method: str
    path: str
    reply: type[T]
    body: bytes | None = None
    media_type: str = "application/json"
    patience: float = 0.0
    idempotent: bool = True


def models() -> Call[wire.Models]:
    """The models that the server holds."""
    return Call(method="GET", path="/v1/models", reply=wire.Models)


def model(name: str) -> Call[wire.ModelInfo]:
    """One model."""
    return Call(method="GET", path="/v1/models/" + segment(name, "the model's name"), reply=wire.ModelInfo)


def status() -> Call[wire.Status]:
    """How the server is."""
    return Call(method="GET", path="/v1/status", reply=wire.Status)


def sessions(*, cursor: str | None = None, limit: int | None = None) -> Call[wire.Sessions]:
    """A page of the caller's sessions."""
    return Call(method="GET", path="/v1/sessions" + _query(cursor=cursor, limit=limit), reply=wire.Sessions)


def history(session_id: str, *, cursor: str | None = None, newest: int | None = None) -> Call[wire.History]:
    """A page of a session's past, after `cursor`; or the `newest` steps."""
    query = _query(cursor=cursor) if newest is None else _query(limit=newest, newest="true")
    return Call(method="GET", path=session_path(session_id, "history") + query, reply=wire.History)


def token(session_id: str | None, request: wire.TokenRequest) -> Call[wire.Token]:
    """A token; a repeated one is another token, which does no harm."""
    path = "/v1/tokens" if session_id is None else session_path(session_id, "tokens")
    return Call(method="POST", path=path, reply=wire.Token, body=_body(request))


def events_path(session_id: str, *, interval: float, observation: bool) -> str:
    """Where a session's events are."""
    return session_path(session_id, "events") + _query(
        interval=interval, **({"with": "observation"} if observation else {})
    )


def create(request: wire.CreateSession) -> Call[wire.Session]:
    """Open a session; not idempotent, a repeated one would open two."""
    return Call(method="POST", path="/v1/sessions", reply=wire.Session, body=_body(request), idempotent=False)


def session(session_id: str) -> Call[wire.Session]:
    """Where a session stands."""
    return Call(method="GET", path=session_path(session_id), reply=wire.Session)


def end(session_id: str) -> Call[None]:
    """End a session."""
    return Call(method="DELETE", path=session_path(session_id), reply=type(None))


def steps(session_id: str, request: wire.Steps) -> Call[wire.StepsReply]:
    """Filter observations; idempotent by their `seq`."""
    body = _body(request)
    return Call(method="POST", path=session_path(session_id, "steps"), reply=wire.StepsReply, body=body)


def reset(session_id: str) -> Call[wire.Session]:
    """Begin a new epoch; not idempotent, a repeated one would begin two."""
    return Call(method="POST", path=session_path(session_id, "reset"), reply=wire.Session, idempotent=False)


def estimate(session_id: str, *, wait_seq: int | None = None, timeout: float = 0.0) -> Call[wire.Estimate]:
    """The last estimate; with `wait_seq`, once that observation has been filtered, within `timeout` seconds."""
    path = session_path(session_id, "estimate")
    if wait_seq is None:
        return Call(method="GET", path=path, reply=wire.Estimate)
    query = urlencode({"wait_seq": wait_seq, "timeout": timeout})
    return Call(method="GET", path=f"{path}?{query}", reply=wire.Estimate, patience=max(0.0, timeout))


def forecast(session_id: str, request: wire.ForecastRequest) -> Call[wire.Forecast]:
    """What comes next; idempotent, since it leaves the session as it is."""
    body = _body(request)
    return Call(method="POST", path=session_path(session_id, "forecast"), reply=wire.Forecast, body=body)


def snapshot(session_id: str) -> Call[bytes]:
    """The belief of a session."""
    return Call(method="GET", path=session_path(session_id, "snapshot"), reply=bytes)


def restore(data: bytes, options: wire.Branch) -> Call[wire.Session]:
    """A session that goes on from a snapshot; not idempotent, a repeated one would open two."""
    path = "/v1/sessions/restore" + _query(**msgspec.structs.asdict(options))
    return Call(
        method="POST",
        path=path,
        reply=wire.Session,
        body=data,
        media_type=wire.SNAPSHOT_MEDIA_TYPE,
        idempotent=False,
    )


def fork(session_id: str, options: wire.Branch) -> Call[wire.Session]:
    """A session that goes on from where a session stands; not idempotent, a repeated one would open two."""
    body = _body(options)
    return Call(method="POST", path=session_path(session_id, "fork"), reply=wire.Session, body=body, idempotent=False)


def read(call: Call[T], *, status: int, media_type: str, body: bytes) -> T:
    """The reply to `call`. Raises ProblemError where the server refused, ProtocolError where it is no avf server."""
    if status == 204 and call.reply is type(None):
        return None
    if 200 <= status < 300 and issubclass(call.reply, bytes):
        return call.reply(body)
    if 200 <= status < 300:
        try:
            return msgspec.json.decode(body, type=call.reply)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"{call.method} {call.path}: the reply is not as expected: {error}") from error
    raise failure(f"{call.method} {call.path}", status=status, media_type=media_type, body=body)


def read_response(call: Call[T], response: httpx.Response, body: bytes) -> T:
    """`read`, of a response of httpx and its whole body."""
    media_type = response.headers.get("content-type", "")
    return read(call, status=response.status_code, media_type=media_type, body=body)


def request(call: Call[T], *, timeout: float) -> dict[str, Any]:
    """The arguments of httpx's `request`; `timeout` is in seconds."""
    content_type = {} if call.body is None else {"Content-Type": call.media_type}
    return {
        "method": call.method,
        "url": call.path,
        "content": call.body,
        "headers": content_type,
        "timeout": timeout,
    }


def events_request(path: str, headers: Mapping[str, str], timeout: float) -> dict[str, Any]:
    """The arguments of httpx's `stream`, of events."""
    limits = httpx.Timeout(timeout, read=max(timeout, SILENCE))
    return {"method": "GET", "url": path, "headers": headers, "timeout": limits}


def refusal(what: str, response: httpx.Response, body: bytes) -> AvfClientError:
    """`failure`, of a response of httpx and its whole body."""
    media_type = response.headers.get("content-type", "")
    return failure(what, status=response.status_code, media_type=media_type, body=body)


FOREIGN = (httpx.RequestError, httpx.InvalidURL, OSError, ValueError)
"""What carrying a request may raise: of httpx, of the system, of TLS and of names that can be none."""


def broken(base_url: str, error: Exception) -> ConnectionFailed:
    """The error of a request that got no whole answer."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return NeverSent(f"no server answers at {base_url}: {error or type(error).__name__}")
    if isinstance(error, httpx.TimeoutException):
        return ConnectionFailed(f"no answer from {base_url} in time ({type(error).__name__})")
    return ConnectionFailed(f"the connection to {base_url} broke: {error or type(error).__name__}")


def late(base_url: str, timeout: float) -> ConnectionFailed:
    """The error of a request whose answer was not whole in time."""
    return ConnectionFailed(f"no whole answer from {base_url} within {timeout:.3g} s")


def failure(what: str, *, status: int, media_type: str, body: bytes) -> AvfClientError:
    """The exception for a response of this status to `what`."""
    if media_type.split(";")[0].strip() == wire.PROBLEM_MEDIA_TYPE:
        try:
            return from_problem(msgspec.json.decode(body, type=wire.Problem))
        except msgspec.MsgspecError as error:
            return ProtocolError(f"{what}: status {status}, and an unreadable problem: {error}")
    if status in (502, 503, 504):
        return refused("overloaded", f"{what}: a gateway answered {status}", status=status)
    return ProtocolError(f"{what}: status {status} from something that is no avf server")


def retry_after(response_headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, where it says so as a number."""
    try:
        return max(0.0, float(response_headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _body(request: wire.Request) -> bytes:
    """A request as JSON. Raises InvalidArgument for what JSON has no form for."""
    try:
        return msgspec.json.encode(request)
    except (UnicodeError, OverflowError, TypeError) as error:
        raise InvalidArgument(f"the request cannot be written as JSON: {error}") from error


def _query(**values: Any) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
