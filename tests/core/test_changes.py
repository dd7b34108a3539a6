"""Running alarms: as rare as promised on what does not change, on real seasons too, and soon on what does."""

import csv
import json
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from avf_core.analysis.changes import ChangeDetector, State, Verdict
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter
from avf_core.inference import kalman
from avf_core.models import lgssm

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]


def heard(detector: ChangeDetector, scores: np.ndarray, state: State | None = None) -> tuple[State, list[Verdict]]:
    """The state after scores (rows, time), and the verdict of every step."""
    state = detector.initial(len(scores)) if state is None else state
    verdicts = []
    for each in scores.T:
        state, verdict = detector.step(state, each)
        verdicts.append(verdict)
    return state, verdicts


def test_p_is_the_rank_among_the_own_past() -> None:
    """By hand: two-sided, ties count twice, the oldest of the window are forgotten, and which side is told."""
    detector = ChangeDetector(window=4)
    _, verdicts = heard(detector, np.array([[5.0, 1.0, 2.0, 3.0, 4.0, 9.0, 3.0, 3.0]]))
    # 5 | 1 under {5} | 2 in {5 1} | 3 in {5 1 2} | 4 in {5 1 2 3} | 9 over {1 2 3 4} | 3 in {2 3 4 9} | 3 in {3 4 9 3}
    np.testing.assert_allclose([v.p[0] for v in verdicts], [1.0, 1.0, 1.0, 1.0, 2 * 2 / 5, 2 * 1 / 5, 1.0, 1.0])
    assert [bool(v.high[0]) for v in verdicts[4:6]] == [True, True]
    assert not verdicts[1].high[0]


@pytest.mark.parametrize("bet", [0.2, 0.5, 0.8])
def test_bets_are_fair(bet: float) -> None:
    """Over all places that a score may have among 20 others, a bet gains at most 1 on average."""
    detector = ChangeDetector(window=20, bets=(bet,))
    state, _ = heard(detector, np.arange(20.0)[None])
    state[:, 3] = -np.inf  # no evidence so far
    _, verdict = detector.step(np.repeat(state, 21, axis=0), np.arange(-0.5, 20.5))
    assert 0.4 < np.exp(verdict.statistic).mean() <= 1.0


def test_the_statistic_is_the_sum_over_starts() -> None:
    """M is the sum over all starting points of the product of e-values since, averaged over the bets; NaN is a gap."""
    detector = ChangeDetector(window=8)
    scores = np.random.default_rng(0).normal(size=12)
    _, verdicts = heard(detector, np.array([[*scores[:5], np.nan, *scores[5:]]]))
    assert all(math.isnan(v) for v in (verdicts[5].p[0], verdicts[5].statistic[0], verdicts[5].threshold[0]))
    p = np.array([v.p[0] for v in verdicts if not np.isnan(v.p[0])])
    expected = np.mean([sum(np.prod(k * p[s:] ** (k - 1)) for s in range(12)) for k in detector.bets])
    assert math.exp(verdicts[-1].statistic[0]) == pytest.approx(expected, rel=1e-5)


def test_rows_go_on_alone_and_from_their_bytes() -> None:
    """Each row as by itself; a state read back from bytes goes on as it would have; arguments stay as they were."""
    detector = ChangeDetector(run_length=50.0, window=64)
    scores = np.random.default_rng(1).normal(size=(3, 400))
    scores[1, 150:] += 4.0
    scores[2, ::7] = np.nan
    together, verdicts = heard(detector, scores)
    assert any(v.alarm[1] for v in verdicts)
    for row in range(3):
        half, _ = heard(detector, scores[row : row + 1, :170])
        kept = half.copy()
        again = np.frombuffer(half.tobytes(), dtype=np.float32).reshape(1, detector.width)
        whole, rest = heard(detector, scores[row : row + 1, 170:], again)
        np.testing.assert_array_equal(whole, together[row : row + 1])
        np.testing.assert_array_equal(half, kept)
        np.testing.assert_array_equal([v.alarm[0] for v in rest], [v.alarm[row] for v in verdicts[170:]])
    known = scores[2][~np.isnan(scores[2])]
    np.testing.assert_allclose(detector.recent(together, 5)[2], known[:-6:-1].astype(np.float32))
    fresh, _ = heard(detector, scores[:, :2])
    np.testing.assert_array_equal(np.isnan(detector.recent(fresh, 3)).sum(axis=1), [1, 1, 2])


def test_false_alarms_are_as_rare_as_promised_where_nothing_changes() -> None:
    """Of independent scores, the mean time to a first false alarm is at least `run_length`."""
    detector, rows, steps = ChangeDetector(run_length=100.0, window=64), 1000, 500
    _, verdicts = heard(detector, np.random.default_rng(0).standard_exponential((rows, steps)))
    alarms = np.stack([v.alarm for v in verdicts], axis=1)
    first = np.where(alarms.any(axis=1), alarms.argmax(axis=1) + 1, steps)
    assert first.mean() > 100.0
    assert alarms.any()


