"""The emission of sensors against truth from outside: joint Gaussians of scipy, and the least squares it begins as."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from avf_core import autoregression, emissions
from avf_core.configuration import build
from avf_core.distributions import Gaussian, Likelihood
from avf_core.emissions import Units
from avf_core.errors import ConfigurationError

UNITS = Units(center=(10.0, 0.0, -3.0), scale=(2.0, 0.1, 5.0))


def sensors(time: int, seed: int) -> np.ndarray:
    """Three channels in units of their own that hear each other's past, and move together."""
    generator = np.random.default_rng(seed)
    transition = np.array([[0.7, 0.2, 0.0], [0.0, 0.9, 0.05], [-0.3, 0.0, 0.5]])
    factor = np.array([[0.4, 0.0, 0.0], [0.3, 0.1, 0.0], [-0.2, 0.2, 0.6]])
    x = np.zeros((time, 3))
    for t in range(1, time):
        x[t] = transition @ x[t - 1] + factor @ generator.normal(size=3)
    return np.asarray(UNITS.center) + np.asarray(UNITS.scale) * x


def started(order: int = 2, noise: str = "gaussian") -> tuple[emissions.Emission, np.ndarray]:
    """An emission that has begun, and what it began with."""
    train = sensors(3000, 0)
    emission = emissions.build("vector-autoregressive", {"order": order, "noise": noise}, units=UNITS, size=3).double()
    emission.begin([train])
    return emission.requires_grad_(False), train


def spoken(emission: emissions.Emission, past: np.ndarray) -> Likelihood:
    """What it says after these observations where the decoder adds nothing."""
    memory = emission.initial(1, like=torch.zeros(1, dtype=torch.float64))
    for x in past:
        memory = emission.remember(emission.context(memory), torch.as_tensor(x)[None])
    nothing = torch.zeros(1, 3, dtype=torch.float64)
    return emission.likelihood_of(Gaussian(nothing, nothing), emission.context(memory))


def test_it_begins_as_a_vector_autoregression() -> None:
    """With a decoder that adds nothing, its joint density is scipy's, with the mean and the covariance of the least
    squares; marginal deviations are those of that covariance."""
    emission, train = started()
    center, scale = np.asarray(UNITS.center), np.asarray(UNITS.scale)
    fitted = autoregression.vector_autoregression([(train - center) / scale], [1, 2])
    past, x = train[100:105], train[105]
    expected = fitted.predict((past - center) / scale)
    joint = multivariate_normal(center + scale * expected, fitted.covariance * np.outer(scale, scale))
    likelihood = spoken(emission, past)
    assert float(likelihood.log_prob(torch.as_tensor(x)[None]).sum()) == pytest.approx(joint.logpdf(x), rel=1e-9)
    np.testing.assert_allclose(likelihood.mean[0], joint.mean, rtol=1e-9)
    np.testing.assert_allclose(likelihood.deviation[0], np.sqrt(np.diag(joint.cov)), rtol=1e-9)  # type: ignore[attr-defined]


