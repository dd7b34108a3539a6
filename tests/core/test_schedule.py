"""What a schedule says: how KL's weight rises, and the norms that an update reports."""

import json
from pathlib import Path

import pytest

from avf_core.errors import CheckpointError, ConfigurationError
from avf_core.training.config import TrainingConfig
from avf_core.training.state import RUN
from tests.support.training import Quiet, make_run, never, trainer_of

pytestmark = pytest.mark.usefixtures("shapes_unchecked")


def test_the_weight_of_kl_rises_linearly_or_as_in_the_authors_code() -> None:
    """After 25 of 50 epochs it is a half, or (25 / 50)^2; from the fiftieth on 1, and never below its floor."""
    linear = TrainingConfig(kl_anneal_epochs=50)
    quadratic = TrainingConfig(kl_anneal_epochs=50, kl_anneal="quadratic", kl_weight_floor=0.01)
    assert [linear.kl_weight(epoch) for epoch in (0, 25, 50, 99)] == [0.0, 0.5, 1.0, 1.0]
    assert [quadratic.kl_weight(epoch) for epoch in (0, 2, 25, 50)] == [0.01, 0.01, 0.25, 1.0]
    with pytest.raises(ConfigurationError, match=r"kl_anneal"):
        TrainingConfig(kl_anneal="cubic")  # type: ignore[arg-type]


def phi_norms(folder: Path, *, phi_steps: str, clip_length: int) -> list[float]:
    """The norm of phi's gradient that each update of a short run reports."""
    run = make_run(
        folder, "srnn-gated", epochs=1, phi_steps=phi_steps, clip_length=clip_length, phi_rate=1e-9, theta_rate=1e-9
    )
    trainer = trainer_of(run)
    trainer.train(stop=never)
    assert isinstance(trainer.listener, Quiet)
    return [metrics["phi_norm"] for metrics in trainer.listener.metrics]


def test_the_norm_of_online_steps_is_reported(tmp_path: Path) -> None:
    """Of clips of one step there is one online step, whose gradient is that of learning once a clip."""
    online = phi_norms(tmp_path / "online", phi_steps="online", clip_length=1)
    assert min(online) > 0.0
    assert online == pytest.approx(phi_norms(tmp_path / "clip", phi_steps="clip", clip_length=1), rel=1e-4)


def test_the_norm_of_online_steps_is_their_mean(tmp_path: Path) -> None:
    """Of the eight steps of a clip; what is left after them is nothing, and is not in it."""
    trainer = trainer_of(make_run(tmp_path, "srnn-gated", epochs=1, clip_length=8, batch_size=20))
    trainer.train(stop=never)
    assert isinstance(trainer.listener, Quiet)
    (metrics,) = trainer.listener.metrics
    norms = trainer.learner.online_norms
    assert len(norms) == 8
    assert min(norms) > 0.0
    assert metrics["phi_norm"] == pytest.approx(sum(norms) / 8)


def test_runs_from_before_there_was_a_choice_of_annealing_go_on(tmp_path: Path) -> None:
    """They do not name it, and were linear; another annealing is another run."""
    trainer_of(make_run(tmp_path, epochs=1)).train(stop=never)
    assert "kl_anneal" not in json.loads((tmp_path / RUN).read_text())["run"]["training"]
    assert trainer_of(make_run(tmp_path, epochs=2)).resume()
    with pytest.raises(CheckpointError, match="another training"):
        trainer_of(make_run(tmp_path, epochs=2, kl_anneal="quadratic")).resume()
