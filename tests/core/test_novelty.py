"""Novelty: rolling references that are what they are of, and alarms as rare as promised and at what is new."""

import csv
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from avf_core.analysis.changes import Verdict
from avf_core.analysis.novelty import Heard, NoveltyDetector, State, hour_class
from avf_core.analysis.rolling import EDGES, RollingReference
from avf_core.errors import ConfigurationError, DataError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

MONDAY = datetime(2024, 1, 1, tzinfo=UTC).timestamp()


def heard(
    detector: NoveltyDetector,
    xs: np.ndarray,
    *,
    state: State | None = None,
    times: np.ndarray | None = None,
) -> tuple[State, list[Verdict]]:
    """The state after xs (time, rows, channels), predicted as standard normal, and the verdict of every step."""
    state = detector.initial(xs.shape[1]) if state is None else state
    verdicts = []
    for t, x in enumerate(xs):
        time = np.full(len(x), np.nan if times is None else times[t])
        state, verdict = detector.step(state, Heard(x, np.zeros_like(x), np.ones_like(x), time))
        verdicts.append(verdict)
    return state, verdicts


def test_hours_are_those_of_the_calendar() -> None:
    """Python's own calendar says the same, over ten days and at a time that is not known."""
    times = MONDAY + 1800.0 * np.arange(480)
    moments = [datetime.fromtimestamp(time, tz=UTC) for time in times]
    expected = [moment.hour + 24 * (moment.weekday() >= 5) for moment in moments]
    np.testing.assert_array_equal(hour_class(times), expected)
    assert hour_class(np.array([np.nan]))[0] == 0


def test_a_rolling_reference_is_the_distribution_of_the_past() -> None:
    """Where nothing is forgotten, p is the part of the past that is above, to the width of a bin."""
    reference, draw = RollingReference(memory=math.inf), np.random.default_rng(0)
    past = draw.exponential(size=4000)
    state = reference.initial(1)
    for score in past:
        state = reference.remember(state, np.array([score]))
    assert state.sum() == pytest.approx(4000)
    for score in np.quantile(past, [0.1, 0.5, 0.9]):
        p = math.exp(-reference.log_p(state, np.array([score]))[0])
        assert p == pytest.approx((past > score).mean(), abs=0.02)
    for score in (5.0, 9.0):  # the tail of an exponential distribution is one
        assert reference.log_p(state, np.array([score]))[0] == pytest.approx(score, rel=0.1)


def test_what_is_old_is_forgotten() -> None:
    """After `memory` steps what was before weighs 1 / e, and what has come since is what is usual."""
    reference = RollingReference(memory=200.0)
    state = reference.initial(1)
    for _ in range(400):
        state = reference.remember(state, np.array([1.0]))
    before = state.sum()
    for _ in range(200):
        state = reference.remember(state, np.array([30.0]))
    old = state[0, : np.searchsorted(EDGES, 2.0)].sum()
    assert old / before == pytest.approx(1 / math.e, rel=0.01)
    assert reference.log_p(state, np.array([29.0]))[0] < 1.0
    np.testing.assert_array_equal(reference.remember(state, np.array([np.nan])), state)


def test_p_values_of_what_does_not_change_are_no_smaller_than_uniform() -> None:
    """Of independent numbers a part p, or less, have a p-value under p: the mean of several, times e, is one."""
    detector = NoveltyDetector(memory=math.inf)
    _, verdicts = heard(detector, np.random.default_rng(1).normal(size=(3000, 16, 1)))
    p = np.concatenate([verdict.p for verdict in verdicts[500:]])
    for level in (0.1, 0.01, 0.001):
        assert (p < level).mean() <= 1.2 * level


def test_a_novelty_is_an_event() -> None:
    """A level that was never met is told at once and once: as long as it lasts it is no news."""
    xs = np.random.default_rng(2).normal(size=(900, 1, 1))
    xs[600:640] += 8.0
    _, verdicts = heard(NoveltyDetector(run_length=1000.0), xs)
    raised = np.array([verdict.alarm[0] for verdict in verdicts])
    assert raised[600:615].any()
    assert raised.sum() <= 3
    assert all(verdict.high[0] for verdict in verdicts[600:640] if verdict.alarm[0])
    values = np.array([verdict.statistic[0] for verdict in verdicts])
    said = -np.log([verdict.p[0] for verdict in verdicts])
    for t in range(300, 900):  # the most of the 192 steps before at least, and of 208 at most
        if values[t] > 0.0:
            assert said[t] == pytest.approx(values[t])
            assert said[t] > said[t - 192 : t].max()
        elif said[t] > 0.0:
            assert said[t] <= said[t - 208 : t].max()


