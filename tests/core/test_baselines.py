"""Textbook baselines against truth from outside: joint Gaussians of scipy, parameters that made the data, and numbers
worked out by hand."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from avf_core import autoregression
from avf_core.analysis import baselines
from avf_core.errors import DataError

TRANSITION = np.array([[0.8, 0.15], [-0.3, 0.6]])
NOISE = np.array([[0.5, 0.2], [0.2, 0.3]])


def simulated(time: int, seed: int) -> np.ndarray:
    """x_t = A x_{t-1} + e_t from zero."""
    generator = np.random.default_rng(seed)
    steps = generator.multivariate_normal(np.zeros(2), NOISE, size=time)
    x = np.zeros((time, 2))
    for t in range(1, time):
        x[t] = TRANSITION @ x[t - 1] + steps[t]
    return x


def test_a_vector_autoregression_finds_what_made_the_data() -> None:
    """Its matrices, in units that differ by channel; its nats are the entropy of the noise, its forecasts the
    iterated map's."""
    units = np.array([100.0, 0.01])
    splits = [units * simulated(time, seed) for seed, time in enumerate((10_000, 2_000, 4_000))]
    found = baselines.compare(*[[split] for split in splits], horizons=(1, 2))
    best = found.scores[0]
    assert best.name.startswith("VAR")
    entropy = 0.5 * (np.linalg.slogdet(NOISE)[1] + 2 * (1 + np.log(2 * np.pi))) + np.log(units).sum()
    assert best.nats == pytest.approx(entropy, abs=0.03)
    deviation = splits[0].std(axis=0) / units
    two_ahead = NOISE + TRANSITION @ NOISE @ TRANSITION.T
    for horizon, covariance in ((1, NOISE), (2, two_ahead)):
        expected = np.sqrt(np.mean(np.diag(covariance) / deviation**2))
        assert best.errors[horizon] == pytest.approx(expected, rel=0.15)
    assert [score.name for score in found.scores[1:]] == ["persistence", "independent"]


def test_gaps_are_marginalised() -> None:
    """A channel that is missing for a step is integrated out: the sum over a sequence is the joint density, by scipy,
    of what was observed, as long as only the last step has a gap; and what is filled is the conditional mean."""
    model = autoregression.Linear(
        name="given", lags=(1,), weights=TRANSITION, offset=np.array([0.1, -0.2]), covariance=NOISE
    )
    sequence = simulated(3, 5)
    sequence[2, 0] = np.nan
    energies, filled = autoregression.filtered(model, sequence)
    mean = model.offset + TRANSITION @ sequence[1]
    assert energies[1] == pytest.approx(
        -multivariate_normal(model.offset + TRANSITION @ sequence[0], NOISE).logpdf(sequence[1])
    )
    assert energies[2] == pytest.approx(-multivariate_normal(mean[1:], NOISE[1:, 1:]).logpdf(sequence[2, 1:]))
    assert filled[-1, 0] == pytest.approx(mean[0] + NOISE[0, 1] / NOISE[1, 1] * (sequence[2, 1] - mean[1]))
    sequence[2] = np.nan
    energies, filled = autoregression.filtered(model, sequence)
    assert energies[2] == 0.0
    np.testing.assert_allclose(filled[-1], mean)


def test_gaps_cost_a_fit_little() -> None:
    """With a fifth of all numbers missing, the map is still found."""
    train = simulated(8_000, 0)
    train[np.random.default_rng(1).random(train.shape) < 0.2] = np.nan
    (fitted,) = [b for b in autoregression.fit([train], [simulated(500, 1)]) if b.name.startswith("VAR")]
    np.testing.assert_allclose(fitted.weights[:, :2], TRANSITION, atol=0.08)


def test_figures_are_averages_of_steps_and_of_forecasts() -> None:
    """In natural units, whatever was not observed: nats of steps, sequence by sequence, and squares of forecasts."""
    train, valid, test = (100.0 * simulated(time, seed) for seed, time in enumerate((4_000, 500, 300)))
    parts = [test[:120].copy(), test[120:]]
    parts[0][40] = np.nan
    found = baselines.compare([train], [valid], parts, horizons=(1, 3))
    parts[0][40:43, 1] = np.nan
    holed = baselines.compare([train], [valid], parts, horizons=(1, 3))
    for score in (*found.scores, *holed.scores):
        assert score.energies.shape == (300,)
        assert score.energies.mean() == pytest.approx(score.nats)
        assert score.energies[40] == 0.0
        assert all(squares.shape == (len(found.starts),) for squares in score.squares.values())
    for score in found.scores:  # forecasts of what was observed as a whole
        for horizon, squares in score.squares.items():
            assert np.nanmean(squares) == pytest.approx(score.errors[horizon] ** 2)
    alone = baselines.compare([train], [valid], parts[1:], horizons=(1,))
    for score in alone.scores:
        (same,) = (one for one in found.scores if one.name == score.name)
        np.testing.assert_allclose(score.energies, same.energies[120:])


def test_one_channel_has_its_season() -> None:
    """A daily wave is found, and what was a day ago predicts it better than the last value does."""
    generator = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(3000) / 24) + 0.1 * generator.normal(size=3000)
    splits = [[wave[a:b, None]] for a, b in ((0, 2000), (2000, 2500), (2500, 3000))]
    by_name = {score.name: score for score in baselines.compare(*splits, horizons=(6,)).scores}
    season = next(score for name, score in by_name.items() if name.startswith("seasonal"))
    assert int(season.name.split("(")[1][:-1]) % 24 == 0
    assert season.nats < by_name["persistence"].nats < by_name["independent"].nats
    assert season.errors[6] == pytest.approx(np.sqrt(2) * 0.1 / wave[:2000].std(), rel=0.15)


def test_persistence_by_hand() -> None:
    """Steps of 1 and 2 have a variance of 5/2; the nats of a step of 1 under it; the first step is from the mean."""
    train = [np.array([[0.0], [1.0], [3.0]])]
    model = next(b for b in autoregression.fit(train, train) if b.name == "persistence")
    assert model.covariance[0, 0] == pytest.approx(2.5)
    energies, _ = autoregression.filtered(model, np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(energies, 0.5 * np.log(2 * np.pi * np.array([1.0, 2.5])) + [0.0, 0.5 / 2.5])


def test_a_split_without_data_is_refused() -> None:
    """And a channel without a number."""
    with pytest.raises(DataError, match="a split is empty"):
        baselines.compare([np.zeros((5, 2))], [], [np.zeros((5, 2))])
    empty = np.column_stack([np.arange(5.0), np.full(5, np.nan)])
    with pytest.raises(DataError, match="channel 1 of the training data has no number"):
        baselines.compare([empty], [empty], [empty])
