"""What a session may ask for when it is opened, and how it is filtered then.

The law: what is out of its range is refused by name, before anything is kept; a belief that could not be given out and
taken back as a snapshot is none to begin with.
"""

import math
from dataclasses import dataclass, replace

import avf_wire as wire
import msgspec
from avf_wire.rows import RowForm

from avf_server import problems
from avf_server.models.served import Models
from avf_server.models.setups import MOST_LEVELS, Setup
from avf_server.stores.base import Meta

WIDEST_NOVELTY = 16
"""Numbers of an observation up to which novelty is listened for: a detector keeps hundreds of numbers of each."""
LEAST_EVERY, MOST_EVERY = 100.0, 1e9
"""Steps between false alarms that a session may ask for."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    max_iterations: int
    max_particles: int
    max_lag: int
    max_samples: int
    max_body_bytes: int


def granted(request: wire.CreateSession, models: Models, limits: Limits) -> Setup:
    """How the session is to be filtered. Raises UnknownModelError, InvalidSettingError.

    How large its belief is, is another question: `check_size`.
    """
    own = models.setup(request.model)
    request = at_point(request, models)
    samples = own.samples if request.prediction_samples is None else request.prediction_samples
    _check("particles", request.particles, 1, limits.max_particles)
    _check("lag", request.lag, 0, limits.max_lag)
    _check("prediction_samples", samples, 1, max(own.samples, limits.max_samples))
    return replace(
        own,
        iterations=_iterations(request, own=own.iterations, most=limits.max_iterations),
        particles=request.particles,
        lag=request.lag,
        samples=samples,
        quantiles=own.quantiles if request.quantiles is None else _levels(request.quantiles),
        alarm_every=_alarm_every(request.alarm_every),
        alarm_by=_alarm_by(request, models),
    )


def at_point(request: wire.CreateSession, models: Models) -> wire.CreateSession:
    """What is asked for, with what its operating point says. Raises InvalidSettingError, UnknownModelError."""
    if request.point is None:
        return request
    points = models.points(request.model)
    if request.point not in points:
        there = ", ".join(sorted(points)) or "none"
        raise problems.InvalidSettingError(f"{request.model} has no point {request.point!r}; there are {there}")
    if (request.particles, request.iterations) != (1, None):
        raise problems.InvalidSettingError("point says particles and iterations: leave these out, or the point")
    point = points[request.point]
    return msgspec.structs.replace(request, particles=point.particles, iterations=point.iterations)


def most_particles(name: str, models: Models, limits: Limits) -> int:
    """How many particles a session of a model may have, without a lag."""
    return max(1, min(limits.max_particles, (limits.max_body_bytes - wire.LONGEST_CONTROL) // models.row_bytes(name)))


def check_size(needed: int, setup: Setup, limits: Limits) -> None:
    """Raise InvalidSettingError where a belief of so many bytes could not come back as a snapshot."""
    if needed + wire.LONGEST_CONTROL > limits.max_body_bytes:
        raise problems.InvalidSettingError(
            f"{setup.particles} particles and a lag of {setup.lag} make a belief of {needed} bytes, but snapshots are "
            f"bodies of {limits.max_body_bytes} bytes at most: ask for fewer"
        )


def deadline(request: wire.CreateSession) -> float | None:
    """Seconds that an answer may take, by what was asked for; None where it may take any."""
    asked = {"deadline_s": request.deadline_s, "rate_hz": request.rate_hz}
    for name, value in asked.items():
        if value is not None and not (math.isfinite(value) and value > 0.0):
            raise problems.InvalidSettingError(f"{name} is {value}, expected a number above 0")
    of_rate = None if request.rate_hz is None else 1.0 / request.rate_hz
    return min((each for each in (request.deadline_s, of_rate) if each is not None), default=None)


def setup_of(meta: Meta, models: Models) -> Setup:
    """How a session is filtered; what its release did not know is its model's own. Raises UnknownModelError."""
    own = models.setup(meta.model)
    return replace(
        own,
        iterations=meta.iterations,
        particles=meta.particles,
        lag=meta.lag,
        samples=own.samples if meta.prediction_samples is None else meta.prediction_samples,
        quantiles=own.quantiles if meta.quantiles is None else meta.quantiles,
        alarm_every=meta.alarm_every or 0.0,
        alarm_by=meta.alarm_by,
    )


def timed(model: str, alarm_by: wire.AlarmBy, models: Models) -> bool:
    """Whether observations come with times: for the model, or for a detector that tells hours apart."""
    return alarm_by == "daily" or models.form(model).timed


def form_of(meta: Meta, models: Models) -> RowForm:
    """What a session takes with each observation. Raises UnknownModelError."""
    form = models.form(meta.model)
    return form if form.timed or meta.alarm_by != "daily" else replace(form, timed=True)


def _iterations(request: wire.CreateSession, *, own: int, most: int) -> int:
    wanted = request.iterations
    if wanted is None or wanted == own:
        return own
    if own == 0:
        raise problems.InvalidSettingError(
            f"iterations is {wanted}, but the inference of {request.model} does not iterate: leave it out"
        )
    _check("iterations", wanted, 1, most)
    return wanted


def _alarm_every(steps: float | None) -> float:
    if steps is None:
        return 0.0
    if not LEAST_EVERY <= steps <= MOST_EVERY:
        raise problems.InvalidSettingError(
            f"alarm_every is {steps} steps, expected a number in [{LEAST_EVERY:g}, {MOST_EVERY:g}]"
        )
    return steps


def _alarm_by(request: wire.CreateSession, models: Models) -> wire.AlarmBy:
    if request.alarm_by == "change":
        return request.alarm_by
    if request.alarm_every is None:
        raise problems.InvalidSettingError(
            f"alarm_by is {request.alarm_by}: say in alarm_every how rare false alarms are"
        )
    size = models.form(request.model).size
    if size > WIDEST_NOVELTY or not models.has_deviations(request.model):
        raise problems.InvalidSettingError(
            f"alarm_by is {request.alarm_by}, but {request.model} has {size} numbers, or zeros and ones: novelty is "
            f'listened for in up to {WIDEST_NOVELTY} real ones; there is "change" for all others'
        )
    return request.alarm_by


def _levels(levels: tuple[float, ...]) -> tuple[float, ...]:
    if len(levels) > MOST_LEVELS or not all(0.0 < level < 1.0 for level in levels):
        raise problems.InvalidSettingError(
            f"quantiles are {len(levels)} levels, expected up to {MOST_LEVELS}, each above 0 and below 1"
        )
    return levels


def _check(name: str, value: int, least: int, most: int) -> None:
    """Raises InvalidSettingError for a number out of its range."""
    if not least <= value <= most:
        raise problems.InvalidSettingError(f"{name} is {value}, expected a number in [{least}, {most}]")
