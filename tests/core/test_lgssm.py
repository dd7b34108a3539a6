"""The linear Gaussian model against an independent Kalman filter (pykalman), brute force and closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from avf_core.distributions import FullGaussian, Gaussian
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference import exact
from avf_core.models import lgssm
from tests.support.lgssm import independent, random_model, simulate

from .pairs import make, observations

DIMENSIONS = [(1, 1), (2, 2), (3, 2), (2, 4), (6, 6)]  # observation, latent


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize(("size", "latent"), DIMENSIONS)
def test_evidence_equals_pykalmans(size: int, latent: int, offsets: bool) -> None:
    """To 1e-9 in float64, with the filtered moments."""
    model = random_model(size, latent, offsets=offsets)
    xs = simulate(model, 30, 3)
    found = exact.kalman_filter(model, xs)
    reference = independent(model)
    for row in range(3):
        x = xs[:, row].numpy()
        assert abs(float(found.log_evidence[:, row].sum()) - reference.loglikelihood(x)) < 1e-9
        means, covariances = reference.filter(x)
        np.testing.assert_allclose(found.mean[:, row], means, atol=1e-9)
        np.testing.assert_allclose(found.covariance[:, row], covariances, atol=1e-9)


def test_missing_rows_agree_with_pykalman() -> None:
    """A masked step is a prediction."""
    model = random_model(3, 2)
    xs = simulate(model, 20, 1)
    observed = torch.ones_like(xs, dtype=torch.bool)
    observed[[3, 4, 11]] = False
    found = exact.kalman_filter(model, xs, observed)
    masked = np.ma.asarray(xs[:, 0].numpy())
    masked[[3, 4, 11]] = np.ma.masked
    means, covariances = independent(model).filter(masked)
    np.testing.assert_allclose(found.mean[:, 0], means, atol=1e-9)
    np.testing.assert_allclose(found.covariance[:, 0], covariances, atol=1e-9)
    assert float(found.log_evidence[[3, 4, 11]].abs().max()) == 0.0


def test_missing_dimensions_agree_with_the_marginal_model() -> None:
    """Masking a dimension is filtering with the model that has no such dimension."""
    model = random_model(3, 2)
    xs = simulate(model, 20, 2)
    observed = torch.ones_like(xs, dtype=torch.bool)
    observed[..., 1] = False
    kept = [0, 2]
    marginal = lgssm.Model.from_matrices(
        dynamics=model.dynamics,
        emission=model.emission[kept],
        initial_mean=model.initial_mean,
        initial_variance=model.initial_log_variance.exp(),
        process_variance=model.process_log_variance.exp(),
        noise_variance=model.noise_log_variance[kept].exp(),
    ).requires_grad_(False)
    torch.testing.assert_close(
        exact.kalman_filter(model, xs, observed).log_evidence,
        exact.kalman_filter(marginal, xs[..., kept]).log_evidence,
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize(("size", "latent"), DIMENSIONS)
def test_evidence_equals_the_joint_gaussians(size: int, latent: int) -> None:
    """Brute force: all observations of a short sequence are one Gaussian vector."""
    model, steps = random_model(size, latent), 4
    xs = simulate(model, steps, 1)
    a, c = model.dynamics.numpy(), model.emission.numpy()
    means, blocks = [], {}
    mean, spread = model.initial_mean.numpy(), np.diag(model.initial_log_variance.exp().numpy())
    for s in range(steps):
        means.append(c @ mean)
        for t in range(s, steps):
            blocks[s, t] = c @ spread @ np.linalg.matrix_power(a, t - s).T @ c.T
        mean, spread = a @ mean, a @ spread @ a.T + np.diag(model.process_log_variance.exp().numpy())
    joint = np.block([[blocks[s, t] if s <= t else blocks[t, s].T for t in range(steps)] for s in range(steps)])
    joint += np.kron(np.eye(steps), np.diag(model.noise_log_variance.exp().numpy()))
    expected = stats.multivariate_normal(np.concatenate(means), joint).logpdf(xs[:, 0].numpy().ravel())
    assert abs(float(exact.kalman_filter(model, xs).log_evidence.sum()) - expected) < 1e-9


@pytest.mark.parametrize(("size", "latent"), DIMENSIONS)
def test_at_one_step_the_full_posteriors_free_energy_is_the_evidence(size: int, latent: int) -> None:
    """F = -log p(x_1) exactly, from F's definition and from the greedy optimum's closed form."""
    model = random_model(size, latent)
    xs = simulate(model, 1, 5)
    evidence = -exact.kalman_filter(model, xs).log_evidence
    _, prior = model.predict(model.initial(5))
    posterior = exact.greedy_posterior(model, prior, xs[0], None, covariance="full")
    energy = exact.expected_free_energy(model, prior, posterior, xs[0])
    torch.testing.assert_close(energy, evidence[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(exact.greedy_optimum(model, xs, covariance="full"), evidence, rtol=0, atol=1e-9)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize(("size", "latent"), DIMENSIONS)
def test_the_exact_engine_reaches_the_greedy_optimum(size: int, latent: int, covariance: str) -> None:
    """Its F equals the closed form within 4 standard errors, and is not below the evidence; with offsets as without."""
    model = random_model(size, latent, offsets=latent > 1)
    batch = 2000
    xs = simulate(model, 6, batch)
    engine = exact.Inference(exact.Config(covariance=covariance), model)  # type: ignore[arg-type]
    filter = Filter(model, engine)
    _, estimates = filter.scan(filter.initial(torch.arange(batch)), xs)
    closed = exact.greedy_optimum(model, xs, covariance=covariance)  # type: ignore[arg-type]
    difference = (estimates.free_energy - closed).mean(0)
    error = float(difference.std()) / batch**0.5
    assert abs(float(difference.mean())) < 4.0 * error + 1e-9
    gap = (estimates.free_energy + exact.kalman_filter(model, xs).log_evidence).mean(0)
    assert float(gap.mean()) > -4.0 * float(gap.std()) / batch**0.5


def test_no_mean_field_posterior_is_better_than_the_closed_form() -> None:
    """Random changes of the mean-field optimum raise F of the step."""
    model = random_model(3, 3)
    xs = simulate(model, 1, 4)
    _, prior = model.predict(model.initial(4))
    best = exact.greedy_posterior(model, prior, xs[0], None, covariance="diagonal")
    assert isinstance(best, Gaussian)
    lowest = exact.expected_free_energy(model, prior, best, xs[0])
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        change = 0.1 * torch.randn(2, *best.mean.shape, generator=generator, dtype=torch.float64)
        other = Gaussian(best.mean + change[0], best.log_variance + change[1])
        assert bool((exact.expected_free_energy(model, prior, other, xs[0]) > lowest).all())


def test_exact_inference_under_a_mask_is_that_of_the_marginal_model() -> None:
    """A masked dimension has no weight in the posterior's precision."""
    filter = make("lgssm-exact", torch.float64)
    x = observations(filter, 1, 4)[0]
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[:, 1] = False
    _, estimate = filter.step(filter.initial(torch.arange(4)), x, observed=observed)
    assert isinstance(estimate.posterior, FullGaussian)
    model = filter.model
    assert isinstance(model, lgssm.Model)
    kalman = exact.kalman_filter(model, x[None], observed[None])
    torch.testing.assert_close(estimate.posterior.mean, kalman.mean[0])
    torch.testing.assert_close(estimate.posterior.scale @ estimate.posterior.scale.mT, kalman.covariance[0])


def test_exact_inference_of_another_model_is_refused() -> None:
    """The error names the model and what to do."""
    srnn = make("srnn-direct")
    with pytest.raises(ConfigurationError, match="needs an LGSSM"):
        exact.Inference(exact.Config(), srnn.model)
