"""Five linear Gaussian systems served over HTTP, beside a Kalman filter that is written down here in numpy alone."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from avf_client import Client, Estimate

from avf_core import checkpoints, configuration
from tests.support.kalman import Array, Step, kalman
from tests.support.lgssm import random_model, simulate_all
from tests.support.servers import Server

pytestmark = pytest.mark.slow

SYSTEMS = [(1, 1), (2, 1), (2, 2), (3, 2), (1, 3)]
"""Sizes of observation and latent."""
STEPS, LAG = 300, 3
LEVELS = (0.05, 0.95)
DEVIATIONS = 1.6449  # of a Gaussian, that hold nine of ten


def model_of(system: tuple[int, int]) -> Any:
    """The system's model."""
    return random_model(*system)


def observed(system: tuple[int, int], *, wide: bool = False) -> tuple[Array, Array]:
    """Latents (T, L) and observations (T, D) of 32 bits, or 64, of which one in ten is missing."""
    z, x = simulate_all(model_of(system), STEPS, 1, seed=sum(system))
    xs = (x[:, 0] if wide else x[:, 0].float().double()).numpy()
    xs[np.random.default_rng(4).random(xs.shape) < 0.1] = np.nan
    return z[:, 0].numpy(), xs


@pytest.fixture(scope="module")
def served(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of all systems, each with the whole belief in closed form, also in float64, and with a sampled past."""
    options = ["--data-dir", str(tmp_path_factory.mktemp("data"))]
    for size, latent in SYSTEMS:
        for kind in ("kalman", "kalman64", "exact"):
            model = {"kind": "lgssm", "observation_size": size, "latent_size": latent}
            settings = {"model": model, "inference": {"kind": kind.removesuffix("64")}}
            filter = configuration.build(settings)
            filter = filter.double() if kind.endswith("64") else filter
            filter.model.load_state_dict(random_model(size, latent).state_dict())
            folder = tmp_path_factory.mktemp("models") / f"{kind}-{size}-{latent}"
            checkpoints.save(folder, filter=filter, settings=settings, card={"name": folder.name})
            options += ["--model", str(folder)]
    return serve(*options, AVF_MAX_BATCH="2")


@pytest.fixture
def client(served: Server) -> Iterator[Client]:
    """A client of it."""
    with Client(served.url, timeout=60) as client:
        yield client


def filtered(client: Client, kind: str, system: tuple[int, int], xs: Array, **options: Any) -> list[Estimate]:
    """The estimates of a session."""
    name = "{}-{}-{}".format(kind, *system)
    with client.session(name, seed=7, durability="none", **options) as session:
        return session.steps(xs)


@pytest.mark.parametrize(("kind", "close"), [("kalman", 1e-4), ("kalman64", 1e-9)])
@pytest.mark.parametrize("system", SYSTEMS)
def test_with_the_exact_procedure_moments_are_the_kalman_filters(
    client: Client, system: tuple[int, int], kind: str, close: float
) -> None:
    """To what 32 or 64 bits hold, gaps included; evidence, too. One particle says it all, however many there are."""
    xs = observed(system, wide=kind == "kalman64")[1][:60]
    truth = kalman(model_of(system), np.nan_to_num(xs), ~np.isnan(xs))
    for found, step in zip(filtered(client, kind, system, xs, particles=8), truth, strict=True):
        assert found.evidence_bound == pytest.approx(-step.log_evidence, abs=close * max(1.0, abs(step.log_evidence)))
        assert found.effective_sample_size == 1.0
        for mean, deviation, moments in (
            (found.prior_mean, found.prior_deviation, step.prior),
            (found.posterior_mean, found.posterior_deviation, step.posterior),
            (found.prediction, found.prediction_deviation, step.prediction),
        ):
            np.testing.assert_allclose(mean, moments.mean, atol=close, rtol=close)
            assert deviation is not None
            np.testing.assert_allclose(deviation, np.sqrt(np.diag(moments.covariance)), atol=close, rtol=close)


def posteriors(truth: list[Step]) -> tuple[Array, Array]:
    """Means and deviations (T, L)."""
    means = np.stack([step.posterior.mean for step in truth])
    return means, np.sqrt(np.stack([np.diag(step.posterior.covariance) for step in truth]))


def test_with_256_particles_beliefs_are_calibrated(client: Client) -> None:
    """The mean within 0.15 posterior deviations, and nine of ten latents and observations within their intervals."""
    errors, latents, seen = [], [], []
    for system in SYSTEMS:
        zs, xs = observed(system)
        mean, deviation = posteriors(kalman(model_of(system), np.nan_to_num(xs), ~np.isnan(xs)))
        found = filtered(client, "exact", system, xs, particles=256, quantiles=LEVELS)
        means = np.stack([each.posterior_mean for each in found])
        spreads = np.stack([each.posterior_deviation for each in found])
        errors.append(math.sqrt(float(np.mean(((means - mean) / deviation) ** 2))))
        latents.append(np.abs(zs - means) < DEVIATIONS * spreads)
        low, high = (np.stack([each.prediction_quantiles[i] for each in found]) for i in (0, 1))  # type: ignore[index]
        seen.append(((xs > low) & (xs < high))[~np.isnan(xs)])
    assert max(errors) < 0.15, errors
    assert 0.88 < np.concatenate([each.ravel() for each in latents]).mean() < 0.92
    assert 0.88 < np.concatenate(seen).mean() < 0.92


@pytest.mark.parametrize("system", SYSTEMS[:3])
def test_with_1024_particles_the_evidence_is_the_kalman_filters(client: Client, system: tuple[int, int]) -> None:
    """Within 0.01 nats a step, in one and two dimensions."""
    xs = observed(system)[1][:100]
    truth = [step.log_evidence for step in kalman(model_of(system), np.nan_to_num(xs), ~np.isnan(xs))]
    found = [each.evidence_bound or 0.0 for each in filtered(client, "exact", system, xs, particles=1024, quantiles=())]
    assert abs(float(np.mean(found)) + float(np.mean(truth))) < 0.01


def fixed_lag(system: tuple[int, int], xs: Array) -> tuple[Array, Array]:
    """Mean and deviation of z_{t-LAG} given x up to t, of every t, by a filter whose state holds the last latents."""
    model = model_of(system)
    a, c, m = (p.detach().double().numpy() for p in (model.dynamics, model.emission, model.initial_mean))
    q, r, p = (
        np.diag(np.exp(v.detach().double().numpy()))
        for v in (model.process_log_variance, model.noise_log_variance, model.initial_log_variance)
    )
    n, size = len(a), len(a) * (LAG + 1)
    shift = np.zeros((size, size))
    shift[:n, :n], shift[n:, :-n] = a, np.eye(size - n)
    mean, cov = np.tile(m, LAG + 1), np.tile(p, (LAG + 1, LAG + 1))
    noise = np.zeros((size, size))
    noise[:n, :n] = q
    means, spreads = [], []
    for t, x in enumerate(xs):
        if t:
            mean, cov = shift @ mean, shift @ cov @ shift.T + noise
        rows = ~np.isnan(x)
        h = np.zeros((int(rows.sum()), size))
        h[:, :n] = c[rows]
        gain = cov @ h.T @ np.linalg.inv(h @ cov @ h.T + r[np.ix_(rows, rows)])
        mean, cov = mean + gain @ (x[rows] - h @ mean), cov - gain @ h @ cov
        means.append(mean[-n:])
        spreads.append(np.sqrt(np.diag(cov)[-n:]))
    return np.array(means), np.array(spreads)


@pytest.mark.parametrize("system", SYSTEMS[1:4])
def test_looking_back_is_the_fixed_lag_smoothers(client: Client, system: tuple[int, int]) -> None:
    """Mean and deviation of the latent three steps ago, within what 512 particles say."""
    xs = observed(system)[1][:120]
    means, spreads = fixed_lag(system, xs)
    found = filtered(client, "exact", system, xs, particles=512, lag=LAG, quantiles=())
    assert [each.smoothed_seq for each in found] == [None] * LAG + list(range(1, 121 - LAG))
    told = np.stack([each.smoothed_mean for each in found[LAG:]])  # type: ignore[arg-type, misc]
    widths = np.stack([each.smoothed_deviation for each in found[LAG:]])  # type: ignore[arg-type, misc]
    assert math.sqrt(float(np.mean(((told - means[LAG:]) / spreads[LAG:]) ** 2))) < 0.15
    assert float(np.median(widths / spreads[LAG:])) == pytest.approx(1.0, abs=0.05)
