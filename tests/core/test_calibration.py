"""Ranks, coverage and CRPS against scipy, closed forms, and data whose distribution is known."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from avf_core.analysis.calibration import (
    calibrate,
    crps,
    transform,
    uniformity,
)
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter
from avf_core.inference import exact
from avf_core.models import lgssm
from tests.support.lgssm import random_model, simulate

from .pairs import make


def filter_of(model: lgssm.Model) -> Filter:
    """The model with its exact conditional posterior."""
    return Filter(model, exact.Inference(exact.Config(), model))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("count", [2, 5, 50])
def test_crps_of_gaussian_samples_is_the_closed_form(count: int) -> None:
    """Without bias even for two samples: the mean over many draws is that of Gneiting and Raftery (2007), eq. 21."""
    x = torch.tensor([[-2.0, 0.0, 0.7]], dtype=torch.float64)
    found = crps(normal(20000, count, 3), x.expand(20000, 3)).numpy()
    z = x[0].numpy()
    expected = z * (2.0 * stats.norm.cdf(z) - 1.0) + 2.0 * stats.norm.pdf(z) - 1.0 / np.sqrt(np.pi)
    assert np.all(np.abs(found.mean(0) - expected) < 4.0 * found.std(0) / 20000**0.5)


def test_crps_is_its_definition() -> None:
    """Brute force over all pairs of different samples; for binary samples the fair Brier score."""
    samples, x = normal(4, 7, 2), normal(4, 2, seed=1)
    pairs = (samples[:, :, None] - samples[:, None]).abs().sum((1, 2)) / (7 * 6)
    expected = (samples - x[:, None]).abs().mean(1) - 0.5 * pairs
    torch.testing.assert_close(crps(samples, x), expected)
    binary = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0]).reshape(1, 5, 1)
    assert float(crps(binary, torch.ones(1, 1))) == pytest.approx(0.4 - 0.5 * 2 * 6 / 20)


def test_the_transform_is_uniform_for_exchangeable_data() -> None:
    """Continuous and binary: x drawn as the samples are."""
    filter = make("srnn-direct")
    belief = filter.initial(torch.arange(20000))
    for draw in (normal(20000, 10, 1), (normal(20000, 10, 1) > 1.2).double()):
        found = transform(draw[:, 1:], draw[:, 0], belief)[:, 0].numpy()
        assert stats.kstest(found, "uniform").pvalue > 0.01


def test_uniformity_is_scipys_chi_squared_test() -> None:
    """For each row of counts; an empty one says nothing."""
    counts = torch.tensor([[10, 12, 9, 14], [100, 180, 90, 20], [0, 0, 0, 0]])
    found = uniformity(counts)
    for row in range(2):
        assert float(found[row]) == pytest.approx(stats.chisquare(counts[row].numpy()).pvalue, rel=1e-9)
    assert float(found[2]) == 1.0


def other(model: lgssm.Model, *, noise: float = 1.0, emission: float = 1.0) -> lgssm.Model:
    """The model with another noise variance or emission."""
    return lgssm.Model.from_matrices(
        dynamics=model.dynamics,
        emission=emission * model.emission,
        initial_mean=model.initial_mean,
        initial_variance=model.initial_log_variance.exp(),
        process_variance=model.process_log_variance.exp(),
        noise_variance=noise * model.noise_log_variance.exp(),
    ).requires_grad_(False)


def test_a_true_model_is_calibrated_and_wrong_ones_are_not() -> None:
    """Coverage within 2 percent and uniform ranks for the truth; too narrow, or too wide, is seen as such."""
    model = random_model(2, 2)
    sequences = list(simulate(model, 20, 150, seed=2).numpy().transpose(1, 0, 2))
    right = calibrate(filter_of(model), sequences, particles=64, max_rows=16384)
    np.testing.assert_allclose(right.coverage, right.levels, atol=0.02)
    assert right.uniformity > 0.01
    assert right.values == 20 * 150 * 2 == sum(right.rank_histogram)
    narrow = calibrate(filter_of(other(model, noise=0.1)), sequences, particles=16)
    assert narrow.coverage[2] < 0.87
    wide = calibrate(filter_of(other(model, noise=9.0)), sequences, particles=16)
    assert wide.coverage[0] > 0.6
    assert max(narrow.uniformity, wide.uniformity) < 1e-4
    edges = [narrow.rank_histogram[0] + narrow.rank_histogram[-1], wide.rank_histogram[0] + wide.rank_histogram[-1]]
    assert edges[0] > 0.2 * right.values > edges[1]
    assert right.crps < min(narrow.crps, wide.crps)
    assert json.loads(json.dumps(right.as_dict()))["values"] == right.values


def test_missing_values_are_not_counted() -> None:
    """And the rest is calibrated as before."""
    model = random_model(2, 2)
    xs = simulate(model, 20, 100, seed=2).numpy().transpose(1, 0, 2).copy()
    hidden = np.random.default_rng(0).random(xs.shape) < 0.3
    xs[hidden] = np.nan
    found = calibrate(filter_of(model), list(xs), particles=32, max_rows=16384)
    assert found.values == int((~hidden).sum())
    np.testing.assert_allclose(found.coverage, found.levels, atol=0.03)


def test_mistakes_are_typed_errors() -> None:
    """Of numbers, and of data with nothing to predict."""
    filter = make("lgssm-exact")
    with pytest.raises(ConfigurationError, match="at least 9"):
        calibrate(filter, [np.zeros((2, 3))], samples=3)
    with pytest.raises(DataError, match="at least one observed value"):
        calibrate(filter, [np.full((2, 3), np.nan)])
