"""`avf compare`: differences have known answers, and p-values are uniform where there is no difference."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner

from avf_core.analysis.comparison import compare, compared, flipped
from avf_core.analysis.evaluation import APART, evaluate
from avf_core.commands.compare import command
from avf_core.configuration import build
from avf_core.errors import DataError
from tests.core.pairs import PAIRS
from tests.support.training import melodies

pytestmark = pytest.mark.usefixtures("shapes_unchecked")

EQUAL = np.full(12, 10)


def energies(seed: int, sequences: int = 12, seeds: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(70.0, 5.0, size=(seeds, sequences))


def test_a_constant_difference_is_found_as_it_is() -> None:
    """Half a nat a step, whatever the lengths and the noise that both share; no chance gives that twelve times."""
    steps = np.arange(5, 17)
    second = energies(0)
    found = compared(second - 0.5 * steps, second, steps)
    assert found.difference == pytest.approx(-0.5)
    assert found.first - found.second == pytest.approx(-0.5)
    assert found.standard_error == pytest.approx(0.0, abs=1e-12)
    assert found.noise_error == pytest.approx(0.0, abs=1e-12)
    assert found.p_t < 1e-9
    assert found.p_flips == pytest.approx(2 / 2**12)
    assert [pair.difference for pair in found.by_sequence] == pytest.approx([-0.5] * 12)
    assert (found.steps, found.sequences, found.seeds) == (int(steps.sum()), 12, 3)


def test_of_sequences_of_one_length_it_is_the_paired_t_test() -> None:
    """scipy's, of the means over the noise."""
    first, second = energies(1), energies(2)
    found = compared(first, second, EQUAL)
    expected = scipy.stats.ttest_rel(first.mean(0), second.mean(0))
    assert (found.t, found.p_t) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.difference == pytest.approx((first - second).mean() / 10)


def test_flips_of_signs_are_scipys_permutations() -> None:
    """All of eight; of thirty, random ones come near."""
    few, many = (np.random.default_rng(3).normal(0.4, 1.0, size=n) for n in (8, 30))
    for gaps, tolerance in ((few, 1e-12), (many, 0.01)):
        expected = scipy.stats.permutation_test(
            (gaps,), np.sum, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(4)
        )
        assert flipped(gaps) == pytest.approx(expected.pvalue, abs=tolerance)


def test_p_values_are_uniform_where_there_is_no_difference() -> None:
    """Of 400 data sets of 25 sequences each, of different lengths, that differ by noise only."""
    generator = np.random.default_rng(5)
    steps = generator.integers(5, 60, size=25)
    found = [
        compared(generator.normal(7.0, 1.0, (1, 25)) * steps, generator.normal(7.0, 1.0, (1, 25)) * steps, steps)
        for _ in range(400)
    ]
    for ps in ([one.p_t for one in found], [one.p_flips for one in found]):
        assert scipy.stats.kstest(ps, "uniform").pvalue > 0.01


def test_sequences_without_steps_are_left_out_and_one_alone_is_refused() -> None:
    """They have nothing to be compared by."""
    steps = np.array([4, 0, 6])
    found = compared(np.array([[8.0, 0.0, 6.0]]), np.array([[4.0, 0.0, 12.0]]), steps)
    assert [pair.sequence for pair in found.by_sequence] == [0, 2]
    assert found.difference == pytest.approx((4.0 - 6.0) / 10)
    assert found.noise_error is None
    with pytest.raises(DataError, match="expected two or more"):
        compared(np.ones((1, 2)), np.ones((1, 2)), np.array([3, 0]))


def test_filters_are_compared_on_noise_that_they_share() -> None:
    """A filter and itself do not differ; two differ as `evaluate` says of each pass."""
    first, second = (build(PAIRS[name]).eval() for name in ("srnn-whitened", "srnn-direct"))
    sequences = melodies(5, 0)
    same = compare(first, first, sequences, seeds=2)
    assert (same.difference, same.t, same.p_t, same.p_flips) == (0.0, 0.0, 1.0, 1.0)
    done: list[tuple[int, int]] = []
    found = compare(first, second, sequences, seeds=2, seed=3, progress=lambda a, b: done.append((a, b)))
    passes = [
        evaluate(first, sequences, seed=seed, passes=1).free_energy_pooled
        - evaluate(second, sequences, seed=seed, passes=1).free_energy_pooled
        for seed in (3, 3 + APART)
    ]
    assert found.difference == pytest.approx(np.mean(passes))
    assert found.noise_error == pytest.approx(abs(passes[0] - passes[1]) / 2)
    assert done[-1] == (4 * 5 * 12, 4 * 5 * 12)
    assert done == sorted(done)


def said(arguments: list[str]) -> str:
    """What `avf compare` prints."""
    return CliRunner().invoke(command, arguments, catch_exceptions=False).stdout


def test_the_command_says_which_is_ahead(tmp_path: Path) -> None:
    """As JSON with every sequence, and as tables."""
    np.savez(tmp_path / "rolls.npz", test=np.eye(88, dtype=np.uint8)[np.arange(40)], test_offsets=[0, 10, 25, 40])
    common = ["srnn-jsb", "srnn-jsb-direct", "--data", str(tmp_path / "rolls.npz"), "--seeds", "2"]
    common += ["--data-kind", "arrays"]
    found = json.loads(said([*common, "--json"]))
    assert (found["a"]["model"], found["b"]["model"]) == ("srnn-jsb", "srnn-jsb-direct")
    assert [row["steps"] for row in found["by_sequence"]] == [10, 15, 15]
    assert found["difference"] == pytest.approx(found["first"] - found["second"])
    printed = said(common)
    assert "p, signs flipped" in printed
    assert f"{found['difference']:+.4f}" in printed
    refused = CliRunner().invoke(command, [*common, "--sequences", "1"])
    assert (refused.exit_code, "not in the range" in refused.stderr) == (2, True)
