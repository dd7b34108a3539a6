"""The paper's Appendix A: the filtering free energy, one nested expectation, is the sum of the steps' free energies.

    F = E_{q(z_1..T)} [ log q(z_1..T) - log p(x_1..T, z_1..T) ] = sum_t E_{q(z_<t)} [ F_t ]

The left side is computed here in one piece, from the joint Gaussians over whole sequences of a linear Gaussian model
and of its filtering posteriors. It shares no code with the library.
"""

from typing import Literal

import numpy as np
import pytest
import torch

from avf_core.filtering import Filter
from avf_core.inference import exact
from avf_core.models import lgssm
from tests.support.lgssm import random_model, simulate

STEPS = 4


def joint_posterior(model: lgssm.Model, xs: np.ndarray, covariance: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of q(z_1..T), whose factors are the greedy optima N(gain_t a z_{t-1} + offset_t, noise_t)."""
    a, c = model.dynamics.numpy(), model.emission.numpy()
    r_inverse = np.diag(np.exp(-model.noise_log_variance.numpy()))
    latent = a.shape[0]
    lower = np.eye(latent * STEPS)  # z_t - gain_t a z_{t-1} = offset_t + noise_t, for all t at once
    noises = np.zeros_like(lower)
    offsets = []
    for t in range(STEPS):
        log_variance = (model.initial_log_variance if t == 0 else model.process_log_variance).numpy()
        precision = np.diag(np.exp(-log_variance)) + c.T @ r_inverse @ c
        gain = np.linalg.solve(precision, np.diag(np.exp(-log_variance)))
        block = slice(t * latent, (t + 1) * latent)
        before = slice((t - 1) * latent, t * latent)
        offset = np.linalg.solve(precision, c.T @ r_inverse @ xs[t])
        if t:
            lower[block, before] = -gain @ a
        else:
            offset = offset + gain @ model.initial_mean.numpy()
        offsets.append(offset)
        inverse = np.linalg.inv(precision)
        noises[block, block] = inverse if covariance == "full" else np.diag(1.0 / np.diag(precision))
    spread = np.linalg.inv(lower)
    mean = spread @ np.concatenate(offsets)
    return mean, spread @ noises @ spread.T


def joint_model(model: lgssm.Model) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of p(z_1..T, x_1..T)."""
    a, c = model.dynamics.numpy(), model.emission.numpy()
    latent = a.shape[0]
    lower, noises = np.eye(latent * STEPS), np.zeros((latent * STEPS,) * 2)
    for t in range(STEPS):
        block = slice(t * latent, (t + 1) * latent)
        log_variance = model.initial_log_variance if t == 0 else model.process_log_variance
        noises[block, block] = np.diag(np.exp(log_variance.numpy()))
        if t:
            lower[block, slice((t - 1) * latent, t * latent)] = -a
    spread = np.linalg.inv(lower)
    mean = spread @ np.concatenate([model.initial_mean.numpy(), np.zeros(latent * (STEPS - 1))])
    latents = spread @ noises @ spread.T
    emission = np.kron(np.eye(STEPS), c)
    observations = emission @ latents @ emission.T + np.kron(
        np.eye(STEPS), np.diag(np.exp(model.noise_log_variance.numpy()))
    )
    whole = np.block([[latents, latents @ emission.T], [emission @ latents, observations]])
    return np.concatenate([mean, emission @ mean]), whole


def expected_log_normal(mean: np.ndarray, spread: np.ndarray, centre: np.ndarray, covariance: np.ndarray) -> float:
    """E of log N(y; centre, covariance) over y with this mean and this covariance."""
    inverse = np.linalg.inv(covariance)
    squares = (mean - centre) @ inverse @ (mean - centre) + np.trace(inverse @ spread)
    return float(-0.5 * (np.linalg.slogdet(2.0 * np.pi * covariance)[1] + squares))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize(("size", "latent"), [(1, 1), (2, 3), (4, 2)])
def test_one_expectation_over_sequences_is_the_sum_of_step_terms(
    size: int, latent: int, covariance: Literal["full", "diagonal"]
) -> None:
    """The steps' closed forms sum to the joint's, to 1e-9; sampled by the filter they do within 3 standard errors."""
    model = random_model(size, latent)
    xs = simulate(model, STEPS, 1)
    mean, spread = joint_posterior(model, xs[:, 0].numpy(), covariance)
    centre, whole = joint_model(model)
    observed = xs[:, 0].numpy().ravel()
    both = np.concatenate([mean, observed])
    padded = np.zeros_like(whole)
    padded[: len(mean), : len(mean)] = spread
    nested = expected_log_normal(mean, spread, mean, spread) - expected_log_normal(both, padded, centre, whole)
    assert float(exact.greedy_optimum(model, xs, covariance=covariance).sum()) == pytest.approx(nested, abs=1e-9)
    filter = Filter(model, exact.Inference(exact.Config(covariance=covariance), model))
    rows = 20_000
    _, estimates = filter.scan(filter.initial(torch.arange(rows)), xs.expand(STEPS, rows, size))
    sums = estimates.free_energy.sum(0)
    assert abs(float(sums.mean()) - nested) < 3.0 * float(sums.std()) / rows**0.5