def test_what_is_usual_at_one_hour_is_news_at_another() -> None:
    """A load by day, silence by night: a loud night is found by the hour, and not without a clock."""
    steps = 12 * 24 * 14
    times = MONDAY + 300.0 * np.arange(steps)
    day = (hour_class(times) % 24 >= 8) & (hour_class(times) % 24 < 20)
    xs = np.where(day, 3.0, -3.0)[:, None, None] + 0.3 * np.random.default_rng(3).normal(size=(steps, 1, 1))
    loud = 12 * 24 * 12 + 12 * 23  # eleven at night
    xs[loud : loud + 12] += 6.0
    nats = {}
    for daily in (True, False):
        _, verdicts = heard(NoveltyDetector(daily=daily, run_length=1000.0), xs, times=times)
        said = -np.log([verdict.p[0] for verdict in verdicts])
        nats[daily] = said[loud : loud + 12].max() - said[12 * 24 * 7 : loud].max()
    assert nats[True] > nats[False] + 1.0


def test_rows_and_channels_go_on_alone_and_from_their_bytes() -> None:
    """Each row as by itself; a state read back goes on as it would have; what is missing is not heard."""
    detector = NoveltyDetector(channels=2, daily=True)
    xs = np.random.default_rng(4).normal(size=(300, 3, 2))
    xs[50:60, 1] = np.nan
    xs[70, 2, 0] = np.nan
    times = MONDAY + 600.0 * np.arange(300)
    together, verdicts = heard(detector, xs, times=times)
    assert np.isnan(verdicts[55].p[1])
    assert not np.isnan(verdicts[70].p).any()
    for row in range(3):
        half, _ = heard(detector, xs[:150, row : row + 1], times=times[:150])
        kept, again = half.copy(), np.frombuffer(half.tobytes()).reshape(1, detector.width)
        whole, rest = heard(detector, xs[150:, row : row + 1], state=again, times=times[150:])
        np.testing.assert_array_equal(whole, together[row : row + 1])
        np.testing.assert_array_equal(half, kept)
        np.testing.assert_array_equal([v.p[0] for v in rest], [v.p[row] for v in verdicts[150:]])


def test_no_stream_makes_more_alarms_than_promised_in_the_long_run() -> None:
    """Jumps that double without end: one alarm in `run_length` steps, and what there is to reach once."""
    detector = NoveltyDetector(run_length=50.0, hold=16)
    steps = 4000
    xs = (2.0 ** (np.arange(steps) / 40.0) * np.where(np.arange(steps) % 20 == 0, 1.0, 0.01))[:, None, None]
    _, verdicts = heard(detector, xs)
    alarms = np.array([verdict.alarm[0] for verdict in verdicts])
    reach = max(verdict.statistic[0] for verdict in verdicts) / math.log(50.0)
    assert 10 < alarms.sum() <= steps / 50 + reach


SEASONS = ("realKnownCause/nyc_taxi.csv", "realKnownCause/ambient_temperature_system_failure.csv")


@pytest.mark.parametrize("name", SEASONS)
def test_false_alarms_on_real_seasons_are_as_rare_as_promised(data_dir: Path, name: str) -> None:
    """Weeks of a real stream without its marked anomalies, in other orders: at most one alarm in `run_length` steps.

    The moving-block bootstrap (Kuensch 1989) of whole weeks, so that hours stay where they are.
    """
    with (data_dir / "nab" / "data" / name).open() as file:
        rows = list(csv.DictReader(file))
    moments = [datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC) for row in rows]
    times = np.array([moment.timestamp() for moment in moments])
    values = np.array([float(row["value"]) for row in rows])
    calm = np.ones(len(rows), dtype=bool)
    for begin, end in json.loads((data_dir / "nab" / "windows.json").read_text())[name]:
        first, last = (datetime.fromisoformat(each).replace(tzinfo=UTC).timestamp() for each in (begin, end))
        calm &= (times < first) | (times > last)
    errors = np.append(0.0, np.diff(values)) / np.diff(values[:500]).std()
    week = round(7 * 86400 / np.median(np.diff(times)))
    possible = [start for start in range(len(rows) - week) if calm[start : start + week].all()]
    draw = np.random.default_rng(0)
    begins = draw.choice(possible, (24, 12 * 336 // week))
    index = (begins[..., None] + np.arange(week)).reshape(24, -1)
    detector = NoveltyDetector(run_length=1000.0, daily=True)
    state, alarms = detector.initial(24), 0
    center, scale = values[:500].mean(), values[:500].std()
    for at in index.T:
        x = ((values[at] - center) / scale)[:, None]
        state, verdict = detector.step(state, Heard(x, x - errors[at][:, None], np.ones_like(x), times[at]))
        alarms += int(verdict.alarm.sum())
    assert alarms <= index.size / 1000.0


@pytest.mark.parametrize("wrong", [{"run_length": 1.0}, {"hold": 3}, {"channels": 0}, {"memory": 2.0}])
def test_detectors_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    """The error says what is expected."""
    with pytest.raises(ConfigurationError, match="expected"):
        NoveltyDetector(**wrong).initial(1)  # type: ignore[arg-type]


def test_observations_that_do_not_fit_are_refused() -> None:
    """One row each, of so many channels."""
    detector, x = NoveltyDetector(), np.zeros((1, 2))
    with pytest.raises(DataError, match="expected"):
        detector.step(detector.initial(1), Heard(x, x, x + 1.0, np.zeros(1)))
