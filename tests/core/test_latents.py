"""Several latents a step in training: weighed as a particle filter weighs them."""

from pathlib import Path

import pytest
import torch

from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.inference import _study, exact
from avf_core.training import em
from avf_core.training.latents import Latents
from tests.support.lgssm import independent, random_model, simulate
from tests.support.training import make_run, trainer_of

from .pairs import make, observations

STEPS, ROWS = 4, 20_000


def clip_of(xs: torch.Tensor) -> em.Clip:
    """All frames real, a seed a row."""
    return em.Clip.whole(xs, torch.ones(xs.shape[:2], dtype=torch.bool), torch.arange(xs.shape[1]))


def estimated(filter: Filter, clip: em.Clip, samples: int) -> torch.Tensor:
    """The logarithm of each row's estimate of p(x_1..T)."""
    with torch.no_grad():
        latents, _ = em.expectation(filter, clip, kl_weight=1.0, samples=samples)
        return -em.step_bounds(filter, clip, latents, kl_weight=1.0)[0].sum(0)


@pytest.fixture(scope="module")
def linear() -> tuple[Filter, torch.Tensor, float]:
    """A linear filter whose posteriors factorise, a sequence many times over, and log p of it by pykalman."""
    model = random_model(2, 2)
    xs = simulate(model, STEPS, 1)
    filter = Filter(model, exact.Inference(exact.Config(covariance="diagonal"), model))
    return filter, xs.expand(-1, ROWS, -1), float(independent(model).loglikelihood(xs[:, 0].numpy()))


@pytest.mark.parametrize("samples", [1, 2, 8])
def test_the_evidence_is_unbiased(linear: tuple[Filter, torch.Tensor, float], samples: int) -> None:
    """Weights of any number of samples have p(x_1..T) for their mean, by an independent Kalman filter."""
    filter, xs, truth = linear
    ratios = (estimated(filter, clip_of(xs), samples) - truth).exp()
    assert ratios.mean() == pytest.approx(1.0, abs=4.0 * float(ratios.std()) / ROWS**0.5)


def test_more_samples_bound_the_evidence_more_tightly(linear: tuple[Filter, torch.Tensor, float]) -> None:
    """From above, and never below it."""
    filter, xs, truth = linear
    bounds = [-estimated(filter, clip_of(xs), samples) for samples in (1, 2, 8)]
    errors = [float(b.std()) / ROWS**0.5 for b in bounds]
    means = [float(b.mean()) for b in bounds]
    assert means[0] > means[1] + 4.0 * errors[0]
    assert means[1] > means[2] + 4.0 * errors[1]
    assert means[2] > -truth - 4.0 * errors[2]


@pytest.mark.parametrize("name", ["srnn-gated", "vrnn-iterative", "svg-iterative", "lgssm-exact"])
def test_what_is_gone_on_from_is_one_of_the_samples(name: str) -> None:
    """With the noise of the first sample being the filter's own; the step's KL and posterior are untouched."""
    filter = make(name)
    with torch.no_grad():
        several, _ = em.expectation(filter, clip_of(observations(filter, 3, 5)), kl_weight=1.0, samples=4)
        one, _ = em.expectation(filter, clip_of(observations(filter, 3, 5)), kl_weight=1.0)
    assert (several.count, one.count) == (4, 1)
    assert bool((several.samples == several.z[:, None]).all(-1).any(1).all())
    torch.testing.assert_close(several.samples[0, 0], one.samples[0, 0])
    torch.testing.assert_close(one.samples[:, 0], one.z)


def test_theta_learns_from_weighed_samples() -> None:
    """The gradient is the samples' own, weighed: written out for one step."""
    filter = make("srnn-gated", torch.float64)
    filter.model.requires_grad_(True)
    clip = clip_of(observations(filter, 1, 3))
    latents, _ = em.expectation(filter, clip, kl_weight=1.0, samples=5)
    objective, _ = em.clip_free_energy(filter, clip, latents, kl_weight=1.0)
    objective.backward()  # type: ignore[no-untyped-call]
    found = {k: p.grad.clone() for k, p in filter.model.named_parameters() if p.grad is not None}
    filter.model.zero_grad()
    energies = []
    for sample in latents.samples[0]:
        alone = Latents(z=sample[None], samples=sample[None, None], posterior=latents.posterior)
        energies.append(em.step_bounds(filter, clip, alone, kl_weight=1.0)[0][0])
    weights = torch.stack(energies).detach().neg().softmax(0)
    (weights * torch.stack(energies)).sum(0).mean().backward()
    for key, parameter in filter.model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[key], parameter.grad)


