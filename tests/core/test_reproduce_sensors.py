"""`avf reproduce sensors`: an entry is an `avf fit`, its record is of the checkpoint, what is absent is left out."""

import json
from pathlib import Path

import numpy as np
import pytest
from avf_client.commands import cli

from avf_core import checkpoints
from avf_core.analysis.verdict import judge
from avf_core.data import Source
from avf_core.errors import DataError
from avf_core.reproduction import planning, sensor_sets, sensors
from avf_core.reproduction.planning import Where

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

SAMPLES = 36_000  # a hundred seconds


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all data, with a heart that is a noisy wave."""
    folder = tmp_path_factory.mktemp("data")
    generator, t = np.random.default_rng(0), np.arange(SAMPLES) / 360.0
    beats = 200.0 * np.sin(7.0 * t) + 40.0 * np.sin(31.0 * t) + generator.normal(scale=5.0, size=SAMPLES)
    (folder / "streams").mkdir()
    np.savez(
        folder / "streams" / "ecg208_360hz.npz",
        adc=np.round(1024 + beats).astype(np.int16),
        zero=1024,
        gain=200,
        fs=360,
    )
    return folder


def test_the_ecg_is_cut_into_frames_of_millivolts(root: Path, tmp_path: Path) -> None:
    """Nine samples each; the last thirty seconds are test, the thirty before them validation."""
    path = sensor_sets.prepare("ecg", root=root, folder=tmp_path)
    splits = {name: np.concatenate(Source(path=path).load(name)) for name in ("train", "valid", "test")}
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 1600, "valid": 1200, "test": 1200}
    with np.load(root / "streams" / "ecg208_360hz.npz") as held:
        signal = (held["adc"].astype(float) - 1024.0) / 200.0
    together = np.concatenate([splits[name] for name in ("train", "valid", "test")]).flatten()
    np.testing.assert_allclose(together, signal, atol=1e-6)


def test_a_quick_entry_goes_the_whole_way(root: Path, tmp_path: Path) -> None:
    """Fitted by the command, judged anew with forecasts further ahead, told on a page; done twice, it is done once."""
    words = ["reproduce", "sensors", "--data", str(root), "--out", str(tmp_path), "--quick", "--only", "ecg"]
    assert cli.run(words) == 0
    record = json.loads((tmp_path / "results" / "sensors" / "ecg.json").read_text())
    assert str(tmp_path) not in json.dumps(record)
    checkpoint = checkpoints.load(tmp_path / "sensors-quick" / "ecg")
    source = Source(path=tmp_path / "sensors-quick" / "data" / "ecg.npz")
    parts = [source.load(name) for name in ("train", "valid", "test")]
    found = judge(checkpoint.filter, *parts, horizons=sensors.HORIZONS)
    assert record["verdict"]["nats"] == pytest.approx(found.nats)
    assert set(record["verdict"]["errors"]) == {"1", "4", "6", "10", "24"}
    assert record["commands"] == [checkpoint.card["command"]]
    assert f"--minutes {record['minutes']:g} " in f"{checkpoint.card['command']} "
    page = (tmp_path / "results.md").read_text()
    assert sensors.TITLES["ecg"] in page
    assert "their figures mean nothing" in page
    where = Where(table="sensors", root=root, out=tmp_path, results=tmp_path / "results", quick=True)
    (entry,) = (one for one in sensors.SENSORS if one.name == "ecg")
    (step,) = planning.plan([entry], sensors.SENSORS, where)
    assert step.to == "score"


def test_what_is_absent_is_left_out_by_name(tmp_path: Path) -> None:
    """The plan says what is missing, and nothing is begun."""
    where = Where(table="sensors", root=tmp_path, out=tmp_path / "out", results=tmp_path / "results")
    (entry,) = (one for one in sensors.SENSORS if one.name == "ecg")
    (step,) = planning.plan([entry], sensors.SENSORS, where)
    assert step.to == "nothing"
    assert "ecg208_360hz.npz is absent" in step.reason
    with pytest.raises(DataError, match="is absent"):
        sensor_sets.prepare("ecg", root=tmp_path, folder=tmp_path / "out")


def test_gaps_are_a_tenth_and_the_same_every_time(tmp_path: Path) -> None:
    """Of every recording, whichever it is."""
    pytest.importorskip("aeon")
    first, second = (sensor_sets.prepare("motions", root=tmp_path, folder=tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    for split in ("train", "valid", "test"):
        for recording in Source(path=first).load(split):
            assert 0.1 <= float(np.isnan(np.asarray(recording)).mean()) < 0.12


def test_titles_are_those_of_the_table() -> None:
    """Every set has an entry, a title, and a place in the page."""
    assert {entry.name for entry in sensors.SENSORS} == set(sensor_sets.SETS) == set(sensors.TITLES)
