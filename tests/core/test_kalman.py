"""The procedure `kalman`: moments, evidence, coverage, forecasts and gradients against a filter written in numpy."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from avf_core.analysis.evaluation import evaluate
from avf_core.analysis.forecasting import forecast, impute
from avf_core.analysis.monitoring import monitor
from avf_core.distributions import FullGaussian, Gaussian
from avf_core.errors import ConfigurationError
from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.inference import exact, kalman
from avf_core.mixtures import Mixture
from avf_core.models import lgssm
from avf_core.smoothing import last_latents
from avf_core.training import em
from avf_core.trees import take
from tests.support.comparing import exact as same
from tests.support.kalman import Moments, Step, ahead
from tests.support.kalman import kalman as by_numpy
from tests.support.lgssm import independent, random_model, simulate, simulate_all

from .pairs import make

SYSTEMS = [(1, 1, False), (2, 2, False), (3, 2, True), (4, 3, False), (2, 4, True)]  # observation, latent, offsets
TIME, BATCH = 30, 3
INSIDE_90 = 1.6448536269514722  # deviations


def filter_of(model: lgssm.Model) -> Filter:
    """The model with its Kalman filter."""
    return Filter(model, kalman.Inference(kalman.Config(), model))


def seen(xs: Tensor, *, masked: bool) -> Tensor:
    """Everything; or masks by dimension, a gap of three steps, and one that begins a sequence."""
    observed = torch.ones_like(xs, dtype=torch.bool)
    if masked:
        observed = torch.rand(xs.shape, generator=torch.Generator().manual_seed(1)) > 0.4
        observed[10:13] = False
        observed[0, 0] = False
    return observed


def truths(model: lgssm.Model, xs: Tensor, observed: Tensor, row: int) -> list[Step]:
    """A row by the numpy filter."""
    return by_numpy(model, xs[:, row].double().numpy(), observed[:, row].numpy())


def moments(of: object, row: int) -> Moments:
    """Mean and covariance of a row."""
    assert isinstance(of, Gaussian | FullGaussian | Mixture)
    mean = of.mean[row].double().numpy()
    if not isinstance(of, FullGaussian):
        return Moments(mean, np.diag(of.log_variance[row].double().exp().numpy()))
    scale = of.scale[row].double().numpy()
    return Moments(mean, scale @ scale.T)


def check(found: Estimate, row: int, truth: Step, tolerance: float) -> None:
    """All that an estimate says of a row; of observations the wire has marginals."""
    for part in ("prior", "posterior", "prediction", "likelihood"):
        ours, theirs = moments(getattr(found, part), row), getattr(truth, part)
        covariance = theirs.covariance
        if part in ("prediction", "likelihood"):
            covariance = np.diag(np.diag(covariance))
        np.testing.assert_allclose(ours.mean, theirs.mean, atol=tolerance, rtol=tolerance, err_msg=part)
        np.testing.assert_allclose(ours.covariance, covariance, atol=tolerance, rtol=tolerance, err_msg=part)
    np.testing.assert_allclose(float(found.free_energy[row]), -truth.log_evidence, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("size", "latent", "offsets"), SYSTEMS)
def test_every_moment_and_the_evidence_are_the_kalman_filters(
    size: int, latent: int, offsets: bool, masked: bool, dtype: torch.dtype, tolerance: float
) -> None:
    """Prior, posterior, prediction, likelihood and F of every step, under masks and gaps too."""
    model = random_model(size, latent, offsets=offsets)
    xs = simulate(model, TIME, BATCH).to(dtype)
    model.to(dtype)
    observed = seen(xs, masked=masked)
    blanked = torch.where(observed, xs, float("nan"))
    filter = filter_of(model)
    _, found = filter.scan(filter.initial(torch.arange(BATCH)), blanked, observed=observed if masked else None)
    assert found.exact
    for row in range(BATCH):
        for t, truth in enumerate(truths(model, xs, observed, row)):
            check(take(found, t), row, truth, tolerance)
    assert float(found.free_energy[~observed.any(-1)].abs().sum()) == 0.0


@pytest.mark.parametrize("offsets", [False, True])
def test_posteriors_and_evidence_are_pykalmans(offsets: bool) -> None:
    """A filter that nobody here wrote, with a gap."""
    model = random_model(3, 2, offsets=offsets)
    xs = simulate(model, 20, 1)
    observed = torch.ones_like(xs, dtype=torch.bool)
    observed[[3, 4, 11]] = False
    filter = filter_of(model)
    _, found = filter.scan(filter.initial(torch.arange(1)), xs, observed=observed)
    masked = np.ma.asarray(xs[:, 0].numpy())
    masked[[3, 4, 11]] = np.ma.masked
    means, covariances = independent(model).filter(masked)
    assert isinstance(found.posterior, FullGaussian)
    np.testing.assert_allclose(found.posterior.mean[:, 0], means, atol=1e-9)
    np.testing.assert_allclose((found.posterior.scale @ found.posterior.scale.mT)[:, 0], covariances, atol=1e-9)
    assert abs(float(found.free_energy.sum()) + independent(model).loglikelihood(masked)) < 1e-9


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("size", "latent", "offsets"), SYSTEMS)
def test_ninety_percent_intervals_cover_ninety_percent(size: int, latent: int, offsets: bool, masked: bool) -> None:
    """Between 88 and 92, of latents and of what is predicted, on data that the model made."""
    model = random_model(size, latent, offsets=offsets)
    zs, xs = simulate_all(model, 40, 500, seed=3)
    observed = seen(xs, masked=masked)
    filter = filter_of(model)
    _, found = filter.scan(filter.initial(torch.arange(500)), xs, observed=observed)
    for truth, of in ((zs, found.prior), (zs, found.posterior), (xs, found.prediction)):
        inside = (truth - of.mean).abs() < INSIDE_90 * torch.exp(0.5 * of.log_variance)
        assert 0.88 < float(inside.double().mean()) < 0.92


def test_the_mean_is_nearer_to_the_latent_than_that_of_a_sampled_past() -> None:
    """As near as its own variance says, where a sample costs a quarter and more."""
    model = random_model(2, 2)
    zs, xs = simulate_all(model, 40, 500, seed=4)
    errors = []
    for inference in (kalman.Inference(kalman.Config(), model), exact.Inference(exact.Config(), model)):
        filter = Filter(model, inference)
        _, found = filter.scan(filter.initial(torch.arange(500)), xs)
        errors.append(float(((found.posterior.mean - zs) ** 2).mean()))
        if found.exact:
            np.testing.assert_allclose(errors[-1], float(found.posterior.log_variance.exp().mean()), rtol=0.03)
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize(("size", "latent", "offsets"), SYSTEMS)
def test_looking_back_is_the_fixed_lag_smoother(
    size: int, latent: int, offsets: bool, dtype: torch.dtype, tolerance: float
) -> None:
    """Moments of z_{t-3} given x_1..t, with a gap, against pykalman's smoother of every beginning."""
    model = random_model(size, latent, offsets=offsets)
    xs = simulate(model, 9, 1, seed=2)
    observed = torch.ones_like(xs, dtype=torch.bool)
    observed[[4, 7]] = False
    masked, reference = np.ma.asarray(xs[:, 0].numpy()), independent(model)
    masked[[4, 7]] = np.ma.masked
    filter = filter_of(model).to(dtype)
    belief, found = filter.scan(filter.initial(torch.arange(1), lag=3), xs.to(dtype), observed=observed)
    assert found.smoothed is not None
    for t in range(1, 9):
        means, covariances = reference.smooth(masked[: t + 1])
        place = max(t - 3, 0)
        np.testing.assert_allclose(found.smoothed.mean[t, 0], means[place], atol=tolerance, rtol=tolerance)
        variance = found.smoothed.log_variance[t, 0].exp()
        np.testing.assert_allclose(variance, np.diag(covariances[place]), atol=tolerance, rtol=tolerance)
    rest = last_latents(belief)
    np.testing.assert_allclose(rest.mean[0], means[-3:], atol=tolerance, rtol=tolerance)