def test_several_samples_train(tmp_path: Path) -> None:
    """A run with four of them learns; theta stands still while it waits, and phi does not."""
    run = make_run(tmp_path, "srnn-whitened", samples=4, theta_waits=1)
    trainer = trainer_of(run)
    before = {name: value.clone() for name, value in trainer.filter.state_dict().items()}
    for epoch in (0, 1):
        trainer.learner.begin_epoch(epoch)
        trainer.update(em.Clip.whole(torch.zeros(4, 8, 6), torch.ones(4, 8, dtype=torch.bool), torch.arange(8)))
        moved = {name for name, value in trainer.filter.state_dict().items() if not torch.equal(value, before[name])}
        assert any(name.startswith("inference.") for name in moved)
        assert any(name.startswith("model.") for name in moved) == bool(epoch)


def test_direct_inference_has_one_sample(tmp_path: Path) -> None:
    """Its phi learns from the same objective as theta: more are refused."""
    with pytest.raises(ConfigurationError, match="set it to 1"):
        trainer_of(make_run(tmp_path, "srnn-direct", samples=2))


def test_frames_that_cost_too_much_count_in_proportion_less() -> None:
    """Of both steps: below the limit nothing changes; beyond it the gradient is scaled by limit / F, row by row."""
    filter = make("srnn-gated", torch.float64)
    filter.requires_grad_(True)
    clip = clip_of(observations(filter, 1, 3))
    latents, study = em.expectation(filter, clip, kl_weight=1.0)
    assert isinstance(study, _study.Study)
    applications = study.applications
    _, reconstruction, kl = em.step_bounds(filter, clip, latents, kl_weight=1.0)
    energies = (reconstruction + kl).detach()[0]
    limit = 0.5 * float(energies.min())

    def slope(outlier: float) -> dict[str, torch.Tensor]:
        filter.zero_grad()
        objective, _ = em.clip_free_energy(filter, clip, latents, kl_weight=1.0, outlier=outlier)
        objective.backward()  # type: ignore[no-untyped-call]
        study.backward(em.weighing(clip.frames, outlier))
        return {name: p.grad.clone() for name, p in filter.named_parameters() if p.grad is not None}

    alone = []
    for row in range(3):
        clip.real[:] = torch.arange(3) == row
        for application in applications:
            application.real.copy_(clip.real[0])
        plain, scaled, high = slope(0.0), slope(limit), slope(1e9)
        for name in plain:
            torch.testing.assert_close(high[name], plain[name])
            if name.startswith("model."):
                torch.testing.assert_close(scaled[name], plain[name] * limit / energies[row])
        alone.append(scaled)
    clip.real[:] = True
    for application in applications:
        application.real.fill_(True)
    together = slope(limit)
    for name, value in together.items():
        torch.testing.assert_close(value, sum(part[name] for part in alone))
    assert em.moderation(torch.tensor([-5.0, 1.0, 8.0]), 4.0).tolist() == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("name", ["srnn-direct", "vrnn-direct"])
def test_frames_that_cost_too_much_count_less_for_direct_inference_too(name: str) -> None:
    """Row by row the gradients of theta and phi are scaled by limit / F, whether steps are one pass or are filtered."""
    filter = make(name, torch.float64).requires_grad_(True)
    clip = clip_of(observations(filter, 1, 3))
    limit = 0.5 * float(filter.scan(filter.initial(clip.seeds), clip.xs)[1].free_energy.detach().min())
    energies: list[float] = []

    def slope(outlier: float) -> dict[str, torch.Tensor]:
        objective, totals = em.joint_free_energy(filter, clip, kl_weight=1.0, outlier=outlier)
        energies.append(float(totals.free_energy))
        named = dict(filter.named_parameters())
        found = torch.autograd.grad(objective, list(named.values()), allow_unused=True)
        return {name: each for name, each in zip(named, found, strict=True) if each is not None}

    parts, together = [], slope(limit)
    for row in range(3):
        clip.real[:] = torch.arange(3) == row
        energies.clear()
        plain, scaled, high = slope(0.0), slope(limit), slope(1e9)
        assert energies[0] == energies[1] > limit  # what is told is F
        for name in plain:
            torch.testing.assert_close(high[name], plain[name])
            torch.testing.assert_close(scaled[name], plain[name] * limit / energies[0])
        parts.append(scaled)
    for name, value in together.items():
        torch.testing.assert_close(value, sum(part[name] for part in parts))
