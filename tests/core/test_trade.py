"""The whole trade: what is measured of each way, that a stopped measurement goes on, and what the page says of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avf_core import checkpoints
from avf_core.analysis.bounds import bound
from avf_core.analysis.evaluation import evaluate
from avf_core.analysis.operating import Point
from avf_core.data import Source
from avf_core.reproduction import plots, records, trade, trade_report

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Two short scales, as the valid split."""
    rolls = np.eye(88, dtype=np.uint8)[40 + np.arange(16) % 12]
    offsets = [0, 8, 16]
    np.savez(tmp_path / "rolls.npz", train=rolls, train_offsets=offsets, valid=rolls, valid_offsets=offsets)
    return Source(path=tmp_path / "rolls.npz", kind="arrays")


def test_a_measurement_goes_on_where_it_was_stopped(tmp_path: Path, source: Source) -> None:
    """Energies that are there are kept as they are; F and bound are those of evaluate and bound; all ways are timed."""
    path = tmp_path / "trade" / "srnn-jsb-direct.json"
    whole = trade.measure("srnn-jsb-direct", source, path, steps=16)
    rows = whole["points"]
    assert whole["complete"]
    assert json.loads(path.read_text()) == json.loads(json.dumps(whole))
    assert all(row["ms_1"] > 0.0 and row["ms_64"] > 0.0 for row in rows)
    direct, valid = checkpoints.load("srnn-jsb-direct").filter, source.load("valid")
    energies = {row["particles"]: row["free_energy"] for row in rows if row["way"] == "direct"}
    assert energies[1] == pytest.approx(evaluate(direct, valid, passes=1).free_energy_pooled, rel=1e-6)
    assert energies[4] == pytest.approx(bound(direct, valid, kind="fivo", particles=4).pooled, rel=1e-6)
    stopped = {**whole, "complete": False, "points": [{**rows[0], "free_energy": 1.25}]}
    records.write(path, stopped)
    again = trade.measure("srnn-jsb-direct", source, path, steps=16)["points"]
    assert again[0]["free_energy"] == 1.25
    assert [row["free_energy"] for row in again[1:]] == pytest.approx([row["free_energy"] for row in rows[1:]])


def test_what_iterates_is_held_against_the_direct_inference_that_ships_beside_it() -> None:
    """By its name and `-direct`, or by its name without `-avf`; what is direct has none."""
    found = {name: trade.beside(name) for name in ("srnn-jsb", "speech-avf", "speech", "srnn-piano")}
    assert found == {"srnn-jsb": "srnn-jsb-direct", "speech-avf": "speech", "speech": None, "srnn-piano": None}


def test_a_checkpoint_that_iterates_has_all_ways() -> None:
    """Its own with schedules and particles, its baseline with particles, and descent on its model; none twice."""
    found = trade.ways("srnn-jsb")
    named = [(way, point) for way, point, _ in found]
    assert len(named) == len(set(named))
    assert {way for way, _ in named} == {"iterative", "direct", "gradient"}
    assert ("direct", Point(particles=4)) in named
    assert ("iterative", Point(iterations=4, samples=(4, 8, 8, 8), particles=4)) in named
    model = dict(checkpoints.load("srnn-jsb").filter.model.named_parameters())
    for way, _, filter in found:
        if way == "gradient":
            assert all(bool((value == model[name]).all()) for name, value in filter.model.named_parameters())


def row(way: str, energy: float, ms: float, particles: int = 1, **point: Any) -> dict[str, Any]:
    """A way, thought up."""
    said = {"iterations": point.get("iterations"), "samples": point.get("samples"), "particles": particles}
    return {"way": way, **said, "free_energy": energy, "ms_1": 10.0 * ms, "ms_64": ms}


SHIPPED = {"iterations": 4, "samples": [4, 8, 8, 8]}
ROWS = [
    row("iterative", 6.66, 0.10, **SHIPPED),
    row("iterative", 6.70, 0.12, iterations=5, samples=2),
    row("direct", 6.69, 0.02),
    row("direct", 6.58, 0.05, particles=4),
    row("gradient", 6.75, 0.5, iterations=10, samples=2),
]


def test_what_nothing_beats_is_found() -> None:
    """Neither slower nor worse than another; ties stay."""
    found = trade_report.undominated(ROWS, "ms_64")
    assert [one["free_energy"] for one in found] == [6.69, 6.58]
    assert trade_report.undominated([ROWS[0], ROWS[0]], "ms_1") == [ROWS[0], ROWS[0]]


def test_what_particles_of_direct_inference_gain_is_said(tmp_path: Path) -> None:
    """By how much the bound is below F; where that is less than a point may cost, one sample is enough."""
    about = {"model": "srnn-jsb-direct", "data": "rolls.npz", "split": "valid", "steps": 800, "complete": True}
    row = {"way": "direct", "iterations": None, "samples": None, "ms_1": 1.0}
    for reached, expected in ((6.4, "has 6.400 with 4 particles, in 0.1200 ms"), (6.497, "no more than 0.0030 nats")):
        points = [
            {**row, "particles": 1, "free_energy": 6.5, "ms_64": 0.03},
            {**row, "particles": 4, "free_energy": reached, "ms_64": 0.12},
        ]
        records.write(tmp_path / "trade" / "srnn-jsb-direct.json", {**about, "points": points})
        page = trade_report.section(tmp_path)
        assert "It ships as direct inference with one sample" in page
        assert expected in page


def test_the_page_says_where_particles_win_and_marks_what_ships(tmp_path: Path) -> None:
    """Beaten ways are left out, but for the shipped one."""
    about = {"model": "srnn-jsb", "data": "rolls.npz", "split": "valid", "steps": 800, "complete": True}
    records.write(tmp_path / "trade" / "srnn-jsb.json", {**about, "points": ROWS})
    page = trade_report.section(tmp_path)
    assert "| direct, 4 particles | 6.580 | 0.500 | 0.0500 | alone, of 64 |" in page
    assert "| iterative 4 x 4, 8, 8, 8 (as it ships) | 6.660 | 1.000 | 0.1000 | – |" in page
    assert "gradient 10" not in page
    assert "4 particles of `srnn-jsb-direct` have 6.580 in 0.0500 ms" in page
    assert "It ships at 4 x 4, 8, 8, 8, the knee of its card's curve" in page
    records.write(tmp_path / "trade" / "srnn-jsb.json", {**about, "points": ROWS[:3]})
    assert "particles of" not in trade_report.section(tmp_path)
    records.write(tmp_path / "trade" / "srnn-jsb.json", {**about, "points": ROWS, "complete": False})
    assert trade_report.section(tmp_path) == ""
    shipped = Point(iterations=4, samples=(4, 8, 8, 8))
    assert plots.trade({**about, "points": ROWS}, shipped=shipped).startswith(b"\x89PNG")
