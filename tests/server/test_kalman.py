"""Sessions on a linear Gaussian model with the procedure `kalman`: to clients they are sessions like any others."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from avf_client import Client, Estimate
from click.testing import CliRunner

from avf_core import checkpoints, configuration
from avf_core.commands import evaluate
from tests.support.kalman import Array, Moments, Step, ahead, kalman
from tests.support.lgssm import random_model, simulate
from tests.support.servers import Server

MODEL = random_model(3, 2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in float32 whose matrices are known, with its Kalman filter."""
    settings = {"model": {"kind": "lgssm", "observation_size": 3, "latent_size": 2}, "inference": {"kind": "kalman"}}
    filter = configuration.build(settings)
    filter.model.load_state_dict(MODEL.state_dict())
    folder = tmp_path_factory.mktemp("models") / "linear"
    checkpoints.save(folder, filter=filter, settings=settings, card={"name": "linear"})
    return folder


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of that model."""
    return serve("--model", str(checkpoint), "--data-dir", str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def xs() -> Array:
    """Twelve observations, of which some dimensions, and one whole step, are missing."""
    drawn: Array = simulate(MODEL, 12, 1, seed=8)[:, 0].float().double().numpy()
    drawn[[2, 3, 7], [0, 2, 1]] = np.nan
    drawn[5] = np.nan
    return drawn


def truths(xs: Array) -> list[Step]:
    """The same by the numpy filter."""
    return kalman(MODEL, np.nan_to_num(xs), ~np.isnan(xs))


def check(estimates: list[Estimate], steps: list[Step]) -> None:
    """Moments and evidence, within what float32 holds."""
    for found, truth in zip(estimates, steps, strict=True):
        np.testing.assert_allclose(found.free_energy, -truth.log_evidence, atol=1e-4)
        told = {
            "prior": (found.prior_mean, found.prior_deviation),
            "posterior": (found.posterior_mean, found.posterior_deviation),
            "prediction": (found.prediction, found.prediction_deviation),
            "likelihood": (found.likelihood, found.likelihood_deviation),
        }
        for part, (mean, deviation) in told.items():
            moments: Moments = getattr(truth, part)
            assert deviation is not None
            np.testing.assert_allclose(mean, moments.mean, atol=1e-4, err_msg=part)
            np.testing.assert_allclose(deviation, np.sqrt(np.diag(moments.covariance)), atol=1e-4, err_msg=part)


def test_a_session_is_told_the_kalman_filters_moments(server: Server, xs: Array) -> None:
    """In requests and in a stream, and by a fork with another seed and a snapshot that go on from the midst."""
    steps = truths(xs)
    with Client(server.url) as client, client.session("linear", seed=1) as session:
        check(session.steps(xs[:4]), steps[:4])
        with session.fork(seed=99) as fork, client.restore(session.snapshot()) as restored:
            check(list(session.stream(xs[4:])), steps[4:])
            check(fork.steps(xs[4:]), steps[4:])
            check(restored.steps(xs[4:]), steps[4:])


def test_a_forecast_is_drawn_from_all_that_is_known(server: Server, xs: Array) -> None:
    """The Kalman predictive, within the Monte Carlo error of its paths."""
    with Client(server.url) as client, client.session("linear") as session:
        session.steps(xs)
        count = 2000
        found = session.forecast(3, paths=count, with_paths=True)
    assert found.paths is not None
    for horizon in (1, 2, 3):
        truth = ahead(MODEL, truths(xs)[-1].posterior, horizon)
        spread = np.diag(truth.covariance)
        np.testing.assert_array_less(np.abs(found.mean[horizon - 1] - truth.mean), 4.0 * np.sqrt(spread / count))
        np.testing.assert_allclose(found.deviation[horizon - 1] ** 2, spread, rtol=0.15)


def test_evaluating_the_checkpoint_gives_the_evidence(checkpoint: Path, tmp_path: Path) -> None:
    """Nats per step, over two sequences."""
    xs = simulate(MODEL, 10, 2, seed=9).float().numpy().transpose(1, 0, 2)
    np.savez(tmp_path / "data.npz", train=xs, test=xs)
    asked = ["--model", str(checkpoint), "--data", str(tmp_path / "data.npz"), "--json"]
    result = CliRunner().invoke(evaluate.command, asked, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    seen = np.ones(xs.shape[1:], dtype=bool)
    steps = [step for row in xs for step in kalman(MODEL, row.astype(np.float64), seen)]
    energy = json.loads(result.stdout)["free_energy_pooled"]
    np.testing.assert_allclose(energy, -np.mean([step.log_evidence for step in steps]), atol=1e-4)
