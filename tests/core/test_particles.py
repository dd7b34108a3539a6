"""Particles against pykalman: evidence, filtered moments, resampling; and the laws of the filter."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from avf_core import noise
from avf_core.distributions import FullGaussian, log_density
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference import exact as greedy
from avf_core.particles import multinomial, systematic
from avf_core.smoothing import weighted_moments
from avf_core.trees import take, tree_map
from avf_core.weighing import log_importance
from tests.support.comparing import assert_finite, exact
from tests.support.lgssm import independent, random_model, simulate

from .pairs import LISTED, make, observations

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("size", "latent"), [(1, 1), (2, 2)])
def test_the_evidence_of_1024_particles_is_pykalmans(size: int, latent: int) -> None:
    """Within 0.01 nats per step, sequence by sequence; and the particles' moments are the filtered ones."""
    model = random_model(size, latent)
    filter = Filter(model, greedy.Inference(greedy.Config(), model))
    xs = simulate(model, 40, 4)
    _, found = filter.scan(filter.initial(torch.arange(4), particles=1024), xs)
    assert found.particles is not None
    evidence, effective = -found.evidence_bound, found.effective_sample_size
    reference = independent(model)
    for row in range(4):
        x = xs[:, row].numpy()
        assert abs(float(evidence[:, row].sum()) - reference.loglikelihood(x)) / 40 < 0.01
        means, covariances = reference.filter(x)
        weights, z = found.particles.log_weights[-1, row].exp(), found.particles.z[-1, row]
        mean = weights @ z
        spread = (z - mean).T @ (weights[:, None] * (z - mean))
        deviation = np.sqrt(np.diag(covariances[-1]))
        np.testing.assert_allclose(mean, means[-1], atol=float(5.0 * deviation.max() / 500**0.5))
        np.testing.assert_allclose(spread, covariances[-1], atol=float(0.3 * deviation.max() ** 2))
    assert bool(found.particles.resampled.any())
    assert 1.0 <= float(effective.min()) <= float(effective.max()) <= 1024.0 + 1e-6


def test_the_first_of_two_particles_begins_as_the_row_of_the_filter(pair: Filter) -> None:
    """With the sequence's own seed it draws the same latent; its weight is a sample of -F, whose KL is not drawn."""
    x = observations(pair, 1, 5)[0]
    _, alone = pair.step(pair.initial(torch.arange(5)), x)
    _, found = pair.step(pair.spread(torch.arange(5), particles=2), x)
    assert found.particles is not None
    torch.testing.assert_close(found.particles.z[:, 0], alone.z)
    torch.testing.assert_close(alone.evidence_bound, alone.free_energy.double())
    assert bool(alone.effective_sample_size.eq(1.0).all())


def test_the_log_weights_average_to_the_free_energy() -> None:
    """Over many rows of one step, -log w has the mean that the closed KL gives, for both forms of posterior."""
    for name in ("lgssm-exact", "lgssm-mean-field", "srnn-gaussian"):
        filter = make(name, torch.float64)
        x = observations(filter, 1, 1)[0].expand(4000, -1)
        _, estimate = filter.step(filter.initial(torch.arange(4000)), x)
        difference = -log_importance(estimate) - estimate.free_energy
        assert abs(float(difference.mean())) < 4.0 * float(difference.std()) / 4000**0.5 + 1e-9


def test_density_of_a_full_gaussian_is_scipys() -> None:
    """Rows of random means and covariances."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.randn(3, 4, 4, generator=generator, dtype=torch.float64).tril(-1) + 0.7 * torch.eye(4)
    mean, z = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    found = log_density(FullGaussian(mean, scale), z)
    for row in range(3):
        reference = stats.multivariate_normal(mean[row], (scale[row] @ scale[row].T).numpy())
        assert float(found[row]) == pytest.approx(reference.logpdf(z[row].numpy()), abs=1e-10)


@pytest.mark.parametrize("resampler", [systematic, multinomial])
def test_resampling_is_unbiased(resampler: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Each particle is drawn as often as its weight says; systematically, to the nearest whole number."""
    log_weights = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0], dtype=torch.float64).log().expand(20000, 5)
    drawn = noise.uniform(torch.arange(20000), torch.zeros(20000, dtype=torch.int64), streams=[9], size=8)[0]
    chosen = resampler(log_weights, drawn)
    counts = torch.stack([(chosen == k).sum(-1) for k in range(5)], -1).double()
    expected = 8.0 * log_weights[0].exp()
    error = counts.std(0) / 20000**0.5
    assert bool(((counts.mean(0) - expected).abs() <= 4.0 * error + 1e-12).all())
    if resampler is systematic:
        assert bool(((counts - expected).abs() < 1.0).all())


def test_a_sequence_has_the_same_particles_alone_and_in_a_batch(pair: Filter) -> None:
    """Also where other sequences end earlier."""
    xs = observations(pair, 5, 3)
    _, together = pair.scan(pair.initial(torch.arange(3), particles=8), xs)
    belief = pair.initial(torch.arange(3), particles=8)
    for t, x in enumerate(xs):
        if t == 2:
            belief = take(belief, slice(0, 1))
        belief, found = pair.step(belief, x[: belief.batch_size])
        torch.testing.assert_close(found.evidence_bound[:1], together.evidence_bound[t, :1], rtol=1e-4, atol=1e-4)


