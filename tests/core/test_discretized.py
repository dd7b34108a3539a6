"""The discretised Gaussian against mpmath: values and gradients at any distance and for any bin."""

from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from avf_core.distributions import AuthorsDiscretizedGaussian, DiscretizedGaussian, Gaussian

DISTANCES = [0.0, 1e-6, 1e-3, 0.1, 0.9, 2.0, 9.9, 10.1, 40.0, 100.0, 1e4, 1e6, 1e9]  # in deviations
HALF_WIDTHS = [1e-7, 1e-4, 0.00099, 0.00101, 0.01, 0.0499, 0.0501, 0.3, 1.0, 5.0, 20.0, 100.0]  # in deviations
TOLERANCE = {torch.float32: 1e-5, torch.float64: 2e-12}


def grid(dtype: torch.dtype) -> list[tuple[float, float]]:
    """Distances and half-widths, as numbers of this precision."""
    return [
        (float(torch.tensor(a, dtype=dtype)), float(torch.tensor(h, dtype=dtype)))
        for a in DISTANCES
        for h in HALF_WIDTHS
    ]


def truth(a: float, h: float) -> tuple[float, float, float]:
    """log P of [a - h, a + h] under N(0, 1), and its derivatives by a and by the log-variance at 0."""
    with mpmath.workdps(60):
        centre, half = mpmath.mpf(a), mpmath.mpf(h)
        root = mpmath.sqrt(2)
        probability = (mpmath.erfc((centre - half) / root) - mpmath.erfc((centre + half) / root)) / 2
        low, high = mpmath.npdf(centre - half), mpmath.npdf(centre + half)
        by_a = (high - low) / probability
        by_log_variance = -(centre * by_a + half * (high + low) / probability) / 2
        return float(mpmath.log(probability)), float(by_a), float(by_log_variance)


def found(a: float, width: float, dtype: torch.dtype, sign: float = 1.0) -> tuple[float, float, float, float]:
    """log_prob at distance `a` of a standard Gaussian, and its gradients by x, mean and log-variance."""
    x, mean, log_variance = (torch.tensor([v], dtype=dtype, requires_grad=True) for v in (sign * a, 0.0, 0.0))
    value = DiscretizedGaussian(mean, log_variance, width).log_prob(x)
    value.backward()
    return tuple(float(t) for t in (value.detach(), x.grad, mean.grad, log_variance.grad))  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_equal_mpmaths(dtype: torch.dtype) -> None:
    """Far out and close, bins much smaller and much larger than the deviation; 1e9 deviations out too."""
    tolerance = TOLERANCE[dtype]
    for a, h in grid(dtype):
        value, by_x, by_mean, by_log_variance = found(a, 2.0 * h, dtype)
        expected, by_a, by_variance = truth(a, h)
        assert value == pytest.approx(expected, rel=tolerance, abs=tolerance), (a, h)
        assert by_x == pytest.approx(by_a, rel=tolerance, abs=1e-25), (a, h)
        assert by_mean == -by_x
        assert by_log_variance == pytest.approx(by_variance, rel=tolerance, abs=tolerance), (a, h)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_two_sides_are_mirror_images(dtype: torch.dtype) -> None:
    """At -a the value is that at a, and the slope points the other way."""
    for a, h in grid(dtype):
        value, by_x, _, by_log_variance = found(a, 2.0 * h, dtype)
        mirrored, mirrored_by_x, _, mirrored_by_log_variance = found(a, 2.0 * h, dtype, sign=-1.0)
        assert (mirrored, mirrored_by_log_variance) == (value, by_log_variance)
        assert mirrored_by_x == (-by_x if a else by_x)


