"""Operating points: a card names them, the model's description tells them, and a session is opened at one by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from avf_client import Client
from avf_client.commands import cli
from avf_client.errors import InvalidSetting
from avf_server.models.catalogue import points_of
from avf_server.models.served import Models

from avf_core import checkpoints, configuration
from avf_core.errors import CheckpointError
from tests.support.servers import Server

SETTINGS: dict[str, Any] = {
    "model": {"kind": "lgssm", "observation_size": 2, "latent_size": 2},
    "inference": {"kind": "exact"},
}


def saved(folder: Path, points: object) -> Path:
    """A checkpoint whose card says so."""
    filter = configuration.build(SETTINGS)
    checkpoints.save(folder, filter=filter, settings=SETTINGS, card={"name": folder.name, "points": points})
    return folder


@pytest.fixture(scope="module")
def served(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of a model with a point."""
    folder = saved(tmp_path_factory.mktemp("models") / "linear", {"bound": {"particles": 4}})
    return serve("--model", str(folder), "--data-dir", str(tmp_path_factory.mktemp("data")))


def test_a_session_at_a_point_is_one_with_what_it_says(served: Server) -> None:
    """The description tells it; the session's estimates are those of so many particles."""
    xs = np.random.default_rng(1).normal(size=(5, 2))
    with Client(served.url) as client:
        assert client.model("linear").points["bound"].particles == 4
        found = []
        for options in ({"point": "bound"}, {"particles": 4}, {}):
            with client.session("linear", seed=1, **options) as session:  # type: ignore[arg-type]
                found.append([each.evidence_bound for each in session.steps(xs)])
                assert session.info.particles == (4 if options else 1)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"point": "boundless"}, "linear has no point 'boundless'; there are bound"),
        ({"point": "bound", "particles": 2}, "point says particles and iterations"),
    ],
)
def test_a_point_that_is_none_is_refused(served: Server, options: dict[str, Any], words: str) -> None:
    """By name, and with something else that it says itself."""
    with Client(served.url) as client, pytest.raises(InvalidSetting, match=words):
        client.session("linear", **options)


def test_the_command_takes_a_point(served: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`avf stream --point`."""
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    arguments = ["stream", str(tmp_path / "x.npy"), "--server", served.url, "--model", "linear", "--point"]
    assert cli.run([*arguments, "bound"]) == 0
    assert cli.run([*arguments, "other"]) == 1
    assert "no point 'other'" in capsys.readouterr().err


@pytest.mark.parametrize("points", [{"bound": {"particles": "many"}}, {"bound": {"particels": 4}}, [4], {"bound": 4}])
def test_points_that_are_none_are_said_of_the_card(tmp_path: Path, points: object) -> None:
    """When a server would begin to hold the model."""
    with pytest.raises(CheckpointError, match="the points in the card of odd are none"):
        Models([str(saved(tmp_path / "odd", points))], device="cpu")


def test_the_direct_filter_of_music_has_four_particles_by_name() -> None:
    """For a closer bound on the evidence."""
    assert points_of(checkpoints.load("srnn-jsb-direct"))["bound"].particles == 4
