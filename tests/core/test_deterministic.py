"""Without a latent: the posterior is the prior's mean, for certain, and F is the likelihood of it."""

import numpy as np
import pytest
import torch

from avf_core import configuration, fit
from avf_core.filtering import Filter
from avf_core.training import em
from avf_core.training.config import TrainingConfig

from . import pairs

DETERMINISTIC = {"kind": "deterministic"}
CODEC = {
    "kind": "codec",
    "observation_size": 6,
    "latent_size": 3,
    "hidden_size": 8,
    "prior_widths": [8],
    "decoder_widths": [8],
    "emission": {"order": 2, "gains": 1, "reactive": 0},
    "bin": 1e-3,
}
SRNN = pairs.SRNN | {"likelihood": "gaussian"}


def built(model: dict[str, object]) -> Filter:
    """A filter without a latent, of random parameters."""
    torch.manual_seed(0)
    return configuration.build({"model": model, "inference": DETERMINISTIC})


@pytest.mark.parametrize("model", [CODEC, SRNN], ids=["codec", "srnn"])
def test_f_is_the_likelihood_at_the_priors_mean(model: dict[str, object]) -> None:
    """By hand, step by step: predict, decode at the mean, go on from the mean. Seeds change nothing."""
    filter = built(model)
    xs = torch.randn(5, 3, 6, generator=torch.Generator().manual_seed(1))
    state, expected = filter.model.initial(3), []
    for x in xs:
        context, prior = filter.model.predict(state)
        expected.append(-filter.model.decode(context, prior.mean).log_prob(x).sum(-1))
        state = filter.model.transition(context, x, prior.mean)
    for seed in (0, 7):
        _, estimates = filter.scan(filter.initial(seed + torch.arange(3)), xs)
        torch.testing.assert_close(estimates.free_energy, torch.stack(expected).float(), rtol=1e-4, atol=1e-4)
        assert float(estimates.kl.detach().abs().max()) == 0.0


def test_predictions_have_no_spread_of_a_latent() -> None:
    """What is predicted is the likelihood at the mean, whatever the draws."""
    filter = built(SRNN)
    belief, _ = filter.step(filter.initial(torch.arange(2)), torch.zeros(2, 6))
    context, prior = filter.predict(belief)
    said = filter.prediction(belief, samples=8)
    at_mean = filter.model.decode(context, prior.mean)
    torch.testing.assert_close(said.mean, at_mean.mean)


@pytest.mark.parametrize("model", [CODEC, SRNN], ids=["in one pass", "step by step"])
def test_the_objective_is_mean_f_and_reaches_the_prior(model: dict[str, object]) -> None:
    """Training's objective is what the filter reports, and the prior's mean learns from it; its spread is not heard."""
    filter = built(model)
    xs = torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(2))
    seeds = torch.arange(2)
    objective, _ = em.joint_free_energy(
        filter, em.Clip.whole(xs, torch.ones(4, 2, dtype=torch.bool), seeds), kl_weight=1.0
    )
    _, estimates = filter.scan(filter.initial(seeds), xs)
    assert float(objective.detach()) == pytest.approx(float(estimates.free_energy.mean().detach()), rel=1e-4)
    objective.backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in filter.model.named_parameters() if "prior.mean" in name}
    assert gradients
    assert all(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients.values())


def test_it_is_trained_as_any_other() -> None:
    """A few epochs on a wave lower its F."""
    wave = np.sin(np.arange(240)[:, None] * 0.3 + np.arange(6)).astype(np.float32)
    schedule = TrainingConfig(epochs=6, clip_length=20, batch_size=4, theta_rate=1e-2, validate_every=1, draw="steps")
    start, seed = built(SRNN), torch.zeros(1, dtype=torch.int64)
    held_out = torch.from_numpy(wave[200:, None])
    _, before = start.scan(start.initial(seed), held_out)
    _, after = fit(start, [wave[:200]], [wave[200:]], schedule=schedule).filter.scan(start.initial(seed), held_out)
    assert float(after.free_energy.mean().detach()) < float(before.free_energy.mean().detach())
