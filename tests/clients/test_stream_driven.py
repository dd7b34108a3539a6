"""`avf stream` of tables with inputs and times: the session is as it is after the same steps by the SDK."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from avf_client import Client, Step
from avf_client.commands import cli, lines
from avf_client.commands.driven import read_driven
from avf_client.errors import InvalidArgument
from avf_sources import Options

from avf_core import checkpoints, configuration
from tests.support.servers import Server

SETTINGS: dict[str, Any] = {
    "model": {"kind": "lgssm", "observation_size": 2, "latent_size": 2, "input_size": 1, "timed": True},
    "inference": {"kind": "kalman"},
}
CARD = {"name": "plant", "data": {"channels": ["level [m]", "flow"], "inputs": ["valve"]}}
TIMES, LEVELS, FLOWS, VALVES = [10.0, 11.5, 15.0], [0.5, 1.0, -1.0], [2.0, np.nan, 0.5], [1.0, -4.0, 2.0]


@pytest.fixture(scope="module")
def plant(start: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a model that is pushed by a valve."""
    filter = configuration.build(SETTINGS)
    with torch.no_grad():
        for parameter in filter.model.parameters():
            parameter.add_(0.1 * torch.arange(parameter.numel()).reshape(parameter.shape))
    folders = {name: tmp_path_factory.mktemp("models") / name for name in ("plant", "unnamed")}
    checkpoints.save(folders["plant"], filter=filter, settings=SETTINGS, card=CARD)
    checkpoints.save(folders["unnamed"], filter=filter, settings=SETTINGS, card={})
    running = start(*folders.values())
    yield running.url
    running.stop()


def table(path: Path, *, valves: list[float]) -> str:
    """A file of these columns, in another order than the model's."""
    rows = zip(valves, FLOWS, TIMES, LEVELS, strict=True)
    with path.open("w", newline="") as file:
        said = [["" if number != number else number for number in row] for row in rows]
        csv.writer(file).writerows([["valve", "flow", "when", "level [m]"], *said])
    return str(path)


def expected(url: str) -> float:
    """The mean free energy of the same by the SDK."""
    rows = zip(LEVELS, FLOWS, VALVES, TIMES, strict=True)
    with Client(url) as client, client.session("plant", seed=1) as session:
        found = session.steps([Step([level, flow], [valve], time) for level, flow, valve, time in rows])
    return float(np.mean([estimate.free_energy for estimate in found]))


@pytest.mark.parametrize(
    "options",
    [["--model", "plant"], ["--model", "unnamed", "--channel", "level", "--channel", "flow", "--inputs", "valve"]],
)
def test_columns_are_sent_as_inputs_and_times(
    plant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """By the model's names, or by those that are given; and paced, too."""
    arguments = ["stream", table(tmp_path / "x.csv", valves=VALVES), "--server", plant, "--json", "--seed", "1"]
    for more in ([], ["--pace", "1000"]):
        assert cli.run([*arguments, *options, "--time", "when", *more]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["steps"] == 3
        assert report["mean_free_energy"] == pytest.approx(expected(plant), rel=1e-6)
    assert cli.run([*arguments, *options]) == 0  # steps are then the usual time apart
    assert json.loads(capsys.readouterr().out)["mean_free_energy"] != pytest.approx(expected(plant), rel=1e-6)


def test_times_are_the_file_s_own(plant: str, tmp_path: Path) -> None:
    """Dates go as seconds since 1970, not counted from the first row: so hours are the calendar's."""
    path = tmp_path / "dated.csv"
    path.write_text("when,level [m],flow,valve\n2024-01-01T05:00:00Z,1,2,3\n2024-01-01T06:30:00Z,1,2,3\n")
    with Client(plant) as client:
        info = client.model("plant")
    found = read_driven(str(path), Options(time="when"), kind=None, info=info, inputs=())
    start = datetime(2024, 1, 1, 5, tzinfo=UTC).timestamp()
    assert [step.time for step in found.steps()] == [start, start + 5400.0]


def test_a_model_that_hears_the_calendar_is_told_when(plant: str, tmp_path: Path) -> None:
    """Without a column of times, nothing is sent."""
    with Client(plant) as client:
        info = msgspec.structs.replace(client.model("plant"), calendar=["calendar.hour.sin"])
    file = table(tmp_path / "x.csv", valves=VALVES)
    with pytest.raises(InvalidArgument, match="name the column of times by --time"):
        read_driven(file, Options(), kind=None, info=info, inputs=())
    with pytest.raises(InvalidArgument, match="name the column of times by --time"):
        lines.Wanted.of(info)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("unnamed", [], "0 columns are named for the 2 observations of unnamed: name each by --channel COLUMN"),
        ("plant", ["--inputs", "flow"], "flow is named as an observation and as an input"),
        ("plant", ["--inputs", "lever"], "no column 'lever'"),
        ("plant", [], "no value of the input valve in row 2"),
    ],
)
def test_what_does_not_fit_is_said(
    plant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, options: list[str], words: str
) -> None:
    """In one line, before anything is sent."""
    file = table(tmp_path / "x.csv", valves=[1.0, np.nan, 2.0])
    assert cli.run(["stream", file, "--server", plant, "--model", model, *options]) == 1
    assert words in capsys.readouterr().err
