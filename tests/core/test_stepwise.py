"""Paired differences along time: beside scipy, and how often nothing is taken for something."""

import numpy as np
import pytest
import scipy.stats

from avf_core.analysis.comparison import PROVEN
from avf_core.analysis.stepwise import STRETCHES, difference


def neighbours(count: int, steps: int, *, memory: float, seed: int = 0) -> np.ndarray:
    """Rows of an autoregression of one lag, of deviation 1."""
    generator = np.random.default_rng(seed)
    found = generator.normal(size=(count, steps))
    for t in range(1, steps):
        found[:, t] = memory * found[:, t - 1] + (1.0 - memory**2) ** 0.5 * found[:, t]
    return found


def test_stretches_are_the_cases_of_students_t() -> None:
    """As scipy has it of their means, whatever the order of the two."""
    first, second = neighbours(2, 1007, memory=0.5)
    found = difference(first, second)
    means = [part.mean() for part in np.array_split(first - second, STRETCHES)]
    expected = scipy.stats.ttest_1samp(means, 0.0)
    assert found.mean == pytest.approx(float((first - second).mean()))
    assert found.standard_error == pytest.approx(scipy.stats.sem(means))
    assert found.p_t == pytest.approx(float(expected.pvalue), rel=1e-6)
    turned = difference(second, first)
    assert (turned.mean, turned.p_t, turned.p_flips) == pytest.approx((-found.mean, found.p_t, found.p_flips))


def test_the_signs_are_flipped_as_scipy_flips_them() -> None:
    """To what 20,000 random flips can say."""
    first, second = neighbours(2, 800, memory=0.9, seed=4)
    found = difference(first, second)
    means = np.array([part.mean() for part in np.array_split(first - second, STRETCHES)])
    expected = scipy.stats.permutation_test((means,), np.sum, permutation_type="samples", n_resamples=20_000, rng=1)
    assert found.p_flips == pytest.approx(expected.pvalue, abs=0.015)


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_neighbours_that_err_alike_are_no_proof(memory: float) -> None:
    """Of 400 pairs without a difference fewer than 3 % are called proven, as the level of 1 % has it.

    Were steps taken for independent cases, more than half would be, where neighbours are alike.
    """
    gaps = neighbours(400, 1000, memory=memory, seed=1)
    nothing = np.zeros(1000)
    assert np.mean([difference(row, nothing).proven for row in gaps]) < 0.03
    if memory:
        assert np.mean(scipy.stats.ttest_1samp(gaps, 0.0, axis=1).pvalue < PROVEN) > 0.4


def test_a_difference_is_found() -> None:
    """Of 100 pairs that are half a deviation apart nearly all are proven."""
    gaps = neighbours(100, 1000, memory=0.5, seed=2) - 0.5
    found = [difference(row, np.zeros(1000)) for row in gaps]
    assert np.mean([one.proven for one in found]) > 0.95
    assert found[0].said.startswith("p = ")


def test_what_was_not_scored_counts_for_nothing() -> None:
    """NaN in either; and too few steps are not tested."""
    first, second = neighbours(2, 100, memory=0.0)
    kept = np.delete(np.arange(100), [3, 50])
    holed, other = first.copy(), second.copy()
    holed[3] = other[50] = np.nan
    assert difference(holed, other) == difference(first[kept], second[kept])
    few = difference(first[:39], second[:39])
    assert (few.standard_error, few.p_t, few.proven) == (None, None, False)
    assert few.said == "unproven: too few steps to test"
    assert np.isnan(difference(np.zeros(0), np.zeros(0)).mean)


@pytest.mark.parametrize(("apart", "proven"), [(0.0, False), (0.25, True)])
def test_steps_without_any_noise(apart: float, proven: bool) -> None:
    """The same everywhere: equal is equal, and a difference is one."""
    found = difference(np.full(200, apart), np.zeros(200))
    assert (found.standard_error, found.proven) == (0.0, proven)
