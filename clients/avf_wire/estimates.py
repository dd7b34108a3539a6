"""Observations and what they taught: estimates, and the scalars of them that histories keep."""

import msgspec

from avf_wire.base import Durability, Message, Observation, Request


class Steps(Request, frozen=True):
    """POST /v1/sessions/{id}/steps: observations `seq`, `seq` + 1, ... of `epoch` (the current one where absent).

    `inputs` are what was done, or known, before each of them, where the model takes inputs; `times` say when each of
    them was, where it takes times (null: one unit after the one before). Both are as long as `observations`.
    """

    seq: int
    observations: list[Observation]
    epoch: int | None = None
    inputs: list[list[float]] | None = None
    times: list[float | None] | None = None


class Moments(Message, frozen=True):
    """A distribution by mean and standard deviation per dimension; no deviation where it is Bernoulli."""

    mean: list[float]
    deviation: list[float] | None = None


class PredictiveQuantiles(Message, frozen=True):
    """Quantiles of the predictive distribution of an observation: `values`, first by level, then by dimension."""

    levels: list[float]
    values: list[list[float]]


class Smoothed(Message, frozen=True):
    """The posterior of the latent of observation `seq`, given all up to the one that this came with."""

    seq: int
    mean: list[float]
    deviation: list[float]


class Alarm(Message, frozen=True):
    """What a session's detector heard in a step, among the session's own past: docs/protocol.md.

    `p` is the two-sided rank of the step's evidence bound among the last ones, `high` whether it is above most of them;
    `statistic` is what has added up, in nats, and `raised` says that it reached the `threshold`.
    """

    raised: bool
    p: float
    high: bool
    statistic: float
    threshold: float


class Estimate(Message, frozen=True, tag_field="type", tag="estimate"):
    """What one observation taught. Energies in nats; free_energy = reconstruction + kl.

    `prediction` is the distribution of the observation given all before it, `prediction_quantiles` are of the same, and
    `prediction_at_prior_mean` is the likelihood at the prior's mean alone; `likelihood` is what the model holds after
    the observation: docs/protocol.md has the equations. `free_energies` are F of every iterate from the prior to the
    posterior. `evidence_bound` bounds log p(x_t | x_<t) in nats; `effective_sample_size` is that of the session's
    particles. `gradient_samples` says how many an iteration had at most, where these were fewer than the model's so
    that a deadline was met. `smoothed` comes in sessions with a lag, once there is an observation so far back.

    `durability` says what held for this step when the reply was sent, and `durable_seq` is the last observation that is
    as safe as that says. `surprise` is a p-value: how far out the free energy is, on either side, of data that are
    normal for the model; null where that is not known, or where nothing was observed. `observation` is what was
    observed, and `inputs` what came with it, in answers that were asked for them. `time` is when the observation was,
    where the model takes times.
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
    surprise: float | None = None
    durable_seq: int | None = None
    observation: Observation | msgspec.UnsetType = msgspec.UNSET
    inputs: list[float] | None = None
    time: float | None = None
    evidence_bound: float | None = None
    effective_sample_size: float | None = None
    gradient_samples: float | None = None
    prediction_at_prior_mean: Moments | None = None
    prediction_quantiles: PredictiveQuantiles | None = None
    smoothed: Smoothed | None = None
    alarm: Alarm | None = None


class HistoryEntry(Message, frozen=True):
    """The scalars of one step, as the history keeps them. Energies in nats, as in `Estimate`.

    `prior_free_energy` is F before the first iteration; null where inference does not start at the prior. `time`,
    `evidence_bound` and `effective_sample_size` are those of the estimate; `alarm` says whether one was raised.
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
    time: float | None = None
    evidence_bound: float | None = None
    effective_sample_size: float | None = None
    alarm: bool | None = None


class History(Message, frozen=True):
    """GET /v1/sessions/{id}/history: scalars of steps, in order.

    `cursor` names the last of them, or is the one that was given where there are none; with it, what comes next is
    had. `more` says that there is more already.
    """

    session: str
    entries: list[HistoryEntry]
    cursor: str | None
    more: bool


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
    time: float | None = None
    evidence_bound: float | None = None
    effective_sample_size: float | None = None
    gradient_samples: float | None = None
    alarm: Alarm | None = None
