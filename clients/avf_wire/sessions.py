"""Sessions: opened, listed, branched."""

from avf_wire.base import AlarmBy, Audio, Durability, Message, Precision, Request
from avf_wire.estimates import HistoryEntry


class CreateSession(Request, frozen=True):
    """POST /v1/sessions. `seed` fixes all randomness of the session; the server draws one where it is absent.

    With `audio`, the session also takes samples in chunks of any length, which the server cuts into observations. Each
    step is filtered by so many weighted `particles`, and looks back by `lag` steps. Where predictions have no closed
    form they are made of `prediction_samples` draws, and come with `quantiles` at these levels; the model's own where
    absent. A session that says how many seconds an answer may take, or how many observations a second are to be
    answered, may be given fewer `iterations` where it would be late; each estimate says how many it was given. `point`
    is the name of one of the model's points, in the place of `particles` and `iterations`.
    """

    model: str
    seed: int | None = None
    iterations: int | None = None
    durability: Durability = "group"
    audio: Audio | None = None
    deadline_s: float | None = None
    rate_hz: float | None = None
    particles: int = 1
    lag: int = 0
    prediction_samples: int | None = None
    quantiles: tuple[float, ...] | None = None
    point: str | None = None
    alarm_every: float | None = None  # steps between two false alarms, on average; no detector where absent
    alarm_by: AlarmBy = "change"


class Session(Message, frozen=True):
    """A session: its model, where it stands and how it was opened.

    `next_sample` counts the samples that the session has in this epoch; null where it was opened without `audio`.
    `input_size` inputs come with each observation, and a time may where the model is `timed`; observations and
    results are of the model's `precision`. `channels`, `center` and `scale` are the model's: what the numbers of an
    observation are called, about which number each lay in the training data, and how far it spread. What stands between
    `precision` and these is that of `CreateSession`.
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
    input_size: int = 0
    timed: bool = False
    precision: Precision = "float32"
    deadline_s: float | None = None  # from when an observation comes to its answer
    particles: int = 1
    lag: int = 0
    prediction_samples: int = 0
    quantiles: tuple[float, ...] = ()
    alarm_every: float | None = None
    alarm_by: AlarmBy = "change"
    channels: list[str] | None = None
    center: list[float] | None = None
    scale: list[float] | None = None


class SessionSummary(Message, frozen=True):
    """A session in a list: with its last step, null where nothing was observed, and when it was last used."""

    session: Session
    last: HistoryEntry | None
    used_at: float  # seconds since 1970


class Sessions(Message, frozen=True):
    """GET /v1/sessions: the caller's sessions, the last opened first; `cursor` is null on the last page."""

    sessions: list[SessionSummary]
    cursor: str | None


class Branch(Request, frozen=True):
    """POST /v1/sessions/{id}/fork, and options of /v1/sessions/restore: what the new session has of its own.

    Without `seed` it goes on with the noise of the belief that it begins with: the same observations give the same
    estimates. `iterations` and `durability` are those of its origin where absent; of a snapshot, `durability` is
    "group". All else is its origin's.
    """

    seed: int | None = None
    iterations: int | None = None
    durability: Durability | None = None
