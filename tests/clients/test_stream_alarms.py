"""`avf stream --alarm-every`: the session has a detector, whose alarms are lines; hours by the times of a table."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from avf_client.commands import cli

from avf_core import checkpoints, configuration
from tests.support.servers import Server

SETTINGS: dict[str, Any] = {
    "model": {"kind": "lgssm", "observation_size": 1, "latent_size": 1},
    "inference": {"kind": "kalman"},
}
CARD = {"name": "level", "data": {"channels": ["level"]}}
START = 1_704_067_200


@pytest.fixture(scope="module")
def level(start: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a model that takes no times."""
    folder = tmp_path_factory.mktemp("models") / "level"
    checkpoints.save(folder, filter=configuration.build(SETTINGS), settings=SETTINGS, card=CARD)
    running = start(folder)
    yield running.url
    running.stop()


def table(path: Path) -> str:
    """A level that is left for good after four hundred steps."""
    x = np.random.default_rng(0).normal(size=600)
    x[400:] += 40.0
    path.write_text("time,level\n" + "".join(f"{START + 3600 * t},{v:.4f}\n" for t, v in enumerate(x)))
    return str(path)


@pytest.mark.parametrize("by", ["change", "daily"])
def test_a_level_that_is_left_raises_alarms_that_are_told(
    level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    """Each by its step, after the change; as many as the report counts."""
    words = ["stream", table(tmp_path / "x.csv"), "--server", level, "--time", "time", "--json"]
    assert cli.run([*words, "--alarm-every", "200", "--alarm-by", by]) == 0
    told = capsys.readouterr()
    steps = [int(line.split()[3].rstrip(":")) for line in told.err.splitlines() if line.startswith("alarm at step")]
    assert len(steps) == json.loads(told.out)["alarms"] > 0
    assert any(400 < step <= 450 for step in steps)
    assert cli.run(words) == 0
    assert json.loads(capsys.readouterr().out)["alarms"] == 0


def test_a_session_that_goes_on_keeps_its_detector(
    level: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is opened with one, or without."""
    words = ["stream", table(tmp_path / "x.csv"), "--server", level, "--session", "x", "--alarm-every", "200"]
    assert cli.run(words) == 1
    assert "--alarm-every" in capsys.readouterr().err
