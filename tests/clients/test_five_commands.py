"""The five commands of the README on a table made on the spot: fit, evaluate, serve, stream, and the page's facts."""

import csv
import datetime
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from avf_client import Client
from avf_client.commands import cli

from tests.support.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("shapes_unchecked")]

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def weather(path: Path, time: int) -> list[list[str]]:
    """A table of two sensors with the hour of each row; its rows."""
    generator, x, rows = np.random.default_rng(0), np.array([60.0, 1012.0]), []
    for t in range(time):
        x = np.array([60.0, 1012.0]) + 0.9 * (x - [60.0, 1012.0]) + generator.normal(size=2)
        rows.append([(START + datetime.timedelta(hours=t)).isoformat(), f"{x[0]:.2f}", f"{x[1]:.2f}"])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["time", "temp [F]", "pressure [hPa]"], *rows])
    return rows


def test_from_a_table_to_live_surprise(
    tmp_path: Path,
    start: Callable[..., Server],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The filter that was fitted is served under its channels' names, and what is streamed has p-values."""
    monkeypatch.chdir(tmp_path)
    rows = weather(tmp_path / "weather.csv", 1100)
    fitted = ["fit", "weather.csv", "--time", "time", "--minutes", "0.1", "--preset", "sensor", "--json"]
    assert cli.run(fitted) == 0
    card = json.loads(capsys.readouterr().out)
    assert cli.run(["evaluate", "--model", "runs/weather", "--data", "weather.csv", "--baselines", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["baselines"]["verdict"] == card["verdict"]["verdict"]
    server = start(tmp_path / "runs" / "weather")
    lines = [["pressure [hPa]", "temp [F]"], *([pressure, temp] for _, temp, pressure in rows[-40:])]
    lines.append(["1012", "500"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{','.join(line)}\n" for line in lines)))
    assert cli.run(["stream", "-", "--server", server.url, "--json", "--alarm-every", "100"]) == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert (report["steps"], report["model"]) == (41, "weather")
    assert report["alarms"] == told.err.count("alarm at step")
    with Client(server.url) as client:
        assert client.model("weather").channels == ["temp [F]", "pressure [hPa]"]
        with client.session("weather") as session:
            usual = [session.step([float(temp), float(pressure)]).surprise for _, temp, pressure in rows[:30]]
            strange = session.step([500.0, 1012.0]).surprise
    assert strange is not None
    assert strange < 0.002
    assert np.median([p for p in usual if p is not None]) > 0.1
    assert server.stop() == 0
