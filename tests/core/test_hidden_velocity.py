"""What inputs are for: the velocity that nobody observes, read from the belief of a filter that hears the actions."""

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from avf_core.filtering import Filter
from avf_core.inference import kalman
from avf_core.models import lgssm
from avf_core.training import em

NOISE, STEPS, ROLLOUTS, UPDATES = 0.02, 40, 60, 100
UNITS = np.array([0.5, 0.1])  # of the cart's position and the pole's angle

pytestmark = pytest.mark.slow


def rollouts(seed: int) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
    """Noisy positions of CartPole under a policy that mostly balances, actions before them, and the pole's velocity."""
    env, draw = gymnasium.make("CartPole-v1"), np.random.default_rng(seed)
    seen: list[list[NDArray[np.float64]]] = []
    pushes: list[list[list[float]]] = []
    velocities: list[list[float]] = []
    while len(seen) < ROLLOUTS:
        state, _ = env.reset(seed=int(draw.integers(2**31)))
        x, u, v, push = [], [], [], 0.0
        for _ in range(STEPS):
            x.append(state[[0, 2]] / UNITS + NOISE * draw.normal(size=2))
            u.append([push])
            v.append(state[3])
            action = int(state[2] + 0.5 * state[3] > 0) if draw.random() < 0.75 else int(draw.integers(2))
            push = 2.0 * action - 1.0
            state, _, ended, _, _ = env.step(action)
            if ended:
                break
        if len(x) == STEPS:
            seen.append(x)
            pushes.append(u)
            velocities.append(v)
    xs, us = (torch.tensor(np.array(part), dtype=torch.float32).transpose(0, 1) for part in (seen, pushes))
    return xs, us, np.array(velocities).T


def trained(xs: Tensor, us: Tensor) -> Filter:
    """A linear Gaussian model of four latents, by gradient on its evidence, from a local linear trend."""
    config = lgssm.Config(observation_size=2, latent_size=4, input_size=1, start="trends")
    model = lgssm.Model(config)
    filter = Filter(model, kalman.Inference(kalman.Config(), model))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for update in range(UPDATES):
        rows = slice(20 * (update % 3), 20 * (update % 3) + 20)
        steps = slice((7 * update) % 20 if update % 2 else 0, None)
        x, u = xs[steps, rows][:20], us[steps, rows][:20]
        seeds = torch.arange(20)
        drive = filter.drive(filter.initial(seeds), inputs=u, time=(20,))
        clip = em.Clip.whole(x, torch.ones(20, 20, dtype=torch.bool), seeds, drive)
        energy, _ = em.joint_free_energy(filter, clip, kl_weight=1.0)
        optimizer.zero_grad()
        energy.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return filter.requires_grad_(False)


def believed(filter: Filter, xs: Tensor, us: Tensor) -> NDArray[np.float64]:
    """The posterior's mean at every step, and a constant."""
    _, found = filter.scan(filter.initial(torch.arange(xs.shape[1])), xs, inputs=us)
    mean = found.posterior.mean.flatten(0, 1).double().numpy()
    return np.c_[mean, np.ones(len(mean))]


def explained(filter: Filter, train: tuple[Tensor, Tensor, NDArray[np.float64]], *, by: float) -> float:
    """R² on new rollouts of the velocity as a linear function of the belief; actions are heard times `by`."""
    weights = np.linalg.lstsq(believed(filter, train[0], by * train[1]), train[2].ravel(), rcond=None)[0]
    xs, us, velocity = rollouts(2)
    error = believed(filter, xs, by * us) @ weights - velocity.ravel()
    return 1.0 - float((error**2).mean() / velocity.var())


@pytest.mark.usefixtures("shapes_unchecked")
def test_the_hidden_velocity_is_in_the_belief_of_a_filter_that_hears_actions() -> None:
    """R² at least 0.95 after a short training from no knowledge of the plant; deaf to the actions it is far less."""
    train = rollouts(1)
    filter = trained(*train[:2])
    assert explained(filter, train, by=1.0) > 0.95
    assert explained(filter, train, by=0.0) < 0.8
