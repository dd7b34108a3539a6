"""The messages between clients and servers: data only, no I/O, no torch. The server imports this file too.

The law of the protocol stands in docs/protocol.md. Every message is a msgspec struct; unknown fields are refused on
the way in. Numbers are finite: a missing value is null, never NaN.
"""

from typing import Any, Literal

import msgspec

VERSION = "v1"
SUBPROTOCOL_JSON = "avf.v1.json"
PROBLEM_PREFIX = "urn:avf:problem:"
PROBLEM_MEDIA_TYPE = "application/problem+json"
SNAPSHOT_MEDIA_TYPE = "application/vnd.avf.belief"

Durability = Literal["none", "group"]
Observation = list[float | None] | None
"""One observation: numbers, null for a dimension that is missing; null alone where all of it is missing."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of what clients send."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The base of what servers send: clients ignore fields that they don't know."""


class CreateSession(Request, frozen=True):
    """POST /v1/sessions. `seed` fixes all randomness of the session; the server draws one where it is absent."""

    model: str
    seed: int | None = None
    iterations: int | None = None
    durability: Durability = "group"


class Session(Message, frozen=True):
    """A session: its model, where it stands and how it was opened."""

    id: str
    model: str
    model_digest: str
    epoch: int
    next_seq: int
    seed: int
    iterations: int
    durability: Durability
    observation_size: int
    latent_size: int
    created_at: float  # seconds since 1970
    expires_in: float  # seconds without a step or a reset, after which it ends


class Steps(Request, frozen=True):
    """POST /v1/sessions/{id}/steps: observations `seq`, `seq` + 1, ... of `epoch` (the current one where absent)."""

    seq: int
    observations: list[Observation]
    epoch: int | None = None


class Moments(Message, frozen=True):
    """A distribution by mean and standard deviation per dimension; no deviation where it is Bernoulli."""

    mean: list[float]
    deviation: list[float] | None = None


class Estimate(Message, frozen=True, tag_field="type", tag="estimate"):
    """What one observation taught. Energies in nats; free_energy = reconstruction + kl.

    `prediction` is what the model expected before the observation, `likelihood` what it holds after it.
    `free_energies` are F of every iterate from the prior to the posterior. `durability` says what held for this
    step when the reply was sent.
    """

    epoch: int
    seq: int
    free_energy: float
    reconstruction: float
    kl: float
    free_energies: list[float]
    iterations: int
    prior: Moments
    posterior: Moments
    prediction: Moments
    likelihood: Moments
    durability: Durability


class StepsReply(Message, frozen=True):
    """The estimates of a `Steps` request, in order, one for each observation."""

    session: str
    epoch: int
    next_seq: int
    estimates: list[Estimate]


class Branch(Request, frozen=True):
    """POST /v1/sessions/{id}/fork, and options of /v1/sessions/restore: what the new session has of its own.

    Without `seed` it goes on with the noise of the belief that it begins with: the same observations give the same
    estimates. `iterations` and `durability` are those of its origin where absent; of a snapshot, `durability` is
    "group".
    """

    seed: int | None = None
    iterations: int | None = None
    durability: Durability | None = None


class ForecastRequest(Request, frozen=True):
    """POST /v1/sessions/{id}/forecast: `paths` sample paths of the next `horizon` observations."""

    horizon: int
    paths: int = 100
    quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)
    with_paths: bool = False


class Forecast(Message, frozen=True):
    """What comes after observation `seq`: by step ahead, then dimension.

    `mean` and `deviation` are of the mixture of the paths' likelihoods; `quantiles`, first by level, are of the paths.
    `paths`, first by path, are null where they were not asked for.
    """

    session: str
    epoch: int
    seq: int
    mean: list[list[float]]
    deviation: list[list[float]]
    levels: list[float]
    quantiles: list[list[list[float]]]
    paths: list[list[list[float]]] | None


class ModelInfo(Message, frozen=True):
    """A model that the server holds. `low` and `high` bound each observed number, null where there is no bound."""

    name: str
    digest: str
    kind: str
    inference: str
    iterations: int
    observation_size: int
    latent_size: int
    low: float | None
    high: float | None
    parameters: int
    card: dict[str, Any]


class Models(Message, frozen=True):
    """GET /v1/models."""

    models: list[ModelInfo]


class Problem(Message, frozen=True):
    """An error as RFC 9457 says it: `type` is stable and documented, `detail` says what to do.

    `expected_seq` and `expected_epoch` say where the session stands, in problems of order.
    """

    type: str
    title: str
    status: int
    detail: str
    session: str | None = None
    seq: int | None = None
    expected_seq: int | None = None
    expected_epoch: int | None = None


class Observe(Request, frozen=True, tag_field="type", tag="observe"):
    """Stream, client to server: one observation."""

    seq: int
    x: Observation


class End(Request, frozen=True, tag_field="type", tag="end"):
    """Stream, client to server: no more observations will come; answer what is under way, then `ended`."""


class Begin(Message, frozen=True, tag_field="type", tag="begin"):
    """Stream, server to client, first: where the session stands, and how many observations may be in flight."""

    session: Session
    credit: int


class Error(Message, frozen=True, tag_field="type", tag="error"):
    """Stream, server to client: a problem. The session is as it was; a close code follows where the stream ends."""

    problem: Problem


class Ended(Message, frozen=True, tag_field="type", tag="ended"):
    """Stream, server to client, last: all was answered; the session goes on at `next_seq`."""

    next_seq: int


class GoAway(Message, frozen=True, tag_field="type", tag="goaway"):
    """Stream, server to client: this server is stopping. Connect again; nothing acknowledged is lost."""


ClientMessage = Observe | End
ServerMessage = Begin | Estimate | Error | Ended | GoAway

CLOSE_UNAUTHORISED = 4401
CLOSE_UNKNOWN_SESSION = 4404
CLOSE_CONFLICT = 4409
CLOSE_GOING_AWAY = 1012