def test_a_step_with_nothing_observed_has_no_evidence(pair: Filter) -> None:
    """And leaves the weights as they were, bit for bit, while masked dimensions may hold NaN."""
    xs = observations(pair, 3, 2)
    belief, _ = pair.scan(pair.spread(torch.arange(2), particles=8), xs)
    hidden = torch.full_like(xs[0], float("nan"))
    following, found = pair.step(belief, hidden, observed=torch.zeros_like(hidden, dtype=torch.bool))
    assert bool(found.evidence_bound.eq(0.0).all())
    assert torch.equal(following.particles["log_weights"], belief.particles["log_weights"])
    exact(pair.skip(belief, 1), following)
    tree_map(assert_finite, following)


@pytest.mark.parametrize("count", [0, -3, 1025])
def test_numbers_of_particles_that_make_no_sense_are_refused(count: int) -> None:
    """The error says how many there may be."""
    with pytest.raises(ConfigurationError, match="in \\[1, 1024\\]"):
        make("srnn-direct").initial(torch.arange(2), particles=count)


@pytest.mark.parametrize("lag", [1, 3])
def test_looking_back_is_the_fixed_lag_smoother(lag: int) -> None:
    """Moments of z_{t-lag} given x_1..t by many particles, against pykalman's smoother of every beginning."""
    model = random_model(2, 2)
    filter = Filter(model, greedy.Inference(greedy.Config(), model))
    xs = simulate(model, 8, 1, seed=4)
    _, found = filter.scan(filter.spread(torch.arange(1), particles=20000, lag=lag), xs)
    assert found.smoothed is not None
    for t in range(1, 8):
        means, covariances = independent(model).smooth(xs[: t + 1, 0].numpy())
        place = max(t - lag, 0)
        deviation = np.sqrt(np.diag(covariances[place]))
        np.testing.assert_allclose(found.smoothed.mean[t, 0], means[place], atol=0.06 * float(deviation.max()))
        np.testing.assert_allclose(found.smoothed.log_variance[t, 0].exp(), deviation**2, rtol=0.1)


def test_samples_of_one_ancestor_have_no_variance_and_others_theirs() -> None:
    """Whatever their weights; and of numbers far from zero, where rounding is coarse, it is numpy's of those near."""
    generator = torch.Generator().manual_seed(0)
    log_weights = torch.randn(3, 9, generator=generator, dtype=torch.float64).log_softmax(-1)
    ancestors = 1.0 + torch.rand(3, 1, 2, generator=generator, dtype=torch.float64)
    found = weighted_moments(ancestors.expand(-1, 9, -1), log_weights)
    assert bool((found.log_variance < -87.0).all())  # the least there is, that it stays finite
    exact(found.mean, ancestors[:, 0])
    apart = torch.randint(-4, 5, (3, 9, 2), generator=generator).double()
    far = weighted_moments(2.0**40 + apart, log_weights)
    for row, weights in enumerate(log_weights.exp().numpy()):
        variance = np.diag(np.cov(apart[row].numpy(), rowvar=False, aweights=weights))
        np.testing.assert_allclose(far.log_variance[row].exp(), variance, rtol=1e-9)


def test_skipped_steps_are_looked_back_on_too() -> None:
    """The belief after a gap is the same with its past, whether the gap was stepped or skipped."""
    filter = make("srnn-gaussian")
    xs = observations(filter, 3, 2)
    belief, _ = filter.scan(filter.initial(torch.arange(2), particles=5, lag=4), xs)
    nothing = torch.zeros_like(xs[:2], dtype=torch.bool)
    exact(filter.skip(belief, 2), filter.scan(belief, xs[:2], observed=nothing)[0])


@pytest.mark.parametrize(("particles", "lag"), [(1, 2), (8, -1), (8, 1025)])
def test_lags_that_make_no_sense_are_refused(particles: int, lag: int) -> None:
    """One path cannot look back, nobody looks ahead, and not for ever."""
    with pytest.raises(ConfigurationError, match="lag is"):
        make("srnn-direct").initial(torch.arange(2), particles=particles, lag=lag)


@pytest.mark.parametrize("kind", ["forward", "kalman"])
def test_particles_are_no_help_where_the_past_is_in_closed_form(kind: str) -> None:
    """Only the Kalman filter looks back so, by its one row; what is refused is not told to take particles."""
    name = next(name for name in LISTED if f"+{kind}." in name)
    with pytest.raises(ConfigurationError, match="only one row of the procedure kalman looks back"):
        make(name).spread(torch.arange(2), particles=8, lag=2)
    if kind != "kalman":
        with pytest.raises(ConfigurationError, match="only one row of the procedure kalman looks back"):
            make(name).initial(torch.arange(2), particles=8, lag=2)