def test_samples_have_its_covariance_and_gaps_are_filled_by_what_came_before() -> None:
    """A missing last channel is at its conditional mean, by the formula for Gaussians."""
    emission, train = started()
    likelihood = spoken(emission, train[:5])
    uniform = torch.rand(40_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = likelihood.sample(uniform).numpy()
    covariance = np.cov((drawn / np.asarray(UNITS.scale)).T)
    center, scale = np.asarray(UNITS.center), np.asarray(UNITS.scale)
    truth = autoregression.vector_autoregression([(train - center) / scale], [1, 2]).covariance
    np.testing.assert_allclose(covariance, truth, atol=0.01)
    observed = torch.tensor([[True, True, False]])
    filled = likelihood.complete(torch.as_tensor(train[5])[None], observed)[0].numpy()  # type: ignore[attr-defined]
    mean = (likelihood.mean[0].numpy() - center) / scale
    error = (train[5] - center) / scale - mean
    expected = mean[2] + truth[2, :2] @ np.linalg.solve(truth[:2, :2], error[:2])
    np.testing.assert_allclose(filled, [*train[5][:2], center[2] + scale[2] * expected], rtol=1e-6)


def test_a_filter_starts_level_with_its_baseline() -> None:
    """The prior of an untrained filter that has begun costs what the autoregression costs, within a tenth of a nat."""
    train, test = sensors(2000, 0), sensors(100, 1)
    model = {"kind": "srnn", "observation_size": 3, "latent_size": 2, "hidden_size": 8, "prior_widths": (8,)}
    units = {"likelihood": "vector-autoregressive", "center": UNITS.center, "scale": UNITS.scale}
    torch.manual_seed(0)
    filter = build(
        {"model": {**model, "decoder_widths": (8,), **units}, "inference": {"kind": "gradient"}}
    ).requires_grad_(False)
    filter.model.begin([train])
    center, scale = np.asarray(UNITS.center), np.asarray(UNITS.scale)
    fitted = autoregression.vector_autoregression([(train - center) / scale], (1, 2, 3))
    baseline = autoregression.filtered(fitted, (test - center) / scale)[0][1:].mean() + np.log(scale).sum()
    xs = torch.as_tensor(test, dtype=torch.float32)[:, None]
    _, found = filter.scan(filter.initial(torch.tensor([0])), xs, iterations=0)
    assert float(found.free_energy[1:].mean()) == pytest.approx(baseline, abs=0.1)


def test_what_makes_no_sense_is_refused() -> None:
    """No order, and noise that is of levels or of keys; too little data leaves it as it is."""
    for options, match in (({"order": 0}, "order is 0"), ({"noise": "bernoulli"}, "expected an emission of densities")):
        with pytest.raises(ConfigurationError, match=match):
            emissions.build("vector-autoregressive", options, units=Units(), size=3)
    emission = emissions.build("vector-autoregressive", {}, units=Units(), size=3)
    before = {name: value.clone() for name, value in emission.state_dict().items()}
    emission.begin([np.zeros((4, 3))])
    assert all(torch.equal(before[name], value) for name, value in emission.state_dict().items())


def test_noise_may_be_a_mixture() -> None:
    """Its density is the product of scipy's mixtures of the whitened errors, and its mean and variance are those of
    its samples."""
    emission, train = started(1, noise="mixture")
    said = torch.randn(1, 27, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    memory = emission.remember(emission.context(emission.initial(1, like=said)), torch.as_tensor(train[4])[None])
    context = emission.context(memory)
    likelihood = emission.likelihood_of(said, context)
    center, scale = np.asarray(UNITS.center), np.asarray(UNITS.scale)
    fitted = autoregression.vector_autoregression([(train - center) / scale], (1,))
    factor = np.linalg.cholesky(fitted.covariance)
    errors = (train[5] - center) / scale - fitted.predict(((train[4:5]) - center) / scale)
    whitened = np.linalg.solve(factor, errors)
    logits, means, log_variances = said.view(3, 3, 3).numpy()
    weights = np.exp(logits) / np.exp(logits).sum(0)
    density = (weights * norm.pdf(whitened, means, np.exp(0.5 * log_variances))).sum(0)
    expected = np.log(density).sum() - np.log(np.diag(factor)).sum() - np.log(scale).sum()
    assert float(likelihood.log_prob(torch.as_tensor(train[5])[None]).sum()) == pytest.approx(expected, rel=1e-6)
    uniform = torch.rand(60_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = emission.likelihood_of(said.expand(len(uniform), -1), context).sample(uniform).numpy()
    deviation = likelihood.deviation[0].numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(drawn.mean(0), likelihood.mean[0].numpy(), atol=0.03 * deviation.max())
    np.testing.assert_allclose(drawn.std(0), deviation, rtol=0.03)