def test_no_stream_makes_more_alarms_than_promised_in_the_long_run() -> None:
    """Scores that go on and on into what was never met, in waves: one alarm in `run_length` steps, and a beginning."""
    detector = ChangeDetector(run_length=50.0, window=16, bets=(0.2,))
    time = np.arange(8000)
    waves = time * np.where(time // 25 % 2 == 0, 1.0, -1.0)
    _, verdicts = heard(detector, waves[None])
    alarms = np.array([v.alarm[0] for v in verdicts])
    reach = max(v.statistic[0] for v in verdicts) / math.log(50.0)
    assert alarms.sum() <= 8000 / 50 + reach
    assert alarms[4000:].sum() > 10


def test_the_count_of_steps_never_loses_its_place() -> None:
    """However long a row has gone on, the next step is as that of a row whose count began anew."""
    detector = ChangeDetector(window=48)
    scores = np.random.default_rng(2).normal(size=(1, 3 * 6144 + 5))
    state, _ = heard(detector, scores[:, : 2 * 6144 + 5])
    assert 6144 <= state[0, 0] < 2 * 6144
    np.testing.assert_array_equal(
        detector.recent(state, 48)[0], scores[0, 2 * 6144 + 4 : 2 * 6144 - 44 + 1 - 1 : -1][:48].astype(np.float32)
    )


@pytest.mark.parametrize("wrong", [{"run_length": 1.0}, {"bets": ()}, {"bets": (1.0,)}, {"window": 1}])
def test_detectors_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    """The error says what is expected."""
    with pytest.raises(ConfigurationError, match="expected"):
        ChangeDetector(**wrong)  # type: ignore[arg-type]


def test_scores_that_do_not_fit_are_refused() -> None:
    """One a row."""
    detector = ChangeDetector()
    with pytest.raises(DataError, match="expected"):
        detector.step(detector.initial(2), np.zeros(3))


SEASONS = ("realKnownCause/nyc_taxi.csv", "realKnownCause/ambient_temperature_system_failure.csv")


def series(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A real series, and which of its steps lie in a window that its keepers have marked as anomalous."""
    with (folder / "nab" / "data" / name).open() as file:
        rows = list(csv.DictReader(file))
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
    marked = np.zeros(len(rows), dtype=bool)
    for begin, end in json.loads((folder / "nab" / "windows.json").read_text())[name]:
        first, last = (datetime.fromisoformat(each).replace(tzinfo=None) for each in (begin, end))
        marked |= np.array([first <= time <= last for time in times])
    return np.array([float(row["value"]) for row in rows]), marked


def free_energies(xs: np.ndarray, *, train: int, rows: int = 12) -> np.ndarray:
    """-log p of every step by a Kalman filter: an autoregression of three steps, from the first `train` numbers."""
    standard = (xs - xs[:train].mean()) / xs[:train].std()
    lagged = np.stack([standard[2 - lag : train - 1 - lag] for lag in range(3)], axis=-1)
    weights = np.linalg.lstsq(lagged, standard[3:train], rcond=None)[0]
    variance = float(np.var(standard[3:train] - lagged @ weights))
    dynamics = torch.zeros(3, 3, dtype=torch.float64)
    dynamics[0] = torch.from_numpy(weights)
    dynamics[[1, 2], [0, 1]] = 1.0
    model = lgssm.Model.from_matrices(
        dynamics=dynamics,
        emission=torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64),
        initial_mean=torch.zeros(3, dtype=torch.float64),
        initial_variance=torch.ones(3, dtype=torch.float64),
        process_variance=torch.tensor([variance, 1e-8, 1e-8], dtype=torch.float64),
        noise_variance=torch.tensor([0.05 * variance], dtype=torch.float64),
    )
    filter = Filter(model, kalman.Inference(kalman.Config(), model))
    length = len(standard) // rows
    pieces = torch.from_numpy(standard[: rows * length].reshape(rows, length).T.copy())[..., None]
    with torch.no_grad():
        _, estimates = filter.scan(filter.initial(torch.zeros(rows, dtype=torch.int64)), pieces)
    found: np.ndarray = estimates.free_energy.T.reshape(-1).numpy()
    return found


def resampled(scores: np.ndarray, *, block: int, rows: int, steps: int, seed: int) -> np.ndarray:
    """Rows of the same stretches in another order (the moving-block bootstrap of Kuensch 1989)."""
    begins = np.random.default_rng(seed).integers(0, len(scores) - block, (rows, steps // block))
    return scores[begins[..., None] + np.arange(block)].reshape(rows, -1)


@pytest.mark.parametrize("name", SEASONS)
def test_false_alarms_on_real_seasons_are_as_rare_as_promised(data_dir: Path, name: str) -> None:
    """Weeks of a real stream without its marked anomalies, in other orders: at most one alarm in `run_length` steps."""
    xs, marked = series(data_dir, name)
    scores = free_energies(xs, train=2000)
    calm = scores[~marked[: len(scores)]][24:]
    rows = resampled(calm, block=336, rows=48, steps=4032, seed=0)
    _, verdicts = heard(ChangeDetector(run_length=1000.0), rows)
    alarms = sum(int(v.alarm.sum()) for v in verdicts)
    assert alarms <= rows.size / 1000.0


@pytest.mark.parametrize("name", SEASONS)
@pytest.mark.parametrize("fault", ["stuck", "bang"])
def test_faults_in_real_seasons_are_found(data_dir: Path, name: str, fault: str) -> None:
    """A sensor that sticks, whose scores lie below all, and one that is loud: nine in ten within twelve steps."""
    xs, _ = series(data_dir, name)
    scores = free_energies(xs, train=2000)
    starts = np.linspace(1000, len(scores) - 100, 10).astype(int)
    rows = np.stack([scores[start - 1000 : start + 12] for start in starts])
    rows[:, 1000:] = (
        scores.min() if fault == "stuck" else rows[:, 1000:] + np.quantile(scores, 0.99) - np.median(scores)
    )
    _, verdicts = heard(ChangeDetector(), rows)
    assert np.stack([v.alarm for v in verdicts[1000:]]).any(axis=0).sum() >= 9
