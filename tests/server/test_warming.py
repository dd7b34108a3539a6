"""A session of a sensor model begins in calm, however far from the training data's center it does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avf_client import Client

from avf_core import checkpoints, configuration
from avf_core.analysis.surprise import ReferenceDistribution, step_scores
from tests.support.models import TWO_SENSORS
from tests.support.servers import Server

REACH = 3
SETTINGS: dict[str, Any] = {
    "model": {**TWO_SENSORS, "likelihood": "vector-autoregressive", "emission": {"order": REACH}},
    "inference": {"kind": "direct", "widths": [4]},
}
GENERATOR = np.random.default_rng(7)
SLOW = (4.0 + np.cumsum(0.05 * GENERATOR.normal(size=(600, 2)), axis=0)).astype(np.float32)


@pytest.mark.parametrize("particles", [1, 4])
def test_surprise_is_null_until_the_memory_is_of_the_session(
    serve: Callable[..., Server], tmp_path: Path, particles: int
) -> None:
    """Free energy and detector's alarm say so: the first is what it is, the other does not hear those steps; a fork
    goes on judging, and a session that is reset warms anew."""
    torch.manual_seed(1)
    filter = configuration.build(SETTINGS).requires_grad_(False)
    filter.model.begin([SLOW - SLOW.mean(0)])
    reference = ReferenceDistribution.fit(np.concatenate(step_scores(filter, [SLOW])))
    card = {"name": "slow", "reference": {"score": "free_energy", "split": "valid", **reference.as_dict()}}
    checkpoints.save(tmp_path / "slow", filter=filter, settings=SETTINGS, card=card)
    server = serve("--model", str(tmp_path / "slow"), "--data-dir", str(tmp_path / "data"))
    options: Any = {"particles": particles} if particles > 1 else {}
    with Client(server.url, timeout=60) as client, client.session("slow", seed=0, alarm_every=500.0, **options) as one:
        steps = one.steps(SLOW[:12])
        energies = np.array([step.free_energy for step in steps])
        assert [step.surprise is None for step in steps] == [n < REACH for n in range(12)]
        assert [step.alarm is None for step in steps] == [n < REACH for n in range(12)]
        assert energies[0] > energies[REACH:].max()  # it is from the center that the first step comes
        if particles == 1:
            expected = reference.p_values(energies[REACH:])
            np.testing.assert_allclose([step.surprise for step in steps[REACH:]], expected, rtol=1e-4)
        with one.fork() as other:
            assert other.step(SLOW[12]).surprise is not None
        one.reset()
        assert [step.surprise is None for step in one.steps(SLOW[: REACH + 1])] == [True] * REACH + [False]
