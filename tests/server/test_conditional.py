"""Surprise by circumstance: what a session is told is the p-value among steps like its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from avf_client import Client

from avf_core import checkpoints
from avf_core.analysis.conditional import By, ConditionalReference, measured_scores
from avf_core.data import Driven
from tests.support import models
from tests.support.servers import Server

LINEAR: dict[str, Any] = {
    "model": {"kind": "lgssm", "observation_size": 3, "latent_size": 2},
    "inference": {"kind": "kalman"},
}
STEPS = 1500
XS = np.random.default_rng(3).normal(size=(STEPS, 3)).astype(np.float32)
TIMES = 1_704_067_200.0 + 21600.0 * np.arange(STEPS)  # four hours of each day


@pytest.mark.parametrize("by", ["hour", "level"])
def test_surprise_is_judged_among_steps_like_these(serve: Callable[..., Server], tmp_path: Path, by: By) -> None:
    """By the hours of a session that takes times, or by the levels that are expected."""
    folder = models.save(tmp_path / "linear", LINEAR)
    filter = checkpoints.load(folder).filter
    scores, measured = measured_scores(filter, [Driven(XS, times=TIMES)], by)
    reference = ConditionalReference.fit(by, scores + np.where(TIMES // 21600 % 2 == 0, 5.0, 0.0), measured)
    models.save(folder, LINEAR, reference={"score": "free_energy", "split": "valid", **reference.as_dict()})
    server = serve("--model", str(folder), "--data-dir", str(tmp_path / "data"))
    with Client(server.url, timeout=60) as client:
        options: Any = {"alarm_every": 1000.0, "alarm_by": "daily"} if by == "hour" else {}
        with client.session("linear", seed=0, **options) as session:
            found = session.steps(XS[:100], times=TIMES[:100] if by == "hour" else None)
    told = np.array([estimate.surprise for estimate in found])
    np.testing.assert_allclose(told, reference.p_values(scores[:100], measured[:100]), rtol=1e-3)
    assert np.abs(told - reference.whole.p_values(scores[:100])).max() > 0.01
