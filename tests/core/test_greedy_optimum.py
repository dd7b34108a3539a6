"""Every procedure against the greedy filtering optimum of five linear Gaussian systems, slow and fast.

Gaps are measured with F of each step in closed form, and paired with the exact engine on the same noise: the engine's
own F is the greedy optimum's in expectation, which is tested first, and the noise of the two mostly cancels.
"""

from functools import cache
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from avf_core.estimates import Estimate
from avf_core.filtering import Filter
from avf_core.inference import exact, gradient, iterative
from avf_core.inference.base import Inference
from avf_core.models import lgssm
from avf_core.training import em
from avf_core.trees import take
from tests.support.lgssm import independent, simulate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]
SYSTEMS = [(1, 1, 0.99), (2, 2, 0.5), (2, 3, 0.99), (5, 4, 0.5), (6, 6, 0.99)]  # observation, latent, spectral radius
Covariance = Literal["full", "diagonal"]
MEAN_FIELD = exact.Config(covariance="diagonal")


def system(size: int, latent: int, radius: float, dtype: torch.dtype = torch.float64) -> lgssm.Model:
    """A system with random matrices and this spectral radius; observations are about as noisy as the process."""
    generator = torch.Generator().manual_seed(10 * size + latent)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def between(low: float, high: float, count: int) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    dynamics = normal(latent, latent)
    matrices = {
        "dynamics": radius * dynamics / torch.linalg.eigvals(dynamics).abs().max(),
        "emission": normal(size, latent) / latent**0.5,
        "initial_mean": normal(latent),
        "initial_variance": between(0.5, 1.5, latent),
        "process_variance": between(0.1, 0.6, latent),
        "noise_variance": between(0.2, 0.7, size),
    }
    return lgssm.Model.from_matrices(**{k: v.to(dtype) for k, v in matrices.items()}).requires_grad_(False)


def filtered(inference: Inference, model: lgssm.Model, xs: Tensor) -> Estimate:
    """The estimates of a filter with this inference."""
    filter = Filter(model, inference)
    with torch.no_grad():
        return filter.scan(filter.initial(torch.arange(xs.shape[1])), xs)[1]


def step_energies(inference: Inference, model: lgssm.Model, xs: Tensor) -> Tensor:
    """F of every step of a filter with this inference, in closed form given the latents that it drew."""
    e = filtered(inference, model, xs)
    energies = [
        exact.expected_free_energy(model, take(e.prior, t), take(e.posterior, t), xs[t]) for t in range(len(xs))
    ]
    return torch.stack(energies)


