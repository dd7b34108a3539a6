"""Procedures that iterate: accept-or-keep, updates beyond those trained, and optimisers against known ones."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from avf_core import noise
from avf_core.distributions import Gaussian
from avf_core.filtering import Filter
from avf_core.inference import _descent, gradient, iterative
from avf_core.inference.base import Effort
from avf_core.objectives import Gradient, StepObjective

from .pairs import make, observations

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

ROWS = torch.arange(32)


def objective(name: str) -> StepObjective:
    """F of the third step of 32 sequences, in float64."""
    filter = make(name, torch.float64)
    xs = observations(filter, 3, 32)
    belief, _ = filter.scan(filter.initial(ROWS), xs[:2], iterations=1)
    return filter.objective(belief, xs[2])


def common_free_energy(o: StepObjective, q: Gaussian, samples: int) -> Tensor:
    """F on the step's common random numbers, from its definition: what accept-or-keep promises not to raise."""
    streams = range(noise.COMMON, noise.COMMON + samples // 2)
    drawn = noise.standard_normal(o.seed, o.step, streams=streams, size=q.mean.shape[-1])
    energies = []
    for eps in (*drawn, *(-drawn)):
        z = q.mean + torch.exp(q.log_variance / 2) * eps
        energies.append(-o.model.decode(o.context, z).log_prob(o.x).sum(-1))
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(
        normal(q.mean, torch.exp(q.log_variance / 2)), normal(o.prior.mean, torch.exp(o.prior.log_variance / 2))
    )
    return torch.stack(energies).mean(0) + kl.sum(-1)


class Adversary(_descent.Inference):
    """Proposals that climb, jump, are not finite, or are tiny: the worst that an update model could make."""

    def __init__(self, config: _descent.Config, kind: str) -> None:
        super().__init__()
        self.config = config
        self.kind = kind

    def begin(self, objective: StepObjective) -> dict[str, Tensor]:
        return {}

    def propose(
        self, posterior: Gaussian, gradient: Gradient, prior: Gaussian, memory: dict[str, Tensor], *, iteration: int
    ) -> tuple[Gaussian, dict[str, Tensor]]:
        mean, log_variance = posterior.mean, posterior.log_variance
        if self.kind == "climbs":
            return Gaussian(mean + gradient.mean, (log_variance + gradient.log_variance).clamp(-15.0, 5.0)), memory
        if self.kind == "jumps":
            return Gaussian(-3.0 * mean + 50.0 * (-1.0) ** iteration, torch.full_like(mean, 5.0)), memory
        if self.kind == "is not finite":
            return Gaussian(mean * float("nan"), log_variance + float("inf")), memory
        return Gaussian(mean + 1e-9 * (-1.0) ** iteration, log_variance - 1e-9), memory


def procedures(o: StepObjective) -> dict[str, _descent.Inference]:
    """Untrained update models of both rules, optimisers with steps that are too long, and adversaries."""
    torch.manual_seed(3)
    config = _descent.Config(iterations=5, keep_best=True, samples=2, common_samples=4)
    shared = {"iterations": 5, "keep_best": True, "common_samples": 4}
    found: dict[str, _descent.Inference] = {
        f"{rule} {inputs}": iterative.Inference(
            iterative.Config(units=16, rule=rule, inputs=inputs, **shared),  # type: ignore[arg-type]
            o.model,
        ).double()
        for rule in ("gated", "learned_sgd")
        for inputs in ("layer_norm", "whitened")
    }
    for optimizer in ("adam", "sgd"):
        found[optimizer] = gradient.Inference(
            gradient.Config(optimizer=optimizer, learning_rate=5.0, **shared),  # type: ignore[arg-type]
            o.model,
        )
    for kind in ("climbs", "jumps", "is not finite", "is tiny"):
        found[kind] = Adversary(config, kind)
    return found


@pytest.mark.parametrize("name", ["srnn-gated", "srnn-gaussian", "lgssm-iterative"])
def test_with_accept_or_keep_free_energy_never_rises(name: str) -> None:
    """F on the common random numbers is never above the prior's, nor above that of any iterate before."""
    o = objective(name)
    for label, procedure in procedures(o).items():
        before = common_free_energy(o, o.prior, 4)
        at_prior = before
        for iterations in (2, 60):
            with torch.no_grad():
                inferred = procedure.infer(o, {}, effort=Effort(iterations=iterations))
            energy = common_free_energy(o, inferred.posterior, 4)  # type: ignore[arg-type]
            assert bool((energy <= before + 1e-9).all()), label
            torch.testing.assert_close(inferred.free_energies[:, 0], at_prior)
            assert bool((inferred.free_energies.diff(dim=-1) <= 0.0).all()), label
            before = energy


def test_accept_or_keep_accepts_what_is_better() -> None:
    """It is no excuse to stay at the prior: descent by short steps is accepted nearly always."""
    o = objective("lgssm-iterative")
    config = gradient.Config(keep_best=True, samples=4, antithetic=True, learning_rate=0.05)
    kept = gradient.Inference(config, o.model).infer(o, {}).posterior
    free = gradient.Inference(replace(config, keep_best=False), o.model).infer(o, {}).posterior
    moved = (free.mean - o.prior.mean).abs().mean()
    assert float((kept.mean - free.mean).abs().mean()) < 0.2 * float(moved)


@pytest.mark.parametrize(
    ("name", "iterations"),
    [("srnn-gated", 100), ("srnn-learned_sgd", 100), ("srnn-whitened", 100), ("lgssm-iterative", 1000)],
)
def test_more_iterations_than_trained_do_not_diverge(name: str, iterations: int) -> None:
    """F stays finite, and is not above the larger of the prior's and that after the iterations trained."""
    o = objective(name)
    inference = make(name, torch.float64).inference
    assert isinstance(inference, iterative.Inference)
    with torch.no_grad():
        start = inference.infer(o, {}).posterior
        end = inference.infer(o, {}, effort=Effort(iterations=iterations))
    assert bool(end.free_energies.isfinite().all())
    assert end.free_energies.shape[-1] == iterations
    reached, trained, at_prior = (
        common_free_energy(o, q, _descent.GUARD_SAMPLES)  # type: ignore[arg-type]
        for q in (end.posterior, start, o.prior)
    )
    assert bool((reached <= torch.maximum(trained, at_prior) + 1e-9).all())


def test_an_update_model_that_leads_away_is_not_followed_beyond_its_training() -> None:
    """With a step size that makes descent unstable, F would grow by orders of magnitude; it does not."""
    o = objective("lgssm-iterative")
    torch.manual_seed(0)
    inference = iterative.Inference(iterative.Config(units=8, rule="learned_sgd", iterations=1), o.model).double()
    with torch.no_grad():
        inference.heads.weight.zero_()
        inference.heads.bias.view(4, 2)[1::2] = 3.0  # steps of 0.95 times the gradient
        o.model.noise_log_variance.fill_(-3.0)  # against a curvature of about 20
        free = inference.infer(o, {}, effort=Effort(iterations=40)).posterior
        energy = common_free_energy(o, free, 2)  # type: ignore[arg-type]
        inference.config = replace(inference.config, iterations=40)
        unstable = common_free_energy(o, inference.infer(o, {}).posterior, 2)  # type: ignore[arg-type]
        once = inference.infer(o, {}, effort=Effort(iterations=1)).posterior
    limit = torch.maximum(common_free_energy(o, o.prior, 2), common_free_energy(o, once, 2))  # type: ignore[arg-type]
    assert bool((energy <= limit + 1e-9).all())
    assert float(unstable.median()) > 1e3 * float(limit.median())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_optimisers_are_torchs(optimizer: str, decay: float) -> None:
    """The iterates are those of torch.optim on the same noise, every row by itself."""
    o = objective("lgssm-iterative")
    config = gradient.Config(
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate=0.1,
        decay=decay,
        iterations=7,
        samples=3,
        whitened=False,
    )
    inference = gradient.Inference(config, o.model)
    found = inference.infer(o, {}).posterior
    mean, log_variance = (t.clone().requires_grad_() for t in (o.prior.mean, o.prior.log_variance))
    reference = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]([mean, log_variance], lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(reference, lambda t: 1.0 / (1.0 + decay * t))
    for iteration in range(7):
        reference.zero_grad()
        streams = range(noise.ITERATION + 3 * iteration, noise.ITERATION + 3 * iteration + 3)
        eps = noise.standard_normal(o.seed, o.step, streams=streams, size=mean.shape[-1])
        z = mean + torch.exp(log_variance / 2) * eps
        likelihood = -o.model.decode({}, z.flatten(0, 1)).log_prob(o.x.repeat(3, 1)).sum() / 3.0
        posterior = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
        kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(o.prior.mean, o.prior.deviation))
        (likelihood + kl.sum()).backward()
        reference.step()
        schedule.step()
    torch.testing.assert_close(found.mean, mean.detach())
    torch.testing.assert_close(found.log_variance, log_variance.detach())


def test_whitened_descent_does_not_depend_on_the_units_of_the_latent() -> None:
    """Scaling a latent's prior and its use by the likelihood alike scales the posterior and nothing else."""
    config = gradient.Config(learning_rate=0.2, iterations=10)
    found = []
    for scale in (1.0, 5.0):
        model = make("lgssm-iterative", torch.float64).model
        with torch.no_grad():
            model.emission.div_(scale)
            model.initial_log_variance.add_(2.0 * math.log(scale))
        scaled = Filter(model, gradient.Inference(config, model))
        _, estimate = scaled.step(scaled.initial(torch.arange(5)), observations(scaled, 1, 5)[0])
        found.append((estimate.posterior.mean / scale, estimate.free_energy))
    torch.testing.assert_close(found[0], found[1])


def test_gradient_inference_has_no_parameters() -> None:
    """Nothing is learned."""
    assert list(make("srnn-adam").inference.parameters()) == []
