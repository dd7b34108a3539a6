"""A one-dimensional non-linear model and its evidence by quadrature on a grid, for the tests of bounds."""

import numpy as np
import torch
from torch import Tensor

from avf_core.beliefs import State
from avf_core.distributions import Gaussian, Likelihood
from avf_core.drives import FREE, Drive
from avf_core.filtering import Filter
from avf_core.inference import base as inference
from avf_core.models import base
from avf_core.objectives import StepObjective

PROCESS, NOISE = 0.4, 0.3  # deviations


class Model(base.Model):
    """z_t ~ N(1.5 sin z_{t-1}, 0.4^2), x_t ~ N(z_t + z_t^3 / 10, 0.3^2), z_1 ~ N(0, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.observation = base.ObservationSpec(size=1)
        self.latent_size = 1
        self.marker = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64), requires_grad=False)

    def initial(self, batch_size: int) -> State:
        zeros = self.marker.new_zeros(batch_size, 1)
        return {"mean": zeros, "log_variance": zeros.clone()}

    def predict(self, state: State, drive: Drive = FREE) -> tuple[State, Gaussian]:
        return {}, Gaussian(state["mean"], state["log_variance"])

    def decode(self, context: State, z: Tensor) -> Likelihood:
        return Gaussian(z + z**3 / 10.0, torch.full_like(z, 2.0 * np.log(NOISE)))

    def transition(self, context: State, x: Tensor, z: Tensor) -> State:
        return {"mean": 1.5 * torch.sin(z), "log_variance": torch.full_like(z, 2.0 * np.log(PROCESS))}


class Linearised(inference.Inference):
    """The extended Kalman filter's update of the prior, made a little wider: a good posterior, and not the true one."""

    def infer(self, objective: StepObjective, state: State, **effort: object) -> inference.Inferred:
        mean, variance = objective.prior.mean, objective.prior.log_variance.exp()
        for _ in range(3):
            slope = 1.0 + 0.3 * mean**2
            precision = 1.0 / variance + slope**2 / NOISE**2
            error = objective.x - (mean + mean**3 / 10.0)
            pull = slope * error / NOISE**2 - (mean - objective.prior.mean) / variance
            mean = mean + pull / precision
        posterior = Gaussian(mean, torch.log(1.2 / precision))
        return inference.Inferred(
            posterior=posterior,
            state=state,
            free_energies=mean.new_zeros(len(mean), 0),
            iterations=torch.zeros_like(objective.step),
        )


def build() -> Filter:
    """The filter."""
    return Filter(Model(), Linearised()).requires_grad_(False)


def simulate(time: int, seed: int) -> np.ndarray:
    """A sequence of the model, of shape (time, 1)."""
    generator = np.random.default_rng(seed)
    z, xs = generator.normal(), []
    for _ in range(time):
        xs.append(z + z**3 / 10.0 + NOISE * generator.normal())
        z = 1.5 * np.sin(z) + PROCESS * generator.normal()
    return np.array(xs)[:, None]


def log_evidence(xs: np.ndarray, points: int = 1501) -> float:
    """log p(x_1..T), by the rectangle rule on a grid that holds all of the latent's mass."""
    grid = np.linspace(-6.0, 6.0, points)
    width = grid[1] - grid[0]
    mean = 1.5 * np.sin(grid)
    kernel = np.exp(-0.5 * ((grid[:, None] - mean) / PROCESS) ** 2) / (PROCESS * np.sqrt(2.0 * np.pi))
    belief, total = np.exp(-0.5 * grid**2) / np.sqrt(2.0 * np.pi), 0.0
    for x in xs[:, 0]:
        joint = belief * np.exp(-0.5 * ((x - grid - grid**3 / 10.0) / NOISE) ** 2) / (NOISE * np.sqrt(2.0 * np.pi))
        evidence = joint.sum() * width
        total += float(np.log(evidence))
        belief = kernel @ (joint / evidence) * width
    return total
