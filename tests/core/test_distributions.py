"""Distributions against scipy and torch.distributions."""

import numpy as np
import torch
from scipy import stats

from avf_core.distributions import Bernoulli, FullGaussian, Gaussian


def random_gaussian(seed: int, size: int = 4) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(2, 3, size, generator=generator, dtype=torch.float64)
    return Gaussian(draw[0], draw[1])


def full(gaussian: Gaussian) -> FullGaussian:
    size = gaussian.mean.shape[-1]
    lower = torch.tril(torch.randn(3, size, size, dtype=torch.float64), -1) + torch.diag_embed(gaussian.deviation)
    return FullGaussian(gaussian.mean, lower)


def test_gaussian_log_density_equals_scipys() -> None:
    """log N(x; mean, variance), element by element."""
    g, x = random_gaussian(0), torch.randn(3, 4, dtype=torch.float64)
    expected = stats.norm(g.mean.numpy(), g.deviation.numpy()).logpdf(x.numpy())
    np.testing.assert_allclose(g.log_prob(x), expected, rtol=1e-12)


def test_kl_equals_that_of_torch_distributions() -> None:
    """Of diagonal and full ones, each against each."""
    p, q = random_gaussian(1), random_gaussian(2)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(p.mean, p.deviation), normal(q.mean, q.deviation))
    torch.testing.assert_close(p.kl(q), expected)
    many = torch.distributions.MultivariateNormal
    f = full(p)
    wide = torch.distributions.kl_divergence(
        many(f.mean, scale_tril=f.scale), many(q.mean, scale_tril=torch.diag_embed(q.deviation))
    )
    torch.testing.assert_close(f.total_kl(q), wide)
    g = full(q)
    covaried = many(g.mean, scale_tril=g.scale)
    for each, scale in ((f, f.scale), (p, torch.diag_embed(p.deviation))):
        expected = torch.distributions.kl_divergence(many(p.mean, scale_tril=scale), covaried)
        torch.testing.assert_close(each.total_kl(g), expected)


def test_full_gaussian_samples_have_its_covariance() -> None:
    """The covariance of many transformed draws is L L'."""
    torch.manual_seed(0)
    f = full(random_gaussian(3, size=2))
    draws = f.transform(torch.randn(200_000, 3, 2, dtype=torch.float64))
    for row in range(3):
        expected = f.scale[row] @ f.scale[row].T
        torch.testing.assert_close(torch.cov(draws[:, row].T), expected, rtol=0.03, atol=0.03)


def test_gaussian_quantiles_equal_scipys() -> None:
    """Sampling inverts the distribution function."""
    g = random_gaussian(4)
    u = torch.rand(3, 4, dtype=torch.float64)
    np.testing.assert_allclose(g.sample(u), stats.norm(g.mean, g.deviation).ppf(u), rtol=1e-9)


def test_bernoulli_log_probability_and_mean() -> None:
    """Logits far out give finite log-probabilities, and samples have the mean's frequency."""
    logits = torch.tensor([-200.0, -1.0, 0.0, 3.0, 200.0], dtype=torch.float64)
    b = Bernoulli(logits)
    expected = stats.bernoulli(torch.sigmoid(logits[1:4]).numpy()).logpmf(1)
    np.testing.assert_allclose(b.log_prob(torch.ones(5, dtype=torch.float64))[1:4], expected)
    assert b.log_prob(torch.ones(5, dtype=torch.float64))[0] == -200.0
    torch.manual_seed(0)
    drawn = b.sample(torch.rand(50_000, 5, dtype=torch.float64)).mean(0)
    torch.testing.assert_close(drawn, b.mean, atol=0.01, rtol=0.0)


def test_draws_are_finite_where_a_uniform_number_was_rounded_to_its_end() -> None:
    """Numbers next to 1 become 1 in float32 and bfloat16; the quantile there is the last finite one."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        ends = Gaussian(torch.zeros(2, dtype=dtype), torch.zeros(2, dtype=dtype)).sample(
            torch.tensor([0.0, 1.0]).to(dtype)
        )
        assert bool(ends.isfinite().all())
        assert ends.dtype == dtype
        assert 2.0 < -float(ends[0]) == float(ends[1])
