"""The textbook's Kalman filter of one sequence in numpy, with covariances: an independent yardstick."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avf_core.models import lgssm

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean and covariance."""

    mean: Array
    covariance: Array


@dataclass(frozen=True)
class Step:
    """z_t before and after x_t, the observation expected before and after, and log p(x_t | x_<t) of what was seen."""

    prior: Moments
    posterior: Moments
    prediction: Moments
    likelihood: Moments
    log_evidence: float


def kalman(model: lgssm.Model, xs: Array, seen: NDArray[np.bool_]) -> list[Step]:
    """Every step of a sequence; rows that are not seen do not measure."""
    a, mean = (t.double().numpy() for t in (model.dynamics, model.initial_mean))
    c, (b, d) = model.emission.double().numpy(), _offsets(model)
    p, q, r = (
        np.diag(np.exp(t.double().numpy()))
        for t in (model.initial_log_variance, model.process_log_variance, model.noise_log_variance)
    )
    state, steps = Moments(mean, p), []
    for t, x in enumerate(xs):
        prior = Moments(a @ state.mean + b, a @ state.covariance @ a.T + q) if t else state
        rows = np.flatnonzero(seen[t])
        measured, noise = c[rows], r[np.ix_(rows, rows)]
        innovation = measured @ prior.covariance @ measured.T + noise
        gain = prior.covariance @ measured.T @ np.linalg.inv(innovation)
        error = x[rows] - measured @ prior.mean - d[rows]
        left = np.eye(len(a)) - gain @ measured
        joseph = left @ prior.covariance @ left.T + gain @ noise @ gain.T
        state = Moments(prior.mean + gain @ error, joseph)
        distance = error @ np.linalg.solve(innovation, error)
        log_determinant = np.linalg.slogdet(2.0 * np.pi * innovation)[1]
        steps.append(
            Step(
                prior,
                state,
                _observed(c, r, d, prior),
                _observed(c, r, d, state),
                -0.5 * float(distance + log_determinant),
            )
        )
    return steps


def ahead(model: lgssm.Model, state: Moments, count: int) -> Moments:
    """The observation so many steps after this state, of which nothing more is seen."""
    a, c, (b, d) = model.dynamics.double().numpy(), model.emission.double().numpy(), _offsets(model)
    q, r = (np.diag(np.exp(t.double().numpy())) for t in (model.process_log_variance, model.noise_log_variance))
    for _ in range(count):
        state = Moments(a @ state.mean + b, a @ state.covariance @ a.T + q)
    return _observed(c, r, d, state)


def _offsets(model: lgssm.Model) -> tuple[Array, Array]:
    """b and d, zero where the model has none."""
    if model.drift is None or model.level is None:
        return np.zeros(model.latent_size), np.zeros(model.observation.size)
    return model.drift.double().numpy(), model.level.double().numpy()


def _observed(c: Array, r: Array, d: Array, state: Moments) -> Moments:
    return Moments(c @ state.mean + d, c @ state.covariance @ c.T + r)
