"""Linear Gaussian models with random matrices, what they draw, and the same models in pykalman."""

import numpy as np
import pykalman
import torch
from torch import Tensor

from avf_core.models import lgssm


def random_model(size: int, latent: int, dtype: torch.dtype = torch.float64, *, offsets: bool = False) -> lgssm.Model:
    """A stable model with random matrices."""
    generator = torch.Generator().manual_seed(10 * size + latent)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    dynamics = normal(latent, latent)
    return lgssm.Model.from_matrices(
        dynamics=0.9 * dynamics / torch.linalg.matrix_norm(dynamics, 2),
        emission=normal(size, latent),
        initial_mean=normal(latent),
        initial_variance=torch.rand(latent, generator=generator, dtype=dtype) + 0.5,
        process_variance=torch.rand(latent, generator=generator, dtype=dtype) + 0.1,
        noise_variance=torch.rand(size, generator=generator, dtype=dtype) + 0.1,
        drift=normal(latent) if offsets else None,
        level=5.0 * normal(size) if offsets else None,
    ).requires_grad_(False)


def simulate(model: lgssm.Model, time: int, batch: int, seed: int = 0) -> Tensor:
    """Sequences drawn from the model, of shape (time, batch, observation)."""
    return simulate_all(model, time, batch, seed)[1]


def simulate_all(model: lgssm.Model, time: int, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Latents drawn from the model, and their observations, each of shape (time, batch, size)."""
    generator = torch.Generator().manual_seed(seed)

    def noise(log_variance: Tensor) -> Tensor:
        drawn = torch.randn(batch, len(log_variance), generator=generator, dtype=log_variance.dtype)
        return torch.exp(0.5 * log_variance) * drawn

    z = model.initial_mean + noise(model.initial_log_variance)
    zs, xs = [], []
    for t in range(time):
        if t:
            z = model.moved(z) + noise(model.process_log_variance)
        zs.append(z)
        xs.append(model.sensed(z) + noise(model.noise_log_variance))
    return torch.stack(zs), torch.stack(xs)


def independent(model: lgssm.Model) -> pykalman.KalmanFilter:
    """The same model in pykalman."""
    return pykalman.KalmanFilter(
        transition_matrices=model.dynamics.numpy(),
        observation_matrices=model.emission.numpy(),
        transition_covariance=np.diag(model.process_log_variance.exp().numpy()),
        observation_covariance=np.diag(model.noise_log_variance.exp().numpy()),
        transition_offsets=None if model.drift is None else model.drift.numpy(),
        observation_offsets=None if model.level is None else model.level.numpy(),
        initial_state_mean=model.initial_mean.numpy(),
        initial_state_covariance=np.diag(model.initial_log_variance.exp().numpy()),
    )
