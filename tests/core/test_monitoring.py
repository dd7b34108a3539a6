"""The collapse monitor against closed forms, single estimates and a latent that is cut off."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from avf_core.analysis.evaluation import evaluate
from avf_core.analysis.monitoring import monitor
from avf_core.distributions import Gaussian
from avf_core.errors import ConfigurationError, DataError
from avf_core.filtering import Filter
from avf_core.inference import base, exact, gradient
from avf_core.models import lgssm
from avf_core.objectives import StepObjective
from avf_core.trees import take
from tests.support.lgssm import random_model, simulate

from .pairs import make


def sequences(model: lgssm.Model, time: int, batch: int) -> list[np.ndarray]:
    """Sequences that the model made."""
    return list(simulate(model, time, batch, seed=6).numpy().transpose(1, 0, 2))


class Shifted(exact.Inference):
    """The mean-field optimum, moved by known amounts."""

    def infer(self, objective: StepObjective, state: dict[str, Any], **effort: object) -> base.Inferred:
        found = super().infer(objective, state, **effort)  # type: ignore[arg-type]
        q = found.posterior
        posterior = Gaussian(q.mean + 0.3, q.log_variance + 0.5)
        return base.Inferred(
            posterior=posterior, state=state, free_energies=found.free_energies, iterations=found.iterations
        )


@pytest.mark.parametrize("procedure", [exact.Inference, Shifted])
def test_the_gap_is_that_of_the_closed_form(procedure: type[exact.Inference]) -> None:
    """Above the mean-field optimum, in closed form; so it is 0 for the optimum, to which the reference converges."""
    model = random_model(2, 2)
    filter = Filter(model, procedure(exact.Config(covariance="diagonal"), model))
    data = sequences(model, 2, 100)
    found = monitor(filter, data, gap_steps=2, samples=32)
    xs = torch.as_tensor(np.stack(data, 1))
    _, e = filter.scan(filter.initial(torch.arange(100)), xs)
    gaps = []
    for t in range(2):
        prior, q = take((e.prior, e.posterior), t)
        best = exact.greedy_posterior(model, prior, xs[t], None, covariance="diagonal")
        energies = [exact.expected_free_energy(model, prior, p, xs[t]) for p in (q, best)]
        gaps.append(energies[0] - energies[1])
    assert found.gap == pytest.approx(float(torch.stack(gaps).mean()), abs=0.02)
    assert found.gap_error is not None
    assert 0.0 < found.gap_error < 0.05
    assert (found.gap_steps, found.gap_sequences, found.steps) == (200, 100, 200)


@pytest.mark.parametrize("name", ["srnn-learned_sgd", "srnn-direct", "lgssm-exact"])
def test_figures_are_those_of_the_single_steps(name: str) -> None:
    """KL and means of every dimension, and F of every iteration, from scans of each sequence alone."""
    filter = make(name, torch.float64)
    size = filter.model.observation.size
    generator = np.random.default_rng(0)
    data = [(generator.random((length, size)) > 0.7).astype(np.float64) for length in (5, 3, 8)]
    found = monitor(filter, data, gap_steps=0)
    kls, means, energies = [], [], []
    for row, x in enumerate(data):
        with torch.no_grad():
            _, e = filter.scan(filter.initial(torch.tensor([row])), torch.as_tensor(x)[:, None])
        q, p = (torch.distributions.Normal(d.mean, (0.5 * d.log_variance).exp()) for d in (e.posterior, e.prior))
        kls.append(torch.distributions.kl_divergence(q, p)[:, 0])
        means.append(e.posterior.mean[:, 0])
        energies.append(e.free_energies[:, 0])
    np.testing.assert_allclose(found.kl_by_dimension, torch.cat(kls).mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.mean_variance_by_dimension, torch.cat(means).var(0, correction=0), rtol=1e-6)
    by_iteration = torch.cat(energies).mean(0)
    np.testing.assert_allclose(found.gain_by_iteration, by_iteration[0] - by_iteration[1:], atol=1e-9)
    assert found.free_energy == pytest.approx(evaluate(filter, data, passes=1, draws=0).free_energy_pooled)
    assert (found.gap, found.gap_error, found.gap_steps, found.steps, found.sequences) == (None, None, 0, 16, 3)
    assert json.loads(json.dumps(found.as_dict()))["units"] == filter.model.latent_size


def test_a_latent_that_is_cut_off_is_seen_as_collapsed() -> None:
    """A dimension that neither reaches the observation nor the other latent has no KL, and is not counted."""
    model = lgssm.Model.from_matrices(
        dynamics=torch.diag(torch.tensor([0.9, 0.5, 0.9], dtype=torch.float64)),
        emission=torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64),
        initial_mean=torch.zeros(3, dtype=torch.float64),
        initial_variance=torch.ones(3, dtype=torch.float64),
        process_variance=torch.full((3,), 0.2, dtype=torch.float64),
        noise_variance=torch.full((2,), 0.1, dtype=torch.float64),
    ).requires_grad_(False)
    filter = Filter(model, exact.Inference(exact.Config(), model))
    found = monitor(filter, sequences(model, 20, 20), gap_steps=0)
    assert found.informed_units == 2
    assert abs(found.kl_by_dimension[1]) < 1e-9
    assert min(found.kl_by_dimension[0], found.kl_by_dimension[2]) > 0.1
    assert found.active_units == 3  # its prior's mean moves with its own sample: Burda's count does not see it


def test_missing_steps_are_not_counted() -> None:
    """Nor measured for the gap."""
    filter = make("srnn-gaussian")
    data = [np.zeros((4, 6), dtype=np.float32), np.zeros((2, 6), dtype=np.float32)]
    data[0][2] = np.nan
    found = monitor(filter, data, gap_steps=4, converged=gradient.Config(iterations=2))
    assert (found.steps, found.gap_steps, found.sequences) == (5, 5, 2)


def test_mistakes_are_typed_errors() -> None:
    """Of numbers, and of data with nothing to filter."""
    filter = make("srnn-gaussian")
    with pytest.raises(ConfigurationError, match="expected 0 or more"):
        monitor(filter, [np.zeros((2, 6))], samples=3)
    with pytest.raises(DataError, match="with an observation"):
        monitor(filter, [np.full((2, 6), np.nan)])
