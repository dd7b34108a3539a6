"""The messages between clients and servers: data only, no I/O, no torch. The server imports this file too.

The law of the protocol stands in docs/protocol.md. Every message is a msgspec struct; unknown fields are refused on
the way in. Numbers are finite: a missing value is null, never NaN.
"""

from typing import Any, Literal

import msgspec

VERSION = "v1"
SUBPROTOCOL_JSON = "avf.v1.json"
SUBPROTOCOL_BINARY = "avf.v1.bin"
PROBLEM_PREFIX = "urn:avf:problem:"
PROBLEM_MEDIA_TYPE = "application/problem+json"
SNAPSHOT_MEDIA_TYPE = "application/vnd.avf.belief"

Durability = Literal["none", "behind", "group", "wait"]
Observation = list[float | None] | None
"""One observation: numbers, null for a dimension that is missing; null alone where all of it is missing."""


Encoding = Literal["s16", "f32"]
"""How samples are written: 16-bit integers, k standing for k / 32768, or 32-bit numbers. Little-endian, mono."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of what clients send."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The base of what servers send: clients ignore fields that they don't know."""


class Audio(Request, frozen=True):
    """Sound as a session takes it: mono, `rate` samples a second; it must be the model's."""

    rate: int
    encoding: Encoding = "s16"
    channels: int = 1


class CreateSession(Request, frozen=True):
    """POST /v1/sessions. `seed` fixes all randomness of the session; the server draws one where it is absent.

    With `audio`, the session also takes samples in chunks of any length, which the server cuts into observations.
    """

    model: str
    seed: int | None = None
    iterations: int | None = None
    durability: Durability = "group"
    audio: Audio | None = None


class Session(Message, frozen=True):
    """A session: its model, where it stands and how it was opened.

    `next_sample` counts the samples that the session has in this epoch; null where it was opened without `audio`.
    """

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
    audio: Audio | None = None
    next_sample: int | None = None


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
    step when the reply was sent, and `durable_seq` is the last observation that is as safe as that says. `surprise`
    is the probability of a free energy at least as large on data that are normal for the model, null where that is
    not known, or where nothing was observed. `observation` is what was observed, in answers that were asked for it,
    and absent in all others.
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
    durable_seq: int | None = None
    surprise: float | None = None
    observation: Observation | msgspec.UnsetType = msgspec.UNSET


class HistoryEntry(Message, frozen=True):
    """The scalars of one step, as the history keeps them. Energies in nats, as in `Estimate`.

    `prior_free_energy` is F before the first iteration; null where inference does not start at the prior.
    """

    epoch: int
    seq: int
    at: float  # seconds since 1970
    free_energy: float
    reconstruction: float
    kl: float
    prior_free_energy: float | None
    iterations: int
    surprise: float | None = None


class History(Message, frozen=True):
    """GET /v1/sessions/{id}/history: scalars of steps, in order.

    `cursor` names the last of them, or is the one that was given where there are none; with it, what comes next is
    had. `more` says that there is more already.
    """

    session: str
    entries: list[HistoryEntry]
    cursor: str | None
    more: bool


class SessionSummary(Message, frozen=True):
    """A session in a list: with its last step, null where nothing was observed, and when it was last used."""

    session: Session
    last: HistoryEntry | None
    used_at: float  # seconds since 1970


class Sessions(Message, frozen=True):
    """GET /v1/sessions: the caller's sessions, the last opened first; `cursor` is null on the last page."""

    sessions: list[SessionSummary]
    cursor: str | None


class Missed(Message, frozen=True):
    """Event `history`: scalars of steps whose estimates were not sent; `cut` where older ones are left out."""

    entries: list[HistoryEntry]
    cut: bool


class Moved(Message, frozen=True):
    """In event `steps`: a session went on by so many steps, of which this is the last."""

    session: str
    steps: int
    last: HistoryEntry


class Moves(Message, frozen=True):
    """Event `steps`: all sessions of the caller that went on since the last one."""

    sessions: list[Moved]


class StepsReply(Message, frozen=True):
    """The estimates of a `Steps` request, in order, one for each observation."""

    session: str
    epoch: int
    next_seq: int
    estimates: list[Estimate]
    durable_seq: int | None = None


class SamplesReply(Message, frozen=True):
    """The answer to POST /v1/sessions/{id}/samples: the estimates of the observations that the chunk completed."""

    session: str
    epoch: int
    next_seq: int
    next_sample: int
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


Modality = Literal["music", "audio", "video", "series"]


class Quantiles(Message, frozen=True):
    """A distribution by its quantiles: `values` at `levels`, both ascending."""

    levels: list[float]
    values: list[float]


class ModelInfo(Message, frozen=True):
    """A model that the server holds. `low` and `high` bound each observed number, null where there is no bound.

    `modality` says what an observation is a piece of, and so how to draw it: `music`, the keys of a piano roll from
    MIDI pitch `first_pitch` up; `audio`, samples at `sample_rate` Hz; `video`, a frame of `shape` (height, width), row
    by row; `series`, plain numbers. `normal` is what free energy is on data that are normal for the model, in nats.
    What is not known is null.
    """

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
    modality: Modality = "series"
    shape: list[int] | None = None
    sample_rate: int | None = None
    first_pitch: int | None = None
    normal: Quantiles | None = None


