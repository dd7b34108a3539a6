"""The errors that a free energy is told with: over noise, over sequences, and how many digits they allow."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from avf_core import checkpoints
from avf_core.analysis import redrawn, student
from avf_core.analysis.evaluation import APART, DRAWS, evaluate
from avf_core.commands import evaluation_tables
from avf_core.data import Source
from avf_core.distributions import Gaussian

from .pairs import make

pytestmark = pytest.mark.usefixtures("shapes_unchecked")


def rolls(count: int = 4, length: int = 6, longer: int = 2) -> list[np.ndarray]:
    """Binary sequences, each some steps longer than the one before."""
    generator = np.random.default_rng(3)
    return [(generator.random((length + longer * i, 6)) > 0.7).astype(np.uint8) for i in range(count)]


@pytest.mark.parametrize("name", ["srnn-learned_sgd", "srnn-direct"])
def test_two_evaluations_differ_by_less_than_twice_their_error_over_noise(name: str) -> None:
    """In at least 38 of 40 pairs of seeds, each judged by the error that the first of the two told."""
    filter, within = make(name), 0
    found = [evaluate(filter, rolls(8, length=3, longer=1), seed=1000 * i) for i in range(41)]
    for one, other in pairwise(found):
        assert one.noise_error is not None
        within += abs(one.free_energy_pooled - other.free_energy_pooled) < 2.0 * one.noise_error
    assert within >= 38
    assert np.std([one.free_energy_pooled for one in found]) > 0.0


def test_a_shipped_checkpoint_keeps_to_its_error_over_noise(data_dir: Path) -> None:
    """On a cut of the chorales, 40 pairs of seeds; and the error is no larger than it has to be."""
    shipped = checkpoints.load("srnn-jsb-direct")
    source = Source(path=data_dir / "music/jsb_chorales.npz").like(shipped.card["data"])
    cut = [sequence[:6] for sequence in source.load("test")[:16]]
    found = [evaluate(shipped.filter, cut, seed=1000 * i) for i in range(41)]
    figures = np.array([one.free_energy_pooled for one in found])
    errors = np.array([one.noise_error for one in found], dtype=float)
    assert (np.abs(np.diff(figures)) < 2.0 * errors[1:]).sum() >= 38
    assert errors.mean() < 3.0 * figures.std(ddof=1)


def test_the_error_over_noise_is_that_of_the_differences_of_its_passes() -> None:
    """Recomputed from each pass alone, whose noise is that of a seed of its own, by scipy's t."""
    filter, data = make("srnn-direct"), rolls()
    found = evaluate(filter, data, seed=4, passes=3, draws=0)
    sums = np.empty((3, len(data)))
    for turn in range(3):
        for row, sequence in enumerate(data):
            with torch.no_grad():
                xs = torch.as_tensor(sequence).float()[:, None]
                _, e = filter.scan(filter.initial(torch.tensor([4 + row + turn * APART])), xs)
            sums[turn, row] = e.free_energy.double().sum()
    steps = sum(len(sequence) for sequence in data)
    assert found.free_energy_pooled == pytest.approx(sums.sum() / 3 / steps, rel=1e-5)
    deviation = (sums.var(0, ddof=1).sum() / 3) ** 0.5 / steps
    expected = scipy.stats.t.ppf(0.995, 8) * 2**0.5 * deviation / 2
    assert found.noise_error == pytest.approx(expected, rel=1e-3)
    assert (found.steps, found.sequences, found.passes) == (steps, len(data), 3)


def test_errors_over_sequences_are_those_of_means_where_lengths_are_equal() -> None:
    """The mean's standard error, for both averages; one sequence has none."""
    filter, data = make("srnn-direct"), rolls(longer=0)
    found = evaluate(filter, data, passes=1, draws=0)
    each = [evaluate(filter, [s], seed=i, passes=1, draws=0).free_energy_pooled for i, s in enumerate(data)]
    expected = scipy.stats.sem(each)
    assert (found.standard_error, found.sequence_mean_error) == pytest.approx((expected, expected), rel=1e-4)
    assert found.noise_error is None
    alone = evaluate(filter, data[:1])
    assert (alone.standard_error, alone.sequence_mean_error) == (None, None)
    assert alone.passes > 10
    assert alone.noise_error is not None


