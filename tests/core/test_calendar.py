"""The calendar as inputs: by the standard library's dates, from tables, and in the autoregression of sensors."""

import csv
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avf_core import autoregression, calendar, data
from avf_core.configuration import build
from avf_core.data import Source
from avf_core.errors import ConfigurationError, DataError
from avf_core.training import presets
from avf_core.training.sizes import sized

DATES = [datetime(2024, 2, 29, 18, tzinfo=UTC), datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime.now(UTC)]


@pytest.mark.parametrize("date", DATES)
def test_cycles_are_those_of_dates(date: datetime) -> None:
    """The angle of a date in its day, its week and its year is that of the standard library's fields."""
    seconds = date.hour * 3600 + date.minute * 60 + date.second + date.microsecond / 1e6
    start, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (date.year, date.year + 1))
    parts = (seconds / 86400, (date.weekday() + seconds / 86400) / 7, (date - start) / (end - start))
    found = calendar.inputs_at(np.array([date.timestamp()]), calendar.names(["hour", "weekday", "yearday"]))[0]
    expected = [wave(2 * math.pi * part) for part in parts for wave in (math.sin, math.cos)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_is_no_cycle_is_refused_by_name() -> None:
    """Of cycles, and of inputs."""
    with pytest.raises(ConfigurationError, match="month, expected some of hour, halfday, weekday, yearday"):
        calendar.names(["month"])
    with pytest.raises(ConfigurationError, match=r"calendar\.moon\.sin is no input of the calendar"):
        calendar.inputs_at(np.zeros(1), ["calendar.moon.sin"])


def tides(path: Path, *, hours: int, dated: bool = True) -> Path:
    """A sensor that hears its last value and the hour of the day, with another input."""
    generator, x = np.random.default_rng(0), 0.0
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["time", "level", "valve"])
        for t in range(hours):
            when = datetime(2024, 3, 1, tzinfo=UTC) + timedelta(hours=t)
            x = 0.3 * x + math.sin(2 * math.pi * when.hour / 24) + 0.1 * generator.normal()
            table.writerow([when.isoformat() if dated else 3600 * t, f"{x:.5f}", f"{generator.normal():.3f}"])
    return path


def driven(sequences: list[np.ndarray]) -> Any:
    """The only one of these, with its inputs."""
    (found,) = sequences
    return found


def test_a_table_gives_the_calendar_after_its_own_inputs(tmp_path: Path) -> None:
    """And what was trained on it asks for the same of other tables, by name."""
    path = tides(tmp_path / "tides.csv", hours=100)
    options = {"time": "time", "inputs": ["valve"], "calendar": ["hour"]}
    source = Source(path=path, options=options)
    described = source.describe()
    assert described.inputs == ("valve", "calendar.hour.sin", "calendar.hour.cos")
    train = driven(source.load("train"))
    np.testing.assert_allclose(train.inputs[7, 1:], [math.sin(7 * math.pi / 12), math.cos(7 * math.pi / 12)], atol=1e-6)
    other = Source(path=tides(tmp_path / "other.csv", hours=50)).like(source.as_card())
    np.testing.assert_array_equal(driven(other.load("train")).inputs[:5, 1:], train.inputs[:5, 1:])


def test_times_that_are_no_dates_are_refused(tmp_path: Path) -> None:
    """Counted from a start of their own, they have no hour; and without times there is no calendar."""
    path = tides(tmp_path / "tides.csv", hours=100, dated=False)
    with pytest.raises(DataError, match="which are no dates"):
        data.load(path, "train", options={"time": "time", "calendar": ["hour"]})
    with pytest.raises(ConfigurationError, match="say time=COLUMN"):
        data.load(path, "train", options={"calendar": ["hour"]})


def test_sensors_begin_with_the_least_squares_of_inputs_too(tmp_path: Path) -> None:
    """What the filter expects at first is numpy's least squares on lags and inputs; the truth's weights are found."""
    path = tides(tmp_path / "tides.csv", hours=2000)
    train = data.load(path, "train", options={"time": "time", "ignore": ["valve"], "calendar": ["hour"]})
    preset = presets.override(presets.get("sensor"), {"model.emission": {"order": 1, "noise": "gaussian"}})
    filter = build(presets.fit(sized(preset, train).settings, train)).requires_grad_(False)
    filter.model.begin(train)
    emission: Any = filter.model.emission
    x, u = np.asarray(train[0], dtype=np.float64), driven(train).inputs.astype(np.float64)
    x = (x - emission.units.center[0]) / emission.units.scale[0]
    u = (u - u.mean(0)) / u.std(0)
    design = np.concatenate([x[:-1], u[1:], np.ones((len(x) - 1, 1))], 1)
    solved = np.linalg.lstsq(design, x[1:], rcond=None)[0][:, 0]
    np.testing.assert_allclose(emission.coefficients[0], solved[:1], atol=1e-3)
    np.testing.assert_allclose(emission.driving[0], solved[1:3], atol=1e-3)
    assert float(emission.coefficients[0, 0]) == pytest.approx(0.3, abs=0.02)
    context = emission.moved(emission.context(emission.initial(1, like=torch.zeros(1))), torch.tensor([[1.0, -2.0]]))
    expected = solved[-1] + solved[1] - 2.0 * solved[2]
    assert float(context["emission_expected"]) == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ConfigurationError, match="hears 2 inputs, the model has 0"):
        emission.moved(context, None)


def test_gaps_are_filled_with_what_inputs_say() -> None:
    """A sensor that is its input and little else is filled by it."""
    generator = np.random.default_rng(0)
    u = generator.normal(size=(500, 1))
    x = 2.0 * u + 0.01 * generator.normal(size=(500, 1))
    holed = x.copy()
    holed[100:110] = np.nan
    fitted = autoregression.vector_autoregression([holed], [1], [u])
    filled = autoregression.filtered(fitted, holed, u)[1][fitted.reach :]
    np.testing.assert_allclose(filled[100:110], x[100:110], atol=0.1)