def excess(inference: Inference, model: lgssm.Model, xs: Tensor) -> Tensor:
    """How far each step's F is above that of the best mean-field posterior given the same past: the E-step's error."""
    e = filtered(inference, model, xs)
    above = []
    for t, x in enumerate(xs):
        prior, posterior = take((e.prior, e.posterior), t)
        best = exact.greedy_posterior(model, prior, x, None, covariance="diagonal")
        energies = [exact.expected_free_energy(model, prior, q, x) for q in (posterior, best)]
        above.append(energies[0] - energies[1])
    return torch.stack(above)


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Of independent sequences: the mean per step, and its standard error."""
    of_sequences = values.mean(0)
    return float(of_sequences.mean()), float(of_sequences.std()) / len(of_sequences) ** 0.5


def gap(inference: Inference, model: lgssm.Model, xs: Tensor) -> tuple[float, float]:
    """How far above the mean-field greedy optimum, in nats per step, and its standard error."""
    return mean_and_error(
        step_energies(inference, model, xs) - step_energies(exact.Inference(MEAN_FIELD, model), model, xs)
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_evidence_of_long_sequences_is_pykalmans(name: tuple[int, int, float]) -> None:
    """To 1e-9 over 100 steps, slow dynamics included."""
    model = system(*name)
    assert float(torch.linalg.eigvals(model.dynamics).abs().max()) == pytest.approx(name[2])
    xs = simulate(model, 100, 2)
    found = exact.kalman_filter(model, xs).log_evidence.sum(0)
    expected = [independent(model).loglikelihood(xs[:, row].numpy()) for row in range(2)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_exact_engine_reaches_the_optimum(name: tuple[int, int, float], covariance: Covariance) -> None:
    """Within 3 standard errors, and never below the evidence by more."""
    model = system(*name)
    xs = simulate(model, 8, 2000)
    energies = step_energies(exact.Inference(exact.Config(covariance=covariance), model), model, xs)
    mean, error = mean_and_error(energies - exact.greedy_optimum(model, xs, covariance=covariance))
    assert abs(mean) < 3.0 * error
    mean, error = mean_and_error(energies + exact.kalman_filter(model, xs).log_evidence)
    assert mean > -3.0 * error


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_converged_gradient_inference_reaches_the_optimum(name: tuple[int, int, float], optimizer: str) -> None:
    """Within 3 standard errors of the closed form; and, paired with the exact engine, within 0.008 nats per step."""
    model = system(*name)
    xs = simulate(model, 2, 300, seed=1)
    config = gradient.Config(
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate={"adam": 0.3, "sgd": 0.2}[optimizer],
        decay={"adam": 0.05, "sgd": 0.02}[optimizer],
        iterations=150,
        samples=16,
        antithetic=True,
    )
    inference = gradient.Inference(config, model)
    energies = step_energies(inference, model, xs)
    mean, error = mean_and_error(energies - exact.greedy_optimum(model, xs, covariance="diagonal"))
    assert abs(mean) < 3.0 * error
    mean, error = mean_and_error(energies - step_energies(exact.Inference(MEAN_FIELD, model), model, xs))
    assert abs(mean) < 0.008 + 3.0 * error
    assert error < 0.005


@cache
def trained(name: tuple[int, int, float], rule: str) -> Filter:
    """AVF with 3 iterations and 16 samples, its update model trained alone on sequences drawn from the system."""
    torch.manual_seed(0)
    model = system(*name, dtype=torch.float32)
    config = iterative.Config(
        iterations=3,
        rule=rule,  # type: ignore[arg-type]
        inputs="whitened",
        samples=16,
        antithetic=True,
        units=64,
    )
    filter = Filter(model, iterative.Inference(config, model))
    optimizer = torch.optim.Adam(filter.inference.parameters(), lr=1e-2)
    updates, steps, batch = 160, 3, 64
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for update in range(updates):
        xs = simulate(model, steps, batch, seed=1000 + update)
        seeds = batch * update + torch.arange(batch)
        clip = em.Clip.whole(xs, torch.ones(steps, batch, dtype=torch.bool), seeds)
        optimizer.zero_grad()
        _, study = em.expectation(filter, clip, kl_weight=1.0)
        study.backward(em.weighing(clip.real.sum()))
        optimizer.step()
        schedule.step()
    return filter


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (SYSTEMS[0], "learned_sgd"),
        *(pytest.param(system, "learned_sgd", marks=pytest.mark.long) for system in SYSTEMS[1:]),
        (SYSTEMS[1], "gated"),
    ],
)
def test_trained_avf_reaches_the_optimum(name: tuple[int, int, float], rule: str) -> None:
    """3 iterations with 16 samples end within 0.02 nats per step of it, and are not below the evidence."""
    filter = trained(name, rule)
    model = filter.model
    assert isinstance(model, lgssm.Model)
    xs = simulate(model, 8, 400, seed=7)
    mean, error = gap(filter.inference, model, xs)
    assert abs(mean) < 0.02
    assert error < 0.004
    evidence = exact.kalman_filter(model, xs).log_evidence
    mean, error = mean_and_error(step_energies(filter.inference, model, xs) + evidence)
    assert mean > -3.0 * error


@pytest.mark.parametrize("name", SYSTEMS)
def test_trained_avf_is_ahead_of_adam_with_twenty_gradients(name: tuple[int, int, float]) -> None:
    """Of the same samples, in the same coordinates, at the best of Adam's learning rates."""
    filter = trained(name, "learned_sgd")
    model = filter.model
    assert isinstance(model, lgssm.Model)
    xs = simulate(model, 4, 200, seed=8)
    reached, _ = mean_and_error(excess(filter.inference, model, xs))
    for rate in (0.1, 0.2, 0.3):
        config = gradient.Config(iterations=20, samples=16, antithetic=True, learning_rate=rate)
        adams, error = mean_and_error(excess(gradient.Inference(config, model), model, xs))
        assert reached < adams - 3.0 * error, rate


def test_a_trained_update_model_keeps_the_best() -> None:
    """With accept-or-keep, 100 iterations of a model trained for 3 never raise F on the common random numbers."""
    filter = trained(SYSTEMS[1], "learned_sgd")
    assert isinstance(filter.inference, iterative.Inference)
    config = iterative.Config(**{**vars(filter.inference.config), "keep_best": True})
    kept = iterative.Inference(config, filter.model)
    kept.load_state_dict(filter.inference.state_dict())
    assert isinstance(filter.model, lgssm.Model)
    x = simulate(filter.model, 1, 64, seed=9)[0]
    with torch.no_grad():
        _, estimate = Filter(filter.model, kept).step(filter.initial(torch.arange(64)), x, iterations=100)
    met = estimate.free_energies[:, :-1]
    assert bool((met.diff(dim=-1) <= 0.0).all())
    assert float((met[:, 0] - met[:, -1]).min()) > 0.0