def test_nothing_depends_on_seeds() -> None:
    """A fork with another seed goes on with the same estimates."""
    model = random_model(3, 2)
    xs = simulate(model, 8, 2)
    filter = filter_of(model)
    middle, _ = filter.scan(filter.initial(torch.tensor([1, 2])), xs[:4])
    forked = dataclasses.replace(middle, seed=torch.tensor([30, 40]))
    _, one = filter.scan(middle, xs[4:])
    _, other = filter.scan(forked, xs[4:])
    same(one, dataclasses.replace(other, outlook=one.outlook))
    same(one.prediction, other.prediction)


@pytest.mark.parametrize("start", [0, 9])
def test_forecasts_are_the_kalman_predictive(start: int) -> None:
    """From one row of a belief, before the first observation too: moments within the Monte Carlo error."""
    model, count = random_model(3, 2, offsets=True), 20000
    xs = simulate(model, 9, 1, seed=5)
    filter = filter_of(model)
    belief = filter.initial(torch.tensor([7]))
    state = Moments(model.initial_mean.numpy(), np.diag(model.initial_log_variance.exp().numpy()))
    if start:
        belief, _ = filter.scan(belief, xs)
        state = truths(model, xs, seen(xs, masked=False), 0)[-1].posterior
    found = forecast(filter, belief, horizon=6, paths=count)
    for horizon in (1, 2, 6):
        truth = ahead(model, state, horizon if start else horizon - 1)
        spread = np.diag(truth.covariance)
        paths = found.paths[horizon - 1, 0].numpy()
        assert np.all(np.abs(paths.mean(0) - truth.mean) < 4.0 * np.sqrt(spread / count))
        error = 4.0 * np.sqrt((np.outer(spread, spread) + truth.covariance**2) / count)
        assert np.all(np.abs(np.cov(paths.T) - truth.covariance) < error)
        assert np.all(np.abs(found.mean[horizon - 1, 0].numpy() - truth.mean) < 4.0 * np.sqrt(spread / count))
        np.testing.assert_allclose(found.variance[horizon - 1, 0], spread, rtol=0.05)


