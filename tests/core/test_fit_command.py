"""`avf fit`, as a user gives it: from a table to a checkpoint that knows its channels, and a verdict."""

import csv
import datetime
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from avf_core import checkpoints
from avf_core.commands import evaluate, fit, publish, train
from avf_core.data import load
from avf_core.errors import DataError, TrainingError
from avf_core.training import choosing

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("shapes_unchecked")]


def write(path: Path, time: int, *, seed: int = 0) -> Path:
    """A table of two sensors in different units that go on as they did, with gaps and a column of times."""
    generator = np.random.default_rng(seed)
    x = np.zeros((time, 2))
    for t in range(1, time):
        x[t] = 0.9 * x[t - 1] + generator.normal(size=2) * [1.0, 300.0]
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "level [m]", "flow"])
        for t, (level, flow) in enumerate(x):
            when = START + datetime.timedelta(hours=t)
            rows.writerow([when.isoformat(), f"{level:.4f}", "" if t % 9 == 4 else flow])
    return path


def run(command: object, *words: object) -> str:
    """The standard output of a command."""
    asked = [str(word) for word in words]
    return CliRunner().invoke(command, asked, catch_exceptions=False).stdout  # type: ignore[arg-type]


def test_a_table_becomes_a_filter_with_a_verdict(tmp_path: Path) -> None:
    """The folder has a checkpoint, its card with channels, reference and baselines, and a page; evaluation agrees."""
    data, out = write(tmp_path / "plant.csv", 1100), tmp_path / "plant"
    words = [data, "--time", "time", "--out", out, "--minutes", "0.1", "--preset", "sensor"]
    said = run(fit.command, *words)
    card = json.loads((out / "card.json").read_text())
    assert "the filter" in said
    assert f"avf serve --model {out}" in said.replace("\n", "")
    assert card["data"]["channels"] == ["level [m]", "flow"]
    assert (card["reference"]["score"], card["reference"]["split"]) == ("free_energy", "valid")
    page = (out / "report.md").read_text()
    assert card["verdict"]["verdict"][1:] in page
    assert "| level [m] |" in page
    filter = checkpoints.load(out).filter
    assert filter.recalibration is not None
    published = tmp_path / "there" / "plant"
    run(publish.command, out, "--to", published)
    assert sorted(path.name for path in published.iterdir()) == ["README.md", *sorted(checkpoints.FILES)]
    assert checkpoints.load(published).digest == checkpoints.load(out).digest
    with pytest.raises(TrainingError, match="not empty"):
        run(publish.command, out, "--to", published)
    told = json.loads(run(evaluate.command, "--model", out, "--data", data, "--baselines", "--json"))
    assert told["baselines"]["baselines"]["rows"].keys() == card["verdict"]["baselines"]["rows"].keys()
    assert told["baselines"]["nats"] == pytest.approx(card["verdict"]["nats"])
    assert card["verdict"]["nats"] < card["verdict"]["baselines"]["rows"]["independent"]["nats"]


def test_the_same_command_goes_on(tmp_path: Path) -> None:
    """What was stopped before the end has no checkpoint of its own yet, and its candidates go on from where they are;
    time that was spent is not spent again."""
    data = write(tmp_path / "plant.csv", 400)
    train, valid = (load(data, split, options={"time": "time"}) for split in ("train", "valid"))
    options = {"folder": tmp_path, "names": ["sensor"], "seconds": 1e6}
    stopped = choosing.choose(train, valid, stop=lambda: True, **options)  # type: ignore[arg-type]
    assert not stopped.finished
    assert stopped.progress.updates == 0
    calls = iter(range(6))
    going = choosing.choose(train, valid, stop=lambda: next(calls, 9) > 4, **options)  # type: ignore[arg-type]
    assert going.progress.updates > 0
    spent = json.loads((tmp_path / choosing.RECORD).read_text())["seconds"]["sensor"]
    done = choosing.choose(train, valid, folder=tmp_path, names=["sensor"], seconds=spent / 2)
    assert done.finished
    assert done.progress.updates == going.progress.updates
    assert done.validated["sensor"] <= stopped.validated["sensor"]


def test_what_is_no_table_of_sensors_is_refused(tmp_path: Path) -> None:
    """Too few steps, and a column that is not there, are named."""
    short = write(tmp_path / "short.csv", 40)
    with pytest.raises(DataError, match="steps to train on, expected at least 60"):
        run(fit.command, short, "--time", "time")
    with pytest.raises(DataError, match="when"):
        run(fit.command, short, "--time", "when")


def test_a_trained_run_is_measured_when_it_is_published(tmp_path: Path) -> None:
    """With its data, but for the first step, it learns what is normal; without, that this is not known is told."""
    data = write(tmp_path / "plant.csv", 1100)
    sizes = ["model.hidden_size=6", 'model.emission={"order": 1}', "training.epochs=1", "training.validate_start=false"]
    words = [word for text in sizes for word in ("--set", text)]
    run(train.command, "sensor", "--data", data, "--out", tmp_path / "run", *words)
    bare = CliRunner().invoke(publish.command, [str(tmp_path / "run"), "--to", str(tmp_path / "bare")])
    assert "what is normal for it is not known" in bare.stderr
    run(publish.command, tmp_path / "run", "--to", tmp_path / "whole", "--data", data)
    card = checkpoints.read_card(tmp_path / "whole")
    assert card["reference"]["count"] == 109
    assert card["data"]["channels"] == ["level [m]", "flow"]