class StoreStatus(Message, frozen=True):
    """Whether Redis answers, and how fast; `detail` says why not."""

    ok: bool
    latency_s: float | None
    detail: str | None


class Status(Message, frozen=True):
    """GET /v1/status: how the server is. Times in seconds; latencies and rows a batch are of the last minute.

    `latency_*` are from an observation's coming to its answer, to 20 %, null where there was none. `steps_per_s` is of
    the last ten seconds. `sessions` counts those that this server has seen. `load` is the machine's, of one minute.
    """

    version: str
    uptime_s: float
    stopping: bool
    device: str
    models: list[str]
    sessions: int
    max_sessions: int
    streams: int
    watchers: int
    steps_per_s: float
    latency_p50_s: float | None
    latency_p99_s: float | None
    batch_rows: float | None
    max_batch: int
    queue: int
    queue_limit: int
    hot: int
    store: StoreStatus
    memory_bytes: int | None
    load: float | None
    cpus: int


class TokenRequest(Request, frozen=True):
    """POST /v1/tokens, and /v1/sessions/{id}/tokens: a token that is good for `lifetime_s` seconds.

    Where that is absent it is an hour, or the most that the server allows.
    """

    lifetime_s: float | None = None
    read_only: bool = False


class Token(Message, frozen=True):
    """What a browser presents in place of an API key; for `session` only, or all of the key's where that is null."""

    token: str
    expires_at: float  # seconds since 1970
    session: str | None
    read_only: bool


class Models(Message, frozen=True):
    """GET /v1/models."""

    models: list[ModelInfo]


class Problem(Message, frozen=True):
    """An error as RFC 9457 says it: `type` is stable and documented, `detail` says what to do.

    `expected_seq`, `expected_epoch` and `expected_sample` say where the session stands, in problems of order.
    """

    type: str
    title: str
    status: int
    detail: str
    session: str | None = None
    seq: int | None = None
    expected_seq: int | None = None
    expected_epoch: int | None = None
    expected_sample: int | None = None


class Observe(Request, frozen=True, tag_field="type", tag="observe"):
    """Stream, client to server: one observation."""

    seq: int
    x: Observation


class Samples(Request, frozen=True, tag_field="type", tag="samples"):
    """Stream, client to server: samples of sound, the first of which is sample `offset` of the epoch, from 0.

    Either `s16`, base64 of little-endian 16-bit integers, or `f32`, numbers within [-1, 1]: as the session agreed.
    """

    offset: int
    s16: bytes | None = None
    f32: list[float] | None = None


class Marker(Request, frozen=True, tag_field="type", tag="marker"):
    """Stream, both ways: text that comes back once all that was sent before it is answered. At most 1,024 bytes."""

    text: str


class KeepAlive(Request, frozen=True, tag_field="type", tag="keepalive"):
    """Stream, both ways: comes back; says to both that the other is there."""


class End(Request, frozen=True, tag_field="type", tag="end"):
    """Stream, client to server: no more observations will come; answer what is under way, then `ended`."""


class Begin(Message, frozen=True, tag_field="type", tag="begin"):
    """Stream, server to client, first: where the session stands, and how many observations may be in flight.

    `next_sample` is that of the session.
    """

    session: Session
    credit: int
    next_sample: int | None = None


class Summary(Message, frozen=True, tag_field="type", tag="summary"):
    """Stream, server to client: an estimate without its arrays, where the stream was opened with fields=scalars."""

    epoch: int
    seq: int
    free_energy: float
    reconstruction: float
    kl: float
    iterations: int
    durability: Durability
    surprise: float | None = None
    durable_seq: int | None = None


class Ack(Message, frozen=True, tag_field="type", tag="ack"):
    """Stream, server to client: all observations up to `seq` are answered; estimates that did not come will not.

    `durable_seq` is the last observation that is as safe as the session's durability says.
    """

    epoch: int
    seq: int
    durable_seq: int | None = None


class Error(Message, frozen=True, tag_field="type", tag="error"):
    """Stream, server to client: a problem. The session is as it was; a close code follows where the stream ends."""

    problem: Problem


class Ended(Message, frozen=True, tag_field="type", tag="ended"):
    """Stream, server to client, last: all was answered; the session goes on at `next_seq`, and `next_sample`."""

    next_seq: int
    next_sample: int | None = None


class GoAway(Message, frozen=True, tag_field="type", tag="goaway"):
    """Stream, server to client: this server is stopping. Connect again; nothing acknowledged is lost."""


ClientMessage = Observe | Samples | Marker | KeepAlive | End
ServerMessage = Begin | Estimate | Summary | Ack | Marker | KeepAlive | Error | Ended | GoAway

LONGEST_MARKER = 1024  # bytes of UTF-8

CLOSE_UNAUTHORISED = 4401
CLOSE_UNKNOWN_SESSION = 4404
CLOSE_TOO_SLOW = 4408
CLOSE_CONFLICT = 4409
CLOSE_GONE = 4410
CLOSE_TOO_MANY = 4429
CLOSE_GOING_AWAY = 1012
