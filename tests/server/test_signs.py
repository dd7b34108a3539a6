"""Surprise by signs, as served: each session's steps are averaged, and what is kept of them goes with its belief."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from avf_client import Client
from avf_server.stepping.beside import Listening, join, split

from avf_core import checkpoints
from avf_core.analysis.sign_reference import SignReference, scores_and_signs
from tests.support import models
from tests.support.servers import Server

LINEAR: dict[str, Any] = {
    "model": {"kind": "lgssm", "observation_size": 3, "latent_size": 2},
    "inference": {"kind": "kalman"},
}
XS = np.random.default_rng(3).normal(size=(20, 60, 3)).astype(np.float32)


def test_surprise_is_that_of_all_steps_of_a_session(serve: Callable[..., Server], tmp_path: Path) -> None:
    """By turns with another session, over forks and snapshots, with a detector beside; a reset begins anew."""
    folder = models.save(tmp_path / "linear", LINEAR)
    filter = checkpoints.load(folder).filter
    scores, signs = scores_and_signs(filter, list(XS))
    reference = SignReference.fit(filter.model.listened, scores, signs)
    models.save(folder, LINEAR, reference={"score": "free_energy", "split": "valid", **reference.as_dict()})
    expected = reference.p_values(np.stack(scores), np.stack(signs))
    server = serve("--model", str(folder), "--data-dir", str(tmp_path / "data"), AVF_HOT_SESSIONS="1")
    detected: Any = {"alarm_every": 1000.0}
    with (
        Client(server.url, timeout=60) as client,
        client.session("linear", seed=0) as one,
        client.session("linear", seed=0, **detected) as two,
    ):
        told = [[each.surprise for each in one.steps(XS[0, :20])], [each.surprise for each in two.steps(XS[1, :20])]]
        told[0] += [one.step(x).surprise for x in XS[0, 20:25]]
        missing = np.full(3, np.nan, dtype=np.float32)
        with one.fork() as fork:
            assert fork.step(missing).surprise is None
            np.testing.assert_allclose([fork.step(x).surprise for x in XS[0, 25:27]], expected[0, 25:27], rtol=0.5)
        restored = client.restore(two.snapshot())
        elsewhere = [each.surprise for each in restored.steps(XS[1, 20:30])]
        told[0] += [each.surprise for each in one.stream(XS[0, 25:40])]
        told[1] += [each.surprise for each in two.steps(XS[1, 20:40])]
        one.reset()
        again = [each.surprise for each in one.steps(XS[0, :5])]
    np.testing.assert_allclose(told, expected[:2, :40], rtol=1e-2)
    np.testing.assert_allclose(elsewhere, expected[1, 20:30], rtol=1e-2)
    np.testing.assert_allclose(again, expected[0, :5], rtol=1e-2)


def test_what_listens_is_kept_side_by_side() -> None:
    """Signs before the detector, each alone, or neither; what is too short for the model's signs is nothing."""
    for listening in (Listening(b"s" * 8, b"know"), Listening(b"s" * 8, None)):
        assert split(join(*listening), 2) == listening
    assert split(join(None, b"know"), 0) == Listening(None, b"know")
    assert join(None, None) is None
    assert split(None, 2) == split(b"short", 2) == Listening(None, None)
