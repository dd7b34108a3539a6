"""Particles against pykalman: evidence, filtered moments, resampling; and the laws of the filter."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from avf_core import noise
from avf_core.analysis import particles
from avf_core.distributions import FullGaussian, log_density
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference import exact
from avf_core.trees import tree_map
from tests.support.lgssm import independent, random_model, simulate

from .pairs import make, observations

pytestmark = pytest.mark.slow


def run(filter: Filter, xs: torch.Tensor, count: int, **options: object) -> tuple[particles.Particles, list[Any]]:
    """All weighings of a stretch, with sequences seeded from 0."""
    cloud = particles.initial(filter, torch.arange(xs.shape[1]), count=count)
    weighings = []
    for x in xs:
        cloud, weighing = particles.step(filter, cloud, x, **options)  # type: ignore[arg-type]
        weighings.append(weighing)
    return cloud, weighings


@pytest.mark.parametrize("resampler", [particles.systematic, particles.multinomial])
@pytest.mark.parametrize(("size", "latent"), [(1, 1), (2, 2)])
def test_the_evidence_of_1024_particles_is_pykalmans(size: int, latent: int, resampler: particles.Resampler) -> None:
    """Within 0.01 nats per step, sequence by sequence; and the particles' moments are the filtered ones."""
    model = random_model(size, latent)
    filter = Filter(model, exact.Inference(exact.Config(), model))
    xs = simulate(model, 40, 4)
    _, weighings = run(filter, xs, 1024, resampler=resampler)
    evidence = torch.stack([w.log_evidence for w in weighings])
    reference = independent(model)
    for row in range(4):
        x = xs[:, row].numpy()
        assert abs(float(evidence[:, row].sum()) - reference.loglikelihood(x)) / 40 < 0.01
        means, covariances = reference.filter(x)
        last = weighings[-1]
        weights = last.log_weights[row].exp()
        z = last.estimate.z.reshape(4, 1024, latent)[row]
        mean = weights @ z
        spread = (z - mean).T @ (weights[:, None] * (z - mean))
        deviation = np.sqrt(np.diag(covariances[-1]))
        np.testing.assert_allclose(mean, means[-1], atol=float(5.0 * deviation.max() / 500**0.5))
        np.testing.assert_allclose(spread, covariances[-1], atol=float(0.3 * deviation.max() ** 2))
    assert any(bool(w.resampled.any()) for w in weighings)
    assert all(1.0 <= float(w.effective.min()) <= float(w.effective.max()) <= 1024.0 + 1e-6 for w in weighings)


def test_one_particle_is_the_row_of_the_filter(pair: Filter) -> None:
    """Same seed, same latents; and its log-weight is a sample of -F, whose KL part is drawn rather than exact."""
    xs = observations(pair, 4, 5)
    _, expected = pair.scan(pair.initial(torch.arange(5)), xs)
    _, weighings = run(pair, xs, 1)
    z = torch.stack([w.estimate.z for w in weighings])
    torch.testing.assert_close(z, expected.z)
    for t, w in enumerate(weighings):
        drawn = w.log_evidence.float() + expected.reconstruction[t]
        assert bool(torch.isfinite(drawn).all())
        assert bool(w.effective.eq(1.0).all())


def test_the_log_weights_average_to_the_free_energy() -> None:
    """Over many rows of one step, -log w has the mean that the closed KL gives, for both forms of posterior."""
    for name in ("lgssm-exact", "lgssm-mean-field", "srnn-gaussian"):
        filter = make(name, torch.float64)
        x = observations(filter, 1, 1)[0].expand(4000, -1)
        _, estimate = filter.step(filter.initial(torch.arange(4000)), x)
        difference = -particles.log_importance(estimate) - estimate.free_energy
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


@pytest.mark.parametrize("resampler", [particles.systematic, particles.multinomial])
def test_resampling_is_unbiased(resampler: particles.Resampler) -> None:
    """Each particle is drawn as often as its weight says; systematically, to the nearest whole number."""
    log_weights = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0], dtype=torch.float64).log().expand(20000, 5)
    drawn = noise.uniform(torch.arange(20000), torch.zeros(20000, dtype=torch.int64), streams=[9], size=8)[0]
    chosen = resampler(log_weights, drawn)
    counts = torch.stack([(chosen == k).sum(-1) for k in range(5)], -1).double()
    expected = 8.0 * log_weights[0].exp()
    error = counts.std(0) / 20000**0.5
    assert bool(((counts.mean(0) - expected).abs() <= 4.0 * error + 1e-12).all())
    if resampler is particles.systematic:
        assert bool(((counts - expected).abs() < 1.0).all())


def test_a_sequence_has_the_same_particles_alone_and_in_a_batch(pair: Filter) -> None:
    """Also where other sequences end earlier."""
    xs = observations(pair, 5, 3)
    _, together = run(pair, xs, 8)
    cloud = particles.initial(pair, torch.arange(3), count=8)
    for t, x in enumerate(xs):
        if t == 2:
            cloud = cloud.first(1)
        cloud, weighing = particles.step(pair, cloud, x[: len(cloud.seed)])
        torch.testing.assert_close(weighing.log_evidence[:1], together[t].log_evidence[:1], rtol=1e-4, atol=1e-4)


def test_a_step_with_nothing_observed_has_no_evidence(pair: Filter) -> None:
    """And leaves the weights as they were, while masked dimensions may hold NaN."""
    xs = observations(pair, 3, 2)
    cloud, _ = run(pair, xs, 8)
    hidden = torch.full_like(xs[0], float("nan"))
    following, weighing = particles.step(pair, cloud, hidden, observed=torch.zeros_like(hidden, dtype=torch.bool))
    assert float(weighing.log_evidence.abs().max()) < 1e-6
    torch.testing.assert_close(weighing.log_weights, cloud.log_weights, rtol=1e-4, atol=1e-4)
    tree_map(lambda t: torch.testing.assert_close(t.isnan().any(), torch.tensor(False)) or t, following)


def test_no_particles_are_refused() -> None:
    """The error says how many there must be."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        particles.initial(make("srnn-direct"), torch.arange(2), count=0)
