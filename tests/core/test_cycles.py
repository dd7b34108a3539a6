"""Which cycles of the calendar `avf fit` takes: those by which validation data are forecast better, and no others."""

import numpy as np
import pytest

from avf_core.calendar import DAY
from avf_core.data import Driven
from avf_core.training.cycles import cycles

HOUR = 3600.0
START = 1_700_000_000.0


def stream(days: int, *, daily: float, weekly: float = 0.0, start: float = START, seed: int = 0) -> Driven:
    """An hourly sensor with a daily curve, a lower level at weekends, and noise that goes on as it did."""
    generator, times = np.random.default_rng(seed), start + HOUR * np.arange(24 * days)
    noise = np.zeros(len(times))
    for t in range(1, len(times)):
        noise[t] = 0.9 * noise[t - 1] + generator.normal()
    weekend = (times / DAY + 3.0) % 7.0 >= 5.0
    x = noise + daily * np.sin(2 * np.pi * times / DAY) - weekly * weekend
    return Driven(x[:, None].astype(np.float32), times=times)


def parts(whole: Driven) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Four fifths to train on, and the rest."""
    end = 4 * len(whole) // 5
    return [whole[:end]], [whole[end:]]


def test_a_daily_curve_is_found() -> None:
    """And no week, where there is none."""
    assert cycles(*parts(stream(60, daily=3.0))) == ("hour", "halfday")


def test_a_week_is_found_beside_the_day() -> None:
    """Weekends that are lower."""
    assert cycles(*parts(stream(200, daily=3.0, weekly=8.0))) == ("hour", "halfday", "weekday")


def test_noise_follows_no_calendar() -> None:
    """Of sensors that hear no clock hardly any has one taken, also where a short validation split makes it look so."""
    taken = [cycles(*parts(stream(45, daily=0.0, seed=seed))) for seed in range(12)]
    assert sum(map(bool, taken)) <= 1


@pytest.mark.parametrize("whole", [stream(4, daily=3.0), stream(60, daily=3.0, start=0.0)], ids=["short", "no dates"])
def test_what_is_not_known_is_not_asked(whole: Driven) -> None:
    """Too few days to know a day by, and times that count from a start of their own."""
    assert cycles(*parts(whole)) == ()


def test_data_without_times_have_no_calendar() -> None:
    """Plain arrays."""
    x = np.random.default_rng(0).normal(size=(500, 2))
    assert cycles([x[:400]], [x[400:]]) == ()
