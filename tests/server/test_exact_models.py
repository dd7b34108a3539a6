"""Models whose belief is exact, served: continuous time under inputs with full covariances, and regimes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from avf_client import Client

from avf_core import checkpoints, configuration
from tests.support.driven_kalman import System, filtered
from tests.support.servers import Server

SYSTEM = System.random(3, 2, 2, timed=True, seed=4)
PLANT = {
    "model": {
        "kind": "lgssm",
        "observation_size": 3,
        "latent_size": 2,
        "offsets": True,
        "covariance": "full",
        "input_size": 2,
        "decode_inputs": True,
        "timed": True,
    },
    "inference": {"kind": "kalman"},
}
REGIMES = {
    "model": {"kind": "switching", "observation_size": 2, "regimes": 3},
    "inference": {"kind": "forward"},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints: a plant whose matrices are known, and a hidden Markov model."""
    torch.manual_seed(0)
    plant, regimes = configuration.build(PLANT), configuration.build(REGIMES)
    plant.model.load_state_dict(SYSTEM.model(torch.float32).state_dict())
    place = tmp_path_factory.mktemp("models")
    checkpoints.save(place / "plant", filter=plant, settings=PLANT, card={})
    checkpoints.save(place / "regimes", filter=regimes, settings=REGIMES, card={})
    return [place / "plant", place / "regimes"]


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of both."""
    models = [word for folder in folders for word in ("--model", str(folder))]
    return serve(*models, "--data-dir", str(tmp_path_factory.mktemp("data")))


def test_a_plant_is_filtered_at_the_times_and_under_the_inputs_that_clients_say(server: Server) -> None:
    """Moments and evidence of a filter in numpy, with a gap and a missing number; uneven times need no grid."""
    draw = np.random.default_rng(2)
    xs, us = draw.normal(size=(10, 3)), draw.normal(size=(10, 2))
    times = np.cumsum(draw.uniform(0.1, 2.0, 10))
    xs[3, 1] = xs[6] = np.nan
    dts = np.diff(times, prepend=times[0] - 1.0)
    truth = filtered(SYSTEM, np.nan_to_num(xs), us, dts, ~np.isnan(xs))
    with Client(server.url) as client, client.session("plant", seed=1) as session:
        found = session.steps(xs, inputs=us, times=times.tolist())
    for estimate, expected in zip(found, truth, strict=True):
        mean, covariance = expected.posterior
        np.testing.assert_allclose(estimate.posterior_mean, mean, atol=1e-4)
        np.testing.assert_allclose(estimate.posterior_deviation, np.sqrt(np.diag(covariance)), atol=1e-4)
        np.testing.assert_allclose(estimate.prediction, expected.predicted[0], atol=2e-4)
        np.testing.assert_allclose(estimate.prediction_deviation, np.sqrt(expected.predicted[1]), atol=1e-4)
        np.testing.assert_allclose(estimate.free_energy, -expected.log_evidence, atol=2e-4)


def test_regimes_are_served_as_probabilities(server: Server, folders: list[Path]) -> None:
    """The library's own, which are those of all paths added up; forecasts are drawn from them."""
    xs = np.random.default_rng(3).normal(size=(6, 2)).astype(np.float32)
    filter = checkpoints.load(folders[1]).filter
    _, truth = filter.scan(filter.initial(torch.tensor([1])), torch.from_numpy(xs)[:, None])
    with Client(server.url) as client, client.session("regimes", seed=1) as session:
        found = session.steps(xs)
        ahead = session.forecast(2, paths=50)
    for t, estimate in enumerate(found):
        assert abs(float(np.sum(estimate.posterior_mean)) - 1.0) < 1e-5
        np.testing.assert_allclose(estimate.posterior_mean, truth.posterior.mean[t, 0], atol=1e-5)
        np.testing.assert_allclose(estimate.free_energy, float(truth.free_energy[t, 0]), atol=1e-4)
    assert np.isfinite(ahead.mean).all()
