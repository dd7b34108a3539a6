"""Problem types: what can go wrong, as one tree of exceptions, and the one map from it to problem+json (RFC 9457).

The law: the names of the classes' problems are those of the table in docs/protocol.md, no more and no fewer;
a foreign error is translated where it is met, with `from`. A start that fails is a `StartError`, for the
operator and not for clients.
"""

from typing import ClassVar

import avf_wire as wire
import msgspec
from avf_wire.errors import Portable


class ServerError(Portable):
    """The root of every error that avf_server raises on purpose."""


class StartError(ServerError):
    """The server cannot start; the message says why and what to do."""


class StoreError(ServerError):
    """Redis does not answer, or not as Redis does."""


class ProblemError(ServerError):
    """The root of the errors that clients see. `title` and `status` belong to the class, `detail` to the case."""

    name: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        session: str | None = None,
        seq: int | None = None,
        expected_seq: int | None = None,
        expected_epoch: int | None = None,
        expected_sample: int | None = None,
        retry_after: int | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.session = session
        self.seq = seq
        self.expected_seq = expected_seq
        self.expected_epoch = expected_epoch
        self.expected_sample = expected_sample
        self.retry_after = retry_after  # seconds
        self.allow = allow

    def at(self, *, session: str, seq: int) -> None:
        """Note the session and the observation that met the problem."""
        self.session, self.seq = session, seq


class UnknownModelError(ProblemError):
    """404: no such model."""

    name, status, title = "unknown-model", 404, "No such model"


class UnknownSessionError(ProblemError):
    """404: no such session, or another owner's."""

    name, status, title = "unknown-session", 404, "No such session"


class UnknownRouteError(ProblemError):
    """404: no such address."""

    name, status, title = "unknown-route", 404, "No such address"


class NoEstimateError(ProblemError):
    """404: nothing observed yet, or not so far."""

    name, status, title = "no-estimate", 404, "No estimate yet"


class MethodNotAllowedError(ProblemError):
    """405: the method does not fit the address."""

    name, status, title = "method-not-allowed", 405, "Method not allowed"


class NotAcceptableError(ProblemError):
    """406: no form of answer that the client takes."""

    name, status, title = "not-acceptable", 406, "No acceptable form"


class MalformedBodyError(ProblemError):
    """400: not of the form that its type says, or not of the expected fields."""

    name, status, title = "malformed-body", 400, "Malformed body"


class UnsupportedMediaTypeError(ProblemError):
    """415: a type that no codec reads."""

    name, status, title = "unsupported-media-type", 415, "Unsupported media type"


class BodyTooLargeError(ProblemError):
    """413: more bytes than the limit."""

    name, status, title = "body-too-large", 413, "Body too large"


class HeadersTooLargeError(ProblemError):
    """431: a request's line and headers of more bytes than the limit."""

    name, status, title = "headers-too-large", 431, "Headers too large"


class RequestTimeoutError(ProblemError):
    """408: a request that did not come in time."""

    name, status, title = "request-timeout", 408, "The request took too long"


class InvalidObservationError(ProblemError):
    """422: the observation does not fit the model."""

    name, status, title = "invalid-observation", 422, "Invalid observation"


class InvalidInputsError(ProblemError):
    """422: inputs that the model does not take, or not those that it takes."""

    name, status, title = "invalid-inputs", 422, "Invalid inputs"


class InvalidTimeError(ProblemError):
    """422: a time that is none, or not after that of the observation before."""

    name, status, title = "invalid-time", 422, "Invalid time"


class InvalidSettingError(ProblemError):
    """422: an option of a session, or of a request, is out of its range."""

    name, status, title = "invalid-setting", 422, "Invalid setting"


class InvalidSnapshotError(ProblemError):
    """422: no complete belief, or of a model, weights or a version that this server does not have."""

    name, status, title = "invalid-snapshot", 422, "Invalid snapshot"


class ObservationConflictError(ProblemError):
    """422: this seq was applied with another observation."""

    name, status, title = "observation-conflict", 422, "Another observation was applied"


class SequenceGapError(ProblemError):
    """409: seq is beyond the next one."""

    name, status, title = "sequence-gap", 409, "Gap in the sequence"


class EpochMismatchError(ProblemError):
    """409: the session is in another epoch."""

    name, status, title = "epoch-mismatch", 409, "Another epoch"


class ReplayWindowPassedError(ProblemError):
    """410: the stored reply is gone."""

    name, status, title = "replay-window-passed", 410, "The stored reply is gone"


class SessionMovedError(ProblemError):
    """409: another server has gone on with the session."""

    name, status, title = "session-moved", 409, "Another server has gone on"


class BeliefUnreadableError(ProblemError):
    """409: the saved belief is of another release or model."""

    name, status, title = "belief-unreadable", 409, "The saved belief cannot be read"


class UnauthorisedError(ProblemError):
    """401: no valid API key."""

    name, status, title = "unauthorised", 401, "No valid API key"


class ForbiddenError(ProblemError):
    """403: the token does not allow this."""

    name, status, title = "forbidden", 403, "The token does not allow this"


class OverloadedError(ProblemError):
    """503: a queue is full, or too many sessions are open."""

    name, status, title = "overloaded", 503, "Overloaded"


class StoreUnavailableError(ProblemError):
    """503: Redis does not answer."""

    name, status, title = "store-unavailable", 503, "The store does not answer"


class NotReplicatedError(ProblemError):
    """503: the step is saved, but too few replicas have it."""

    name, status, title = "not-replicated", 503, "Not replicated yet"


class StoppingError(ProblemError):
    """503: the server is stopping."""

    name, status, title = "stopping", 503, "The server is stopping"


class InternalError(ProblemError):
    """500: a fault of the server."""

    name, status, title = "internal-error", 500, "Internal error"


CATALOGUE: dict[str, type[ProblemError]] = {kind.name: kind for kind in ProblemError.__subclasses__()}
"""Every problem by its name."""


def to_message(problem: ProblemError) -> wire.Problem:
    """The problem as it goes over the wire."""
    return wire.Problem(
        type=wire.PROBLEM_PREFIX + problem.name,
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        session=problem.session,
        seq=problem.seq,
        expected_seq=problem.expected_seq,
        expected_epoch=problem.expected_epoch,
        expected_sample=problem.expected_sample,
    )


def to_json(problem: ProblemError) -> bytes:
    """The body of the problem's response; members that do not apply are left out."""
    members = msgspec.structs.asdict(to_message(problem))
    return msgspec.json.encode({key: value for key, value in members.items() if value is not None})


def headers(problem: ProblemError) -> dict[str, str]:
    """The headers that go with the problem's response."""
    found = {}
    if problem.retry_after is not None:
        found["Retry-After"] = str(problem.retry_after)
    if problem.allow is not None:
        found["Allow"] = problem.allow
    if isinstance(problem, UnauthorisedError):
        found["WWW-Authenticate"] = "Bearer"
    if isinstance(problem, BodyTooLargeError):
        found["Connection"] = "close"
    return found


def internal() -> InternalError:
    """A fault that the log explains and the client is not told."""
    return InternalError("a fault of the server, which its log explains; the session is as it was")


def stopping(retry_after: int) -> StoppingError:
    """Work that a stopping server does not take; `retry_after` is in seconds."""
    return StoppingError(
        "the server is stopping; send the same to another one, or again later", retry_after=retry_after
    )
