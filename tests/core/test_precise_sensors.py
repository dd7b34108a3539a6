"""The linear Gaussian model in float32 with precise sensors, against a Kalman filter of fifty digits (mpmath)."""

from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from avf_core.distributions import FullGaussian, Gaussian
from avf_core.filtering import Filter
from avf_core.inference import exact
from avf_core.inference import kalman as kalman_inference
from avf_core.models import lgssm

NOISES = (1.0, 1e-4, 1e-8, 1e-12)
SIZES = [(1, 2), (1, 4), (3, 6), (2, 2), (4, 3)]  # observation, latent


@dataclass
class Truth:
    """Filtered moments and evidence of every step, and det of the first posterior's precision times its diagonal."""

    means: np.ndarray
    covariances: np.ndarray
    evidences: np.ndarray


def system(size: int, latent: int, noise: float, seed: int) -> lgssm.Model:
    """Correlated dynamics and random sensors, in float32."""
    generator = torch.Generator().manual_seed(seed)
    return lgssm.Model.from_matrices(
        dynamics=0.9 * torch.linalg.qr(torch.randn(latent, latent, generator=generator)).Q,
        emission=torch.randn(size, latent, generator=generator),
        initial_mean=torch.randn(latent, generator=generator),
        initial_variance=torch.rand(latent, generator=generator) + 0.5,
        process_variance=torch.rand(latent, generator=generator) + 0.1,
        noise_variance=noise * (torch.rand(size, generator=generator) + 0.5),
    ).requires_grad_(False)


def matrix(tensor: Tensor) -> mpmath.matrix:
    """The exact values of float32 numbers."""
    return mpmath.matrix(tensor.double().tolist())


def variances(log_variance: Tensor) -> mpmath.matrix:
    """The diagonal matrix of the variances that a model means."""
    return mpmath.diag([mpmath.exp(mpmath.mpf(v)) for v in log_variance.double().tolist()])


def kalman(model: lgssm.Model, xs: Tensor, seen: Tensor) -> Truth:
    """The textbook's filter of one sequence, in fifty digits: only the rows that are seen measure."""
    with mpmath.workdps(50):
        a, c, q = matrix(model.dynamics), matrix(model.emission), variances(model.process_log_variance)
        r = variances(model.noise_log_variance)
        mean, covariance = matrix(model.initial_mean), variances(model.initial_log_variance)
        means, covariances, evidences = [], [], []
        for t, x in enumerate(xs):
            if t:
                mean, covariance = a * mean, a * covariance * a.T + q
            rows = [i for i, there in enumerate(seen[t].tolist()) if there]
            evidence = mpmath.mpf(0)
            if rows:
                h = mpmath.matrix([[c[i, j] for j in range(c.cols)] for i in rows])
                error = mpmath.matrix([mpmath.mpf(float(x[i])) for i in rows]) - h * mean
                s = h * covariance * h.T + mpmath.diag([r[i, i] for i in rows])
                inverse = s**-1
                quadratic = (error.T * inverse * error)[0]
                evidence = -(len(rows) * mpmath.log(2 * mpmath.pi) + mpmath.log(mpmath.det(s)) + quadratic) / 2
                gain = covariance * h.T * inverse
                mean, covariance = mean + gain * error, covariance - gain * h * covariance
            means.append([float(v) for v in mean])
            covariances.append([[float(v) for v in row] for row in covariance.tolist()])
            evidences.append(float(evidence))
    return Truth(means=np.array(means), covariances=np.array(covariances), evidences=np.array(evidences))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("size", "latent"), SIZES)
def test_the_kalman_filter_stands_any_sensor(size: int, latent: int, noise: float) -> None:
    """Moments and evidence in float32, with and without gaps, are those of fifty digits, rounded."""
    model = system(size, latent, noise, seed=size)
    xs = torch.randn(6, 1, size, generator=torch.Generator().manual_seed(1))
    seen = torch.rand(6, size, generator=torch.Generator().manual_seed(2)) < 0.7
    for observed in (torch.ones_like(seen), seen):
        truth = kalman(model, xs[:, 0], observed)
        found = exact.kalman_filter(model, xs, observed[:, None])
        assert found.mean.dtype == torch.float32
        np.testing.assert_allclose(found.mean[:, 0], truth.means, rtol=2e-5, atol=2e-5 * np.abs(truth.means).max())
        np.testing.assert_allclose(found.covariance[:, 0], truth.covariances, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.log_evidence[:, 0], truth.evidences, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("size", "latent"), SIZES)
