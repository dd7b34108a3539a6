"""Five linear Gaussian systems in continuous time, with inputs, full covariances and gaps, served over HTTP.

They have the moments and the evidence of a filter in numpy and scipy that is told the same times and inputs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from avf_client import Client, Step

from avf_core import checkpoints, configuration
from tests.support.driven_kalman import Array, System, filtered
from tests.support.servers import Server

pytestmark = pytest.mark.slow

SIZES = [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 3, 1), (2, 4, 2)]  # observation, latent, inputs
SYSTEMS = [System.random(*sizes, timed=True, seed=place) for place, sizes in enumerate(SIZES)]
TIME, BEGAN = 30, 1_700_000_000.0  # steps; seconds since 1970


def settings_of(sizes: tuple[int, int, int]) -> dict[str, Any]:
    """A model that takes all that there is, with its Kalman filter."""
    size, latent, inputs = sizes
    model = {"kind": "lgssm", "observation_size": size, "latent_size": latent, "input_size": inputs}
    model |= {"offsets": True, "covariance": "full", "decode_inputs": True, "timed": True}
    return {"model": model, "inference": {"kind": "kalman"}}


@pytest.fixture(scope="module")
def served(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of the five, each in float32 and in float64."""
    options = ["--data-dir", str(tmp_path_factory.mktemp("data"))]
    for place, (sizes, system) in enumerate(zip(SIZES, SYSTEMS, strict=True)):
        for bits, dtype in ((32, torch.float32), (64, torch.float64)):
            filter = configuration.build(settings_of(sizes)).to(dtype)
            filter.model.load_state_dict(system.model(dtype).state_dict())
            folder = tmp_path_factory.mktemp("models") / f"system-{place}-{bits}"
            checkpoints.save(folder, filter=filter, settings=settings_of(sizes), card={"name": folder.name})
            options += ["--model", str(folder)]
    return serve(*options, AVF_MAX_BATCH="2")


def data(system: System, *, bits: int) -> tuple[Array, Array, Array, np.ndarray]:
    """Observations and inputs as so many bits hold them, dt between 1/64 and 3, and what is seen."""
    draw = np.random.default_rng(3)
    size, inputs = system.d.shape
    seen = draw.random((TIME, size)) > 0.3
    seen[10:12] = False
    kind = np.float32 if bits == 32 else np.float64
    xs, us = ((3.0 * draw.normal(size=(TIME, n))).astype(kind).astype(np.float64) for n in (size, inputs))
    return xs, us, draw.integers(1, 192, TIME) / 64.0, seen


@pytest.mark.parametrize(("bits", "close"), [(32, 1e-4), (64, 1e-9)])
@pytest.mark.parametrize("place", range(len(SIZES)))
def test_irregular_times_and_inputs_are_the_kalman_filters(served: Server, place: int, bits: int, close: float) -> None:
    """To what 32 or 64 bits hold, by requests and by a stream that goes on from them; gaps were never put on a grid."""
    xs, us, dts, seen = data(SYSTEMS[place], bits=bits)
    times = BEGAN + np.concatenate([[0.0], np.cumsum(dts[1:])])
    steps = [Step(np.where(seen[t], xs[t], np.nan), us[t], float(times[t])) for t in range(TIME)]
    with Client(served.url, timeout=60) as client, client.session(f"system-{place}-{bits}") as session:
        found = [*session.steps(steps[:12]), *session.stream(steps[12:])]
    assert [each.time for each in found] == times.tolist()
    for each, truth in zip(found, filtered(SYSTEMS[place], xs, us, dts, seen), strict=True):
        for mean, deviation, (expected, covariance) in (
            (each.prior_mean, each.prior_deviation, truth.prior),
            (each.posterior_mean, each.posterior_deviation, truth.posterior),
        ):
            np.testing.assert_allclose(mean, expected, atol=close, rtol=close)
            np.testing.assert_allclose(deviation, np.sqrt(np.diag(covariance)), atol=close, rtol=close)
        np.testing.assert_allclose(each.prediction, truth.predicted[0], atol=close, rtol=close)
        assert each.evidence_bound == pytest.approx(-truth.log_evidence, abs=close, rel=close)