def test_one_particle_weighs_what_the_evidence_says() -> None:
    """The estimate of log p(x_t | x_<t) has no error, and no particle is worth more than another."""
    model = random_model(2, 3)
    xs = simulate(model, 6, 2)
    filter = filter_of(model)
    belief = filter.spread(torch.arange(2), particles=3)
    for t in range(6):
        belief, estimate = filter.step(belief, xs[t], threshold=1.0)
        for row in range(2):
            truth = truths(model, xs, seen(xs, masked=False), row)[t]
            np.testing.assert_allclose(-float(estimate.evidence_bound[row]), truth.log_evidence, atol=1e-9)
        torch.testing.assert_close(estimate.effective_sample_size, torch.full((2,), 3.0, dtype=torch.float64))


def test_gaps_are_filled_by_what_was_seen_up_to_them() -> None:
    """Mean and deviation of every missing value, given the rest of its step and those before."""
    model, count = random_model(3, 2), 4000
    xs = simulate(model, 12, 1, seed=6)
    observed = seen(xs, masked=True)
    found = impute(filter_of(model), xs, observed, seeds=torch.arange(1), paths=count)
    for t, truth in enumerate(truths(model, xs, observed, 0)):
        for dimension in np.flatnonzero(~observed[t, 0].numpy()):
            expected, deviation = (
                truth.likelihood.mean[dimension],
                truth.likelihood.covariance[dimension, dimension] ** 0.5,
            )
            samples = found.samples[t, 0, :, dimension]
            np.testing.assert_allclose(float(found.mean[t, 0, dimension]), expected, atol=1e-9)
            assert abs(float(samples.mean()) - expected) < 4.0 * deviation / count**0.5
            np.testing.assert_allclose(float(samples.std()), deviation, rtol=0.06)


def test_training_follows_the_gradient_of_the_likelihood() -> None:
    """That of -log p(x_1..T) by central differences of the numpy filter, in every parameter."""
    model = random_model(2, 2, offsets=True).requires_grad_(True)
    xs = simulate(model, 6, 2).detach()
    clip = em.Clip.whole(xs, torch.ones(6, 2, dtype=torch.bool), torch.arange(2))
    objective, totals = em.joint_free_energy(filter_of(model), clip, kl_weight=1.0)
    objective.backward()  # type: ignore[no-untyped-call]
    observed = seen(xs, masked=False)

    def energy() -> float:
        return -sum(step.log_evidence for row in range(2) for step in truths(model, xs, observed, row))

    with torch.no_grad():
        model.requires_grad_(False)
        np.testing.assert_allclose(float(totals.free_energy), energy(), rtol=1e-9)
        for parameter in model.parameters():
            assert parameter.grad is not None
            for place, slope in zip(np.ndindex(*parameter.shape), parameter.grad.reshape(-1).tolist(), strict=True):
                kept, energies = float(parameter[place]), []
                for moved in (kept + 1e-5, kept - 1e-5):
                    parameter[place] = moved
                    energies.append(energy())
                parameter[place] = kept
                np.testing.assert_allclose(slope, (energies[0] - energies[1]) / 2e-5 / 12.0, atol=1e-6)


def test_evaluation_is_the_evidence_and_the_gap_is_nothing() -> None:
    """Nats per step are those of the numpy filter; no posterior is better."""
    model = random_model(3, 2)
    xs = simulate(model, 10, 2)
    sequences = [xs[:, row].numpy() for row in range(2)]
    observed = seen(xs, masked=False)
    steps = [step for row in range(2) for step in truths(model, xs, observed, row)]
    found = evaluate(filter_of(model), sequences)
    np.testing.assert_allclose(found.free_energy_pooled, -np.mean([step.log_evidence for step in steps]), rtol=1e-9)
    monitored = monitor(filter_of(model), sequences, gap_steps=4)
    assert (monitored.gap, monitored.gap_steps) == (0.0, 8)


def test_another_model_is_refused() -> None:
    """The error names the model and what to do."""
    with pytest.raises(ConfigurationError, match=r"needs an LGSSM, not avf_core\.models\.srnn: use another"):
        kalman.Inference(kalman.Config(), make("srnn-direct").model)