def test_a_belief_in_float32_stands_any_sensor(size: int, latent: int, noise: float) -> None:
    """Though rounded between steps: moments, evidence and the likelihood's variance, with and without gaps."""
    model = system(size, latent, noise, seed=size)
    filter = Filter(model, kalman_inference.Inference(kalman_inference.Config(), model))
    xs = torch.randn(6, 1, size, generator=torch.Generator().manual_seed(1))
    seen = torch.rand(6, size, generator=torch.Generator().manual_seed(2)) < 0.7
    emission = model.emission.double().numpy()
    for observed in (torch.ones_like(seen), seen):
        truth = kalman(model, xs[:, 0], observed)
        _, found = filter.scan(filter.initial(torch.tensor([0])), xs, observed=observed[:, None])
        assert isinstance(found.posterior, FullGaussian)
        assert isinstance(found.likelihood, Gaussian)
        scale = found.posterior.scale[:, 0].double()
        means = found.posterior.mean[:, 0]
        np.testing.assert_allclose(means, truth.means, rtol=2e-5, atol=2e-5 * np.abs(truth.means).max())
        np.testing.assert_allclose(scale @ scale.mT, truth.covariances, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.free_energy[:, 0], -truth.evidences, rtol=2e-5, atol=1e-5)
        known = np.einsum("ol,tlm,om->to", emission, truth.covariances, emission)
        expected = known + model.noise_log_variance.double().exp().numpy()
        if noise > 1e-6:  # else the truth's own covariance, in float64, has too few digits
            np.testing.assert_allclose(found.likelihood.log_variance[:, 0].exp(), expected, rtol=1e-3)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("size", "latent"), SIZES)
def test_exact_inference_stands_any_sensor(size: int, latent: int, noise: float) -> None:
    """The first posterior is the Kalman filter's, full or mean-field; energies are finite."""
    model = system(size, latent, noise, seed=10 + size)
    xs = torch.randn(4, 3, size, generator=torch.Generator().manual_seed(3))
    seeds = torch.arange(3)
    for row in range(3):
        truth = kalman(model, xs[:1, row], torch.ones(1, size, dtype=torch.bool))
        filter = Filter(model, exact.Inference(exact.Config(), model))
        posterior = filter.scan(filter.initial(seeds), xs)[1].posterior
        assert isinstance(posterior, FullGaussian)
        scale = posterior.scale[0, row].double()
        np.testing.assert_allclose(posterior.mean[0, row], truth.means[0], rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(scale @ scale.mT, truth.covariances[0], rtol=1e-5, atol=1e-6)
        assert bool((torch.triu(scale, 1) == 0.0).all())
        assert bool((scale.diagonal() > 0.0).all())
        field = Filter(model, exact.Inference(exact.Config(covariance="diagonal"), model))
        _, estimates = field.scan(field.initial(seeds), xs)
        assert isinstance(estimates.posterior, Gaussian)
        expected = 1.0 / np.diag(np.linalg.inv(truth.covariances[0])) if noise > 1e-6 else None
        if expected is not None:
            np.testing.assert_allclose(estimates.posterior.log_variance[0, row].exp(), expected, rtol=1e-3)
        assert bool(estimates.free_energy.isfinite().all())


@pytest.mark.parametrize("noise", NOISES)
def test_the_greedy_optimum_of_one_step_is_the_evidence(noise: float) -> None:
    """With a full covariance, whatever the sensor."""
    model = system(2, 5, noise, seed=4)
    xs = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(5))
    found = exact.greedy_optimum(model, xs, covariance="full")
    for row in range(4):
        truth = kalman(model, xs[:, row], torch.ones(1, 2, dtype=torch.bool))
        np.testing.assert_allclose(found[0, row], -truth.evidences[0], rtol=2e-5, atol=1e-5)
    assert bool((exact.greedy_optimum(model, xs, covariance="diagonal") >= found - 1e-4).all())


def test_what_stands_behind_a_gap_is_not_read() -> None:
    """NaN, infinities and huge numbers in the place of what is not observed change no bit."""
    model = system(3, 4, 1e-6, seed=6)
    xs = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(7))
    observed = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(8)) < 0.6
    _, prior = model.predict(model.initial(2))
    first = exact.kalman_filter(model, xs, observed)
    for behind in (float("nan"), float("inf"), 1e30, 0.0):
        changed = torch.where(observed, xs, behind)
        again = exact.kalman_filter(model, changed, observed)
        assert torch.equal(first.mean, again.mean)
        assert torch.equal(first.covariance, again.covariance)
        assert torch.equal(first.log_evidence, again.log_evidence)
        for covariance in ("full", "diagonal"):
            one, other = (
                exact.greedy_posterior(model, prior, x[0], observed[0], covariance=covariance) for x in (xs, changed)
            )
            assert torch.equal(one.mean, other.mean)
