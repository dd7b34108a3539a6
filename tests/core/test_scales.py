"""The scale mixture against scipy, and against its own moments."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from avf_core import emissions
from avf_core.distributions import Gaussian
from avf_core.emissions import Units
from avf_core.errors import ConfigurationError

MEAN, LOG_VARIANCE = torch.tensor([[0.5, -1.0]], dtype=torch.float64), torch.tensor([[0.2, -3.0]], dtype=torch.float64)


def built(components: int = 3) -> emissions.Emission:
    """An emission whose weights and widths are not what they begin as."""
    emission = emissions.build("scales", {"components": components}, units=Units(scale=2.0), size=2).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in emission.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return emission.requires_grad_(False)


def test_its_density_is_that_of_a_mixture_and_its_variance_what_the_decoder_says() -> None:
    """Densities are scipy's; the second moment, by quadrature, is the variance in natural units."""
    emission = built()
    likelihood = emission.likelihood_of(Gaussian(MEAN, LOG_VARIANCE), {})
    weights = torch.softmax(emission.logits, 0).numpy()
    ratios = torch.exp(emission.widths).numpy()
    ratios = ratios / (weights * ratios).sum(0)
    grid = np.linspace(-400.0, 400.0, 800_001)
    for d in range(2):
        mean, deviation = 2.0 * float(MEAN[0, d]), 2.0 * float(LOG_VARIANCE[0, d].exp().sqrt())
        parts = [w * norm.pdf(grid, mean, deviation * r**0.5) for w, r in zip(weights[:, d], ratios[:, d], strict=True)]
        density = np.sum(parts, axis=0)
        x = torch.zeros(1, 2, dtype=torch.float64)
        x[0, d] = 0.8
        expected = np.log(np.interp(0.8, grid, density))
        assert float(likelihood.log_prob(x)[0, d]) == pytest.approx(expected, abs=1e-4)
        second = float(np.trapezoid((grid - mean) ** 2 * density, grid))
        assert second == pytest.approx(deviation**2, rel=1e-4)
        assert float(likelihood.log_variance[0, d].exp()) == pytest.approx(deviation**2, rel=1e-9)  # type: ignore[attr-defined]


def test_its_slopes_are_those_of_its_density() -> None:
    """By the mean and by the log-variance, as automatic differentiation has them."""
    emission, x = built(2), torch.tensor([[1.7, -2.2]], dtype=torch.float64)
    moments = [MEAN.clone().requires_grad_(), LOG_VARIANCE.clone().requires_grad_()]
    likelihood = emission.family(*moments)  # type: ignore[operator]
    expected = torch.autograd.grad(likelihood.log_prob(x).sum(), moments)
    found = emission.family(MEAN, LOG_VARIANCE).log_prob_slopes(x)[1:]  # type: ignore[operator]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_one_width_is_refused() -> None:
    """One component is a Gaussian, and is called so."""
    with pytest.raises(ConfigurationError, match="gaussian"):
        emissions.build("scales", {"components": 1}, units=Units(), size=2)
