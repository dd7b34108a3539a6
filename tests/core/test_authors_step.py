"""The reference of benchmarks makes the same step as the filter, by the authors' arithmetic."""

import torch

from avf_core.distributions import Gaussian
from avf_core.filtering import Filter
from avf_core.inference import iterative
from avf_core.models import srnn
from benchmarks.authors import Reference

SAMPLES = 40_000


def small(**changes: object) -> Filter:
    """A small SRNN with the paper's update model."""
    torch.manual_seed(0)
    model = srnn.Model(srnn.SMALL)
    config = iterative.Config(units=16, rule="learned_sgd", iterations=3, normalize_mean=True, **changes)  # type: ignore[arg-type]
    return Filter(model, iterative.Inference(config, model)).eval()


def pieces(filter: Filter, batch: int) -> tuple[dict[str, torch.Tensor], torch.Tensor, Gaussian]:
    """A state, observations and a posterior that is not the prior."""
    x = (torch.rand(batch, filter.model.observation.size) > 0.5).float()
    posterior = Gaussian(torch.randn(batch, filter.model.latent_size), torch.randn(batch, filter.model.latent_size))
    return filter.model.initial(batch), x, posterior


def test_its_free_energy_is_the_objectives_in_the_mean() -> None:
    """KL from samples and in closed form, the likelihood from the same decoder: equal but for the samples' noise."""
    filter = small()
    state, x, posterior = pieces(filter, 2)
    with torch.no_grad():
        rows = SAMPLES // 8
        found = [sum(Reference(filter).terms(state, posterior, x, samples=rows)[0]) for _ in range(8)]
        objective = filter.objective(filter.initial(torch.arange(2)), x)
        expected = objective.free_energy(posterior, torch.randn(SAMPLES, 2, filter.model.latent_size))
    stack = torch.stack([torch.as_tensor(one) for one in found])
    error = stack.std(0) / 8**0.5
    assert ((stack.mean(0) - expected).abs() < 6.0 * error + 1e-3).all()


def test_it_applies_the_same_update_model() -> None:
    """Gates that are evaluated once for each term weigh them as one evaluation does."""
    for append in (False, True):
        filter = small(append_observation=append)
        state, x, posterior = pieces(filter, 3)
        reference, inference = Reference(filter), filter.inference
        assert isinstance(inference, iterative.Inference)
        objective = filter.objective(filter.initial(torch.arange(3)), x)
        gradient = objective.gradient(posterior, torch.randn(1, 3, filter.model.latent_size))
        expected = inference.update(posterior, gradient, objective.prior, inference.seen(objective))
        found = reference.updated(posterior, gradient, objective.prior, x)
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(found.log_variance, expected.log_variance)
        assert set(state) == {"hidden", "cell", "z"}


def test_every_iterate_has_a_backward_pass_through_model_and_update_model() -> None:
    """With n iterations there are n + 1 rows of statistics, and all of phi has gradients, though nothing is trained."""
    filter = small()
    state, x, _ = pieces(filter, 1)
    following, statistics = Reference(filter).step(state, x)
    assert len(statistics) == 4
    assert all(abs(row[0] - row[1] - row[2]) < 1e-4 for row in statistics)
    assert all(parameter.grad is not None for parameter in filter.inference.parameters())
    expected = filter.model.transition(filter.model.predict(state)[0], x, following["z"])
    torch.testing.assert_close(following["hidden"], expected["hidden"])
    assert not any(tensor.requires_grad for tensor in following.values())
