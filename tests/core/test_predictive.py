"""Predictions that are predictive: against the Kalman filter, scipy's mixtures, and by what they cover."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from avf_core.analysis.predictive import predictive, recalibrate
from avf_core.distributions import Bernoulli, Gaussian
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference import exact as greedy
from avf_core.mixtures import Mixture
from avf_core.models import lgssm
from avf_core.recalibration import Recalibration
from tests.support.comparing import exact
from tests.support.kalman import kalman
from tests.support.lgssm import random_model, simulate, simulate_all

from .pairs import make, observations, one_of_each_model

pytestmark = pytest.mark.slow

SYSTEMS = [(1, 1, False), (2, 2, False), (3, 2, True), (2, 3, True), (4, 3, False)]


def greedy_filter(model: lgssm.Model, **config: object) -> Filter:
    """The filter whose rows have the best posterior given their sampled past."""
    return Filter(model, greedy.Inference(greedy.Config(**config), model))  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "latent", "offsets"), SYSTEMS)
def test_256_particles_are_the_kalman_filter(size: int, latent: int, offsets: bool) -> None:
    """The mean is within 0.15 deviations, and 90 % intervals of latent and prediction cover 88 to 92 %."""
    model = random_model(size, latent, offsets=offsets)
    zs, xs = simulate_all(model, 30, 40, seed=3)
    _, found = greedy_filter(model).scan(greedy_filter(model).initial(torch.arange(40), particles=256), xs)
    errors = []
    for row in range(4):
        steps = kalman(model, xs[:, row].numpy(), np.ones(xs[:, row].shape, dtype=bool))
        for t, step in enumerate(steps):
            off = found.posterior.mean[t, row].numpy() - step.posterior.mean
            errors.append(off / np.sqrt(np.diag(step.posterior.covariance)))
    assert np.sqrt(np.mean(np.square(errors))) < 0.15
    assert isinstance(found.posterior, Mixture)
    for truth, of in ((zs, found.posterior), (xs, found.prediction)):
        inside = (of.cdf(truth) - 0.5).abs() < 0.45
        assert 0.88 < float(inside.double().mean()) < 0.92


def test_samples_are_right_where_posteriors_are_not() -> None:
    """Mean-field posteriors of correlated latents are too narrow; the intervals of many particles cover as they say."""
    model = random_model(2, 3)
    zs, xs = simulate_all(model, 20, 40, seed=5)
    filter = greedy_filter(model, covariance="diagonal")
    _, found = filter.scan(filter.initial(torch.arange(40), particles=512), xs)
    assert isinstance(found.posterior, Mixture)
    inside = (found.posterior.cdf(zs) - 0.5).abs() < 0.45
    assert 0.88 < float(inside.double().mean()) < 0.92


def test_without_particles_a_prediction_has_the_priors_spread() -> None:
    """For the linear model in closed form: N(C m, C Q C' + R) given the sampled past."""
    model = random_model(3, 2)
    filter = greedy_filter(model)
    belief, _ = filter.scan(filter.initial(torch.arange(4)), simulate(model, 5, 4))
    found, (_, prior) = filter.prediction(belief), filter.predict(belief)
    c, q, r = (t.numpy() for t in (model.emission, model.process_log_variance.exp(), model.noise_log_variance.exp()))
    np.testing.assert_allclose(found.variance, np.tile(np.diag(c @ np.diag(q) @ c.T) + r, (4, 1)), rtol=1e-10)
    np.testing.assert_allclose(found.mean, prior.mean.numpy() @ c.T, rtol=1e-10)


@pytest.mark.parametrize("name", one_of_each_model())
def test_a_prediction_before_the_observation_is_the_estimates(name: str) -> None:
    """Asked of the belief or of the estimate after it; of one step or of a scan; also by particles."""
    pair = make(name)
    xs = observations(pair, 2, 2)
    for count in (1, 3):
        belief = pair.spread(torch.arange(2), particles=count)
        _, scanned = pair.scan(belief, xs)
        for t, x in enumerate(xs):
            before = pair.prediction(belief)
            belief, found = pair.step(belief, x)
            exact(before, found.prediction)
            torch.testing.assert_close(scanned.prediction.mean[t], before.mean, rtol=1e-4, atol=1e-5)


def test_more_samples_begin_with_the_fewer_and_converge() -> None:
    """To the mean over many draws of the latent, by torch's own noise."""
    filter = make("srnn-gaussian", torch.float64)
    belief, _ = filter.scan(filter.initial(torch.arange(2)), observations(filter, 4, 2))
    few, many = (filter.prediction(belief, samples=n) for n in (4, 4000))
    torch.testing.assert_close(many.components.mean[:, :4], few.components.mean)
    context, prior = filter.predict(belief)
    drawn = prior.mean + prior.log_variance.mul(0.5).exp() * torch.randn(20000, *prior.mean.shape, dtype=torch.float64)
    reference = filter.model.decode_samples(context, drawn)
    spread = reference.mean.std(0) / 4000**0.5
    assert bool(((many.mean - reference.mean.mean(0)).abs() < 6.0 * spread + 1e-3).all())


def test_quantiles_and_probabilities_of_a_mixture_are_scipys() -> None:
    """Of Gaussians by root finding; a mixture of zeros and ones is one of the mean probability."""
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 5, 7, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(5, 7, generator=generator, dtype=torch.float64).log().log_softmax(-1)
    mixture = Mixture(Gaussian(3.0 * mean, log_variance), weights)
    means, scales = 3.0 * mean.numpy(), np.exp(0.5 * log_variance.numpy())

    def reached(x: float, row: int, d: int, level: float) -> float:
        return float(weights[row].exp().numpy() @ stats.norm(means[row, :, d], scales[row, :, d]).cdf(x)) - level

    for level in (0.02, 0.5, 0.95):
        found = mixture.quantile(level)
        for row, d in ((0, 0), (3, 2)):
            root = optimize.brentq(lambda x, row=row, d=d, level=level: reached(x, row, d, level), -30.0, 30.0)
            assert float(found[row, d]) == pytest.approx(root, abs=1e-7)
        torch.testing.assert_close(mixture.cdf(found), torch.full_like(found, level))
    binary = Mixture(Bernoulli(mean), weights)
    ones = binary.quantile(0.7)
    assert bool((ones == (1.0 - binary.mean < 0.7).double()).all())
    with pytest.raises(ConfigurationError, match="prediction_samples"):
        Filter(make("srnn-direct").model, make("srnn-direct").inference, prediction_samples=0)


def test_a_model_that_is_wrong_about_its_noise_is_recalibrated() -> None:
    """Fitted on some sequences, bands of others cover what they say, by quantiles and by deviations."""
    model = random_model(2, 2)
    xs = simulate(model, 30, 200, seed=1)
    wrong = greedy_filter(
        lgssm.Model.from_matrices(
            dynamics=model.dynamics,
            emission=model.emission,
            initial_mean=model.initial_mean,
            initial_variance=model.initial_log_variance.exp(),
            process_variance=0.2 * model.process_log_variance.exp(),
            noise_variance=0.2 * model.noise_log_variance.exp(),
        ).requires_grad_(False)
    )
    sequences = [x.numpy() for x in xs.transpose(0, 1)]
    before = predictive(wrong, sequences[100:])
    assert before.coverage is not None
    assert before.coverage[1] < 0.75
    wrong.recalibration = recalibrate(wrong, sequences[:100])
    after = predictive(wrong, sequences[100:])
    assert after.coverage is not None
    assert after.band_90 is not None
    for level, covered in zip(after.levels, after.coverage, strict=True):
        assert covered == pytest.approx(level, abs=0.025)
    assert after.band_90 == pytest.approx(0.9, abs=0.025)
    assert wrong.recalibration is not None
    again = Recalibration.from_dict(wrong.recalibration.as_dict())
    assert again == wrong.recalibration
    u = torch.linspace(0.0, 1.0, 101, dtype=torch.float64)
    torch.testing.assert_close(again.saying(again.meaning(u)), u)
    with pytest.raises(ConfigurationError, match="no recalibration"):
        dataclasses.replace(again, found=again.found[::-1])


def test_probabilities_of_ones_are_counted_by_hand() -> None:
    """A model that says 0.5 of what always comes is wrong by a half; recalibration leaves zeros and ones alone."""
    filter = make("srnn-direct")
    filter.model.decoder[-1].weight.zero_()  # type: ignore[index, union-attr]
    filter.model.decoder[-1].bias.zero_()  # type: ignore[index, union-attr]
    ones = [np.ones((5, 6), dtype=np.float32)]
    found = predictive(filter, ones)
    assert found.calibration_error == pytest.approx(0.5, abs=1e-6)
    assert found.coverage is None
    assert found.values == 30
    assert recalibrate(filter, ones) is None