def test_gradients_equal_finite_differences_where_all_three_forms_meet() -> None:
    """One tensor with elements of every form, in natural units, with mean and deviation of their own."""
    generator = torch.Generator().manual_seed(0)
    x, mean = 0.3 * torch.randn(2, 40, 25, generator=generator, dtype=torch.float64)
    log_variance = -16.0 + 18.0 * torch.rand(40, 25, generator=generator, dtype=torch.float64)
    inputs = [t.requires_grad_() for t in (x, mean, log_variance)]

    def log_prob(x: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        return DiscretizedGaussian(mean, log_variance, 1.0 / 256).log_prob(x).sum(-1)

    assert torch.autograd.gradcheck(log_prob, inputs, rtol=1e-5, atol=1e-4, fast_mode=True)


def test_the_gradient_of_an_expanded_log_variance_is_the_sum() -> None:
    """One log-variance shared by all rows, as in a model with constant noise."""
    x = torch.randn(6, 3, dtype=torch.float64)
    shared = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    DiscretizedGaussian(torch.zeros(6, 3, dtype=torch.float64), shared.expand(6, 3), 0.1).log_prob(x).sum().backward()
    single = torch.zeros(6, 3, dtype=torch.float64, requires_grad=True)
    DiscretizedGaussian(torch.zeros(6, 3, dtype=torch.float64), single, 0.1).log_prob(x).sum().backward()
    torch.testing.assert_close(shared.grad, single.grad.sum(0))  # type: ignore[union-attr]


def test_the_bins_of_a_grid_have_a_total_probability_of_one() -> None:
    """Also with the mean between two levels."""
    for deviation in (0.01, 0.3, 4.0):
        levels = torch.arange(-200, 201, dtype=torch.float64) * 0.2
        ones = torch.ones_like(levels)
        d = DiscretizedGaussian(0.07 * ones, 2.0 * np.log(deviation) * ones, 0.2)
        assert float(d.log_prob(levels).exp().sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extremes_are_finite(dtype: torch.dtype) -> None:
    """An observation of 1e6 under the narrowest output of any model costs much, not infinitely much."""
    mean = torch.zeros(3, dtype=dtype, requires_grad=True)
    log_variance = torch.full((3,), -20.0, dtype=dtype, requires_grad=True)
    value = DiscretizedGaussian(mean, log_variance, 2.0**-15).log_prob(torch.tensor([1e6, -1e6, 0.0], dtype=dtype))
    value.sum().backward()
    assert value.dtype == torch.float32
    for t in (value, mean.grad, log_variance.grad):
        assert t is not None
        assert bool(t.isfinite().all())


def test_masked_dimensions_leave_no_nan_in_the_gradient() -> None:
    """The forms that are not chosen are not differentiated."""
    mean = torch.zeros(2, dtype=torch.float32, requires_grad=True)
    value = DiscretizedGaussian(mean, torch.zeros(2), 1e-3).log_prob(torch.tensor([0.0, 1e9]))
    torch.where(torch.tensor([True, False]), value, 0.0).sum().backward()
    assert mean.grad is not None
    assert mean.grad.tolist() == [0.0, 0.0]


def test_the_authors_form_equals_scipys_and_is_capped() -> None:
    """log(P + 1e-6), element by element; 13.8 nats is the most that a dimension costs, without a gradient there."""
    generator = np.random.default_rng(0)
    x, mean = generator.normal(size=(2, 50))
    log_variance = generator.normal(size=50)
    normal = stats.norm(mean, np.exp(log_variance / 2))
    expected = np.log(normal.cdf(x + 0.05) - normal.cdf(x - 0.05) + 1e-6)
    d = AuthorsDiscretizedGaussian(torch.tensor(mean), torch.tensor(log_variance), 0.1)
    np.testing.assert_allclose(d.log_prob(torch.tensor(x)), expected, rtol=1e-9)
    far = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    value = AuthorsDiscretizedGaussian(far, torch.zeros(1, dtype=torch.float64), 0.1).log_prob(torch.full((1,), 50.0))
    value.backward()
    assert -float(value.detach()) == pytest.approx(13.8155, abs=1e-4)
    assert float(far.grad) == 0.0  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [DiscretizedGaussian, AuthorsDiscretizedGaussian])
def test_draws_are_the_gaussians(kind: Any) -> None:
    """Quantiles are those of the Gaussian that is discretised."""
    mean, log_variance, u = torch.randn(2, 3), torch.randn(2, 3), torch.rand(2, 3)
    torch.testing.assert_close(kind(mean, log_variance, 0.1).sample(u), Gaussian(mean, log_variance).sample(u))
