"""The exceptions of the client, one tree: catch `AvfClientError` for all of them.

    AvfClientError
      ConnectionFailed        no answer from the server, after the retries
      ProtocolError           an answer that docs/protocol.md does not allow
      SourceError             a file or piece that cannot be read as observations
      MissingExtra            an optional dependency is not installed
      StartFailed             a server in this process cannot start
      InvalidArgument         an argument that can never be right
      ProblemError            the server refused (or would have refused); `.problem` is its problem
        UnknownModel, UnknownSession, InvalidObservation, SequenceGap, ...

The law: each problem type of docs/protocol.md has one class, in one table; a type that this release does not know
is a plain `ProblemError`.
"""

# ruff: noqa: N818 - the names are those of the problems, as docs/protocol.md says them

from collections.abc import Sequence
from typing import Any

from avf_sources import MissingExtra as MissingExtra
from avf_sources import SourceError as SourceError
from avf_wire import PROBLEM_PREFIX, Problem
from avf_wire.errors import AvfClientError as AvfClientError
from avf_wire.errors import ProtocolError as ProtocolError


class ConnectionFailed(AvfClientError):
    """The server did not answer, or the connection broke, more often than the retries allow."""


class InvalidArgument(AvfClientError, ValueError):
    """An argument that can never be right, found before anything was sent."""


class StartFailed(AvfClientError):
    """A server in this process (`Client.local`) cannot start. The message says why."""


class ProblemError(AvfClientError):
    """The server refused a request. `problem` says why, and where the session stands.

    `estimates` holds the estimates of those observations of the same call that were filtered before the refused
    one.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.detail or problem.title} [{name_of(problem)}]")
        self.problem = problem
        self.estimates: Sequence[Any] = ()  # of results.Estimate, which stands above the errors


class UnknownModel(ProblemError):
    """The server holds no such model."""


class UnknownSession(ProblemError):
    """No such session: ended, expired, or another owner's."""


class UnknownRoute(ProblemError):
    """The server has no such address; it may be of another version."""


class NoEstimate(ProblemError):
    """Nothing has been observed in this epoch, or the observation that was waited for has not come in time."""


class MalformedRequest(ProblemError):
    """The server cannot read the request; it may be of another version."""


class InvalidObservation(ProblemError, ValueError):
    """An observation of the wrong dimension, out of the model's range, or with infinities."""


class InvalidInputs(ProblemError, ValueError):
    """Inputs where the model takes none, none where it does, of another number, or not finite."""


class InvalidTime(ProblemError, ValueError):
    """A time that is not finite, or not after that of the observation before; or a model that takes no times."""


class InvalidSetting(ProblemError, ValueError):
    """An option of a session, or of a request, is out of its range."""


class InvalidSnapshot(ProblemError, ValueError):
    """A snapshot that is no complete belief, or of a model, weights or a version that the server does not have."""


class ObservationConflict(ProblemError):
    """This `seq` was already applied with another observation: another client uses the session."""


class SequenceGap(ProblemError):
    """The observation is beyond the session's next one; `problem.expected_seq` says where it stands."""


class EpochMismatch(ProblemError):
    """The session is in another epoch: it was reset by another client."""


class ReplayWindowPassed(ProblemError):
    """The observation was applied so long ago that its estimate is no longer stored."""


class SessionMoved(ProblemError):
    """Another stream or server has gone on with the session."""


class BeliefUnreadable(ProblemError):
    """The saved belief is of another release or model; reset the session."""


class Unauthorised(ProblemError):
    """No valid API key."""


class Forbidden(ProblemError):
    """The token is for another session, or for looking only."""


class Overloaded(ProblemError):
    """A queue of the server is full; ask again later."""


class StoreUnavailable(ProblemError):
    """The server's store does not answer; ask again with the same `seq`."""


class NotReplicated(ProblemError):
    """The step is saved, but on too few replicas as yet: ask again with the same `seq`."""


class Stopping(ProblemError):
    """The server is stopping; ask another, or ask again."""


class InternalError(ProblemError):
    """A fault of the server; the session is as it was."""


PROBLEMS: dict[str, type[ProblemError]] = {
    "unknown-model": UnknownModel,
    "unknown-session": UnknownSession,
    "unknown-route": UnknownRoute,
    "no-estimate": NoEstimate,
    "method-not-allowed": MalformedRequest,
    "malformed-body": MalformedRequest,
    "unsupported-media-type": MalformedRequest,
    "not-acceptable": MalformedRequest,
    "body-too-large": MalformedRequest,
    "headers-too-large": MalformedRequest,
    "request-timeout": MalformedRequest,
    "invalid-observation": InvalidObservation,
    "invalid-inputs": InvalidInputs,
    "invalid-time": InvalidTime,
    "invalid-setting": InvalidSetting,
    "invalid-snapshot": InvalidSnapshot,
    "observation-conflict": ObservationConflict,
    "sequence-gap": SequenceGap,
    "epoch-mismatch": EpochMismatch,
    "replay-window-passed": ReplayWindowPassed,
    "session-moved": SessionMoved,
    "belief-unreadable": BeliefUnreadable,
    "unauthorised": Unauthorised,
    "forbidden": Forbidden,
    "overloaded": Overloaded,
    "store-unavailable": StoreUnavailable,
    "not-replicated": NotReplicated,
    "stopping": Stopping,
    "internal-error": InternalError,
}


def name_of(problem: Problem) -> str:
    """The name of a problem in the table of docs/protocol.md."""
    return problem.type.removeprefix(PROBLEM_PREFIX)


def from_problem(problem: Problem) -> ProblemError:
    """The exception of this problem."""
    return PROBLEMS.get(name_of(problem), ProblemError)(problem)


def refused(name: str, detail: str, *, status: int, session: str | None = None) -> ProblemError:
    """The exception for what the client itself refuses, in the form of the server's problem of that name."""
    title = name.replace("-", " ").capitalize()
    problem = Problem(type=PROBLEM_PREFIX + name, title=title, status=status, detail=detail, session=session)
    return from_problem(problem)