@pytest.mark.parametrize("name", ["srnn-learned_sgd", "srnn-gaussian"])
def test_draws_take_noise_off_and_move_nothing(name: str) -> None:
    """The mean over many seeds is the same within its error, and the spread of one pass is smaller."""
    filter, data = make(name), rolls(3)
    own, averaged = (
        np.array([evaluate(filter, data, seed=100 * i, passes=1, draws=n).free_energy_pooled for i in range(30)])
        for n in (0, DRAWS)
    )
    assert averaged.std() < own.std()
    assert abs(scipy.stats.ttest_rel(own, averaged).statistic) < 4.0


def test_a_mean_over_draws_is_the_integral_of_a_gaussian() -> None:
    """E_q[-log N(x; A z + b, s)] = the value at q's mean + tr(A V A^T / s) / 2, for a linear likelihood."""
    filter = make("lgssm-iterative", torch.float64)
    x = torch.as_tensor(np.random.default_rng(5).normal(size=(1, filter.model.observation.size)))
    with torch.no_grad():
        belief = filter.initial(torch.tensor([7]))
        objective = filter.objective(belief, x)
        _, e = filter.step(belief, x)
        found = redrawn.reconstruction(filter, belief, e, x, observed=None, drive=filter.drive(belief), draws=40_000)
        center = filter.model.decode(objective.context, e.posterior.mean)
        columns = torch.eye(filter.model.latent_size, dtype=torch.float64)
        slopes = [filter.model.decode(objective.context, e.posterior.mean + c).mean - center.mean for c in columns]
        moved = torch.stack(slopes)[:, 0] * e.posterior.deviation[0, :, None]
        assert isinstance(center, Gaussian)
        variance = center.log_variance.exp()
        expected = (0.5 * ((x - center.mean) ** 2 / variance + variance.log() + np.log(2 * np.pi))).sum()
        expected = expected + 0.5 * (moved**2 / variance).sum()
    assert float(found) == pytest.approx(float(expected), rel=0.01)
    assert float(e.reconstruction) != pytest.approx(float(expected), rel=0.01)


def test_what_is_missing_is_not_scored_by_draws() -> None:
    """A frame of which nothing was observed has F of 0, and its number is not counted."""
    filter = make("srnn-gaussian")
    data = [sequence.astype(np.float32) for sequence in rolls(2)]
    data[0][3] = np.nan
    data[1][2, :4] = np.nan
    found = evaluate(filter, data)
    assert found.steps == sum(len(sequence) for sequence in data) - 1
    assert np.isfinite(found.free_energy_pooled)


@pytest.mark.parametrize("freedom", [1, 2, 3, 11, 76, 1000])
def test_students_t_is_scipys(freedom: int) -> None:
    """Its tails from the middle far out, and its quantiles."""
    for t in (0.0, 0.3, -1.0, 2.5, 6.0, 15.0):
        assert student.tail(t, freedom) == pytest.approx(2.0 * scipy.stats.t.sf(abs(t), freedom), rel=1e-6)
    for share in (0.5, 0.9, 0.95, 0.99):
        expected = scipy.stats.t.ppf(0.5 + share / 2, freedom)
        assert student.quantile(share, freedom) == pytest.approx(expected, rel=1e-5)


def test_figures_have_the_digits_that_their_errors_allow() -> None:
    """One digit of the error, two where it begins with 1, rounded up; four digits where there is none."""
    assert student.told(6.65931, 0.0043) == "6.659 ± 0.005"
    assert student.told(6.65931, 0.0143) == "6.659 ± 0.015"
    assert student.told(1018.23, 12.3) == "1,018 ± 13"
    assert student.told(1018.23, 0.62) == "1,018.2 ± 0.7"
    assert student.told(6.65931, None) == "6.6593"
    assert student.told(6.65931, 0.1, by=0.004) == "6.659 ± 0.100"
    assert student.told(6.65931, None, by=0.004) == "6.659"
    assert student.told(2.5, 0.0) == "2.5000 ± 0.0000"
    assert [student.decimals(error) for error in (0.1, 0.2, 0.09, 1.0, 25.0, float("inf"))] == [2, 1, 2, 1, 0, 4]


def test_the_command_prints_errors_and_their_digits() -> None:
    """The error over noise decides how many digits a figure has."""
    found = evaluate(make("srnn-direct"), rolls())
    rows = dict(evaluation_tables.rows_of(found))
    assert rows["free energy, pooled over steps"] == student.told(
        found.free_energy_pooled, found.standard_error, by=found.noise_error
    )
    assert any("noise" in name for name in rows)
