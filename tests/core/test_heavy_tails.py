"""Emissions with heavy tails: scipy's distributions, slopes by autograd, and what a glitch costs a trained filter."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from avf_core import configuration, emissions
from avf_core.distributions import Gaussian
from avf_core.emissions import Units
from avf_core.emissions.base import Emission
from avf_core.emissions.mixture import GaussianMixture
from avf_core.emissions.student_t import StudentT
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

UNITS = Units(center=0.3, scale=2.0)


def double(*values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_student_t_is_scipys() -> None:
    """Density, cumulative probability, quantiles and deviation, of four degrees of freedom with this variance."""
    mean, variance = 0.7, 2.5
    truth = stats.t(4, loc=mean, scale=math.sqrt(variance / 2.0))
    ours = StudentT(double(mean), double(math.log(variance)))
    x = np.concatenate([np.linspace(-30, 30, 61), [-1e6, 1e8]])
    np.testing.assert_allclose(ours.log_prob(torch.from_numpy(x)), truth.logpdf(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.cdf(torch.from_numpy(x)), truth.cdf(x), rtol=1e-9, atol=1e-12)
    levels = np.array([1e-6, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 1e-6])
    np.testing.assert_allclose(ours.sample(torch.from_numpy(levels)), truth.ppf(levels), rtol=1e-7)
    assert float(ours.deviation) == pytest.approx(truth.std())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_student_t_stands_any_distance(dtype: torch.dtype) -> None:
    """Log-probabilities and slopes are finite, and slopes bounded, as far as the numbers go."""
    far = torch.tensor([1e-30, 1.0, 1e3, 1e10, torch.finfo(dtype).max / 2], dtype=dtype)
    for log_variance in (-15.0, 0.0, 5.0):
        log_prob, by_mean, by_log_variance = StudentT(
            torch.zeros_like(far), torch.full_like(far, log_variance)
        ).log_prob_slopes(far)
        assert bool(log_prob.isfinite().all() and by_mean.isfinite().all())
        assert float(by_mean.abs().max()) <= 1.8 * math.exp(-0.5 * log_variance)
        assert bool(((by_log_variance >= -0.5) & (by_log_variance <= 2.0)).all())
        assert bool((log_prob.diff() <= 0.0).all())


def mixture_of(name: str, options: dict[str, Any]) -> tuple[Emission, Any, torch.Tensor]:
    """An emission of four numbers, an output of its decoder for three rows, and observations."""
    generator = torch.Generator().manual_seed(0)
    emission = emissions.build(name, options, units=UNITS, size=4)
    x = 3.0 * torch.randn(3, 4, generator=generator, dtype=torch.float64)
    if name == "mixture":
        numbers = torch.randn(2, 3, 3 * 4 * options["components"], generator=generator, dtype=torch.float64)
        return emission, numbers, x
    return emission, Gaussian(*torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.float64)), x


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("student-t", {}),
        ("mixture", {"components": 1}),
        ("mixture", {"components": 3}),
        ("mixture", {"components": 2, "outliers": 0.02}),
    ],
)
def test_slopes_are_those_of_autograd(name: str, options: dict[str, Any]) -> None:
    """Written out, of all that the decoder says; what is not observed has none."""
    emission, output, x = mixture_of(name, options)
    observed = torch.tensor([[True] * 4, [True, False, True, False], [False] * 4])
    for mask in (None, observed):
        energy, slope = emission.sloped(output, {}, x, mask)
        expected, truth = Emission.sloped(emission, output, {}, x, mask)
        torch.testing.assert_close(energy, expected)
        for ours, theirs in zip(
            (slope.mean, slope.log_variance) if isinstance(slope, Gaussian) else (slope,),
            (truth.mean, truth.log_variance) if isinstance(truth, Gaussian) else (truth,),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("outliers", [0.0, 0.05])
def test_a_mixture_is_the_sum_of_scipys_parts(outliers: float) -> None:
    """Density and cumulative probability by parts, moments by quadrature; quantiles are the inverse."""
    emission, output, x = mixture_of("mixture", {"components": 2, "outliers": outliers, "width": 6.0})
    ours = emission.likelihood_of(output, {})
    assert isinstance(ours, GaussianMixture)
    logits, means, log_variances = output.reshape(2, 3, 3, 2, 4).unbind(2)
    weights = (1.0 - outliers) * logits.softmax(-2)
    deviations = 2.0 * torch.exp(0.5 * log_variances)

    def both(of: str, at: np.ndarray) -> np.ndarray:
        parts = [getattr(stats.norm(0.3 + 2.0 * means[..., k, :], deviations[..., k, :]), of)(at) for k in (0, 1)]
        mixed = sum(weights[..., k, :].numpy() * part for k, part in enumerate(parts))
        found: np.ndarray = mixed + outliers * getattr(stats.norm(0.3, 12.0), of)(at)
        return found

    np.testing.assert_allclose(ours.log_prob(x).exp(), both("pdf", x.numpy()), rtol=1e-10)
    np.testing.assert_allclose(ours.cdf(x), both("cdf", x.numpy()), rtol=1e-10)
    uniform = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    np.testing.assert_allclose(ours.cdf(ours.sample(uniform)), uniform, atol=1e-9)
    grid = torch.linspace(-90.0, 90.0, 40_001, dtype=torch.float64)[:, None, None, None]
    density = ours.log_prob(grid).exp()
    mean = torch.trapezoid(density * grid, grid[:, 0, 0, 0], dim=0)
    variance = torch.trapezoid(density * (grid - mean) ** 2, grid[:, 0, 0, 0], dim=0)
    torch.testing.assert_close(ours.mean, mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.log_variance.exp(), variance, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"components": 0}, {"outliers": 1.0}, {"width": 0.0}])
def test_mixtures_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    """The error says what is expected."""
    with pytest.raises(ConfigurationError, match="expected at least 1"):
        emissions.build("mixture", wrong, units=UNITS, size=2)


def stream(rows: int, steps: int, *, seed: int) -> torch.Tensor:
    """Two noisy oscillations a row, of one standard deviation: (steps, rows, 2)."""
    generator = torch.Generator().manual_seed(seed)
    phase = 6.28 * torch.rand(rows, 2, generator=generator)
    time = torch.arange(steps)[:, None, None] * torch.tensor([0.4, 0.27])
    return 1.4 * torch.sin(time + phase) + 0.1 * torch.randn(steps, rows, 2, generator=generator)


def trained(likelihood: str, options: dict[str, Any]) -> Filter:
    """A small SRNN with direct inference, after a short training on the stream."""
    torch.manual_seed(0)
    filter = configuration.build(
        {
            "model": {"kind": "srnn", "observation_size": 2, "latent_size": 3, "hidden_size": 24,
                      "prior_widths": [24], "decoder_widths": [24], "likelihood": likelihood, "emission": options},
            "inference": {"kind": "direct", "widths": [24]},
        }
    )  # fmt: skip
    optimizer = torch.optim.Adam(filter.parameters(), lr=1e-2)
    for update in range(80):
        xs = stream(16, 16, seed=update)
        _, estimates = filter.scan(filter.initial(torch.arange(16) + 16 * update), xs)
        optimizer.zero_grad()
        estimates.free_energy.mean().backward()
        torch.nn.utils.clip_grad_norm_(filter.parameters(), 5.0)
        optimizer.step()
    return filter.requires_grad_(False)


@pytest.mark.parametrize(
    ("likelihood", "options"), [("student-t", {}), ("mixture", {"components": 2, "outliers": 0.01})]
)
def test_a_glitch_does_not_cost_the_next_step(likelihood: str, options: dict[str, Any]) -> None:
    """One reading twenty deviations off: that step costs some tens of nats, the clean one after it fewer."""
    filter = trained(likelihood, options)
    clean = stream(64, 34, seed=-1)
    glitch = clean.clone()
    glitch[30] += 20.0
    seeds = torch.arange(64)
    (_, truth), (_, found) = (filter.scan(filter.initial(seeds), xs) for xs in (clean, glitch))
    cost = (found.free_energy - truth.free_energy).mean(1)
    assert truth.free_energy.mean() < 2.0  # it has learned the stream: of one deviation a number, unheard, 2.8
    assert 10.0 < cost[30] < 100.0
    assert cost[31] < 40.0
    assert cost[33] < 10.0
