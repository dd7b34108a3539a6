"""Variational filtering EM (Marino, Cvitkovic & Yue 2018, Algorithm 1), amortised.

E-step: filter a clip, updating q_t from the gradient of F_t; every iterate trains the update model on its own
result. M-step: the free energy of the whole clip, with the latents and posteriors found, trains the model by one
back-propagation through time.

The law: F's gradient with respect to an iterate is both what the next iteration reads and what trains the iteration
before. So phi's gradient needs no second evaluation of F: the chain rule joins dF/dlambda_i, already had, with
dlambda_i/dphi, one batched pass of the update model over all iterates of a clip.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from avf_core import noise
from avf_core.analysis.particles import log_weight
from avf_core.beliefs import State
from avf_core.distributions import Gaussian, reconstruction
from avf_core.filtering import Filter
from avf_core.inference import direct, iterative
from avf_core.models.base import Model, ObservationDriven
from avf_core.nets import Record, RecordedHighways
from avf_core.objectives import Gradient, StepObjective
from avf_core.training.latents import Latents, bound, draw, streams
from avf_core.training.walks import Walk
from avf_core.trees import Tree, concatenate, stack_time, tree_map

STEPS_AHEAD = 25  # steps of a clip whose noise is drawn in one go


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A batch of clips: observations, which frames are real (not padding), and a seed a row.

    `frames` and `sequences` count the real frames and the rows of the whole batch, of which this may be a part
    (data-parallel training): sums are divided by them.
    """

    xs: Float[Tensor, "time batch observation"]
    real: Bool[Tensor, "time batch"]
    seeds: Int64[Tensor, " batch"]
    frames: Int64[Tensor, ""]
    sequences: Int64[Tensor, ""]

    @classmethod
    def whole(
        cls,
        xs: Float[Tensor, "time batch observation"],
        real: Bool[Tensor, "time batch"],
        seeds: Int64[Tensor, " batch"],
    ) -> "Clip":
        """The batch that is all there is."""
        return cls(xs=xs, real=real, seeds=seeds, frames=real.sum(), sequences=torch.tensor(len(seeds)))


@dataclass(frozen=True, kw_only=True)
class Application:
    """One application of the update model: its terms, what it said, and the gradient of F at what that led to.

    `net` applied it and has its backward pass; `real` marks the rows that are no padding.
    """

    net: RecordedHighways
    record: Record
    terms: Float[Tensor, "batch terms latent"]
    said: Float[Tensor, "batch outputs"]
    prior: Gaussian
    target: Gradient
    real: Bool[Tensor, " batch"]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over the real frames of a clip, in nats: free energy (KL weighted by 1) and KL."""

    free_energy: Float[Tensor, ""]
    kl: Float[Tensor, ""]


def clip_free_energy(
    filter: Filter, clip: Clip, latents: Latents, *, kl_weight: float, outlier: float = 0.0
) -> tuple[Float[Tensor, ""], Totals]:
    """The M-step's objective per real frame, given what the E-step found; and what to report.

    It is mean F, or the bound of `latents` where there are several samples a step; frames beyond `outlier` nats count
    in proportion less.
    """
    energy, priors = _replayed(filter.model, clip, latents)
    mean_energy, kl = energy.mean(1), latents.posterior.total_kl(priors)
    energies = mean_energy + kl_weight * kl if latents.count == 1 else _bounds(energy, priors, latents, kl_weight)
    weights = clip.real * moderation(energies.detach(), outlier)
    return (energies * weights).sum() / clip.frames, _totals(mean_energy, kl, clip)


def moderation(free_energy: Float[Tensor, "*rows"], outlier: float) -> Float[Tensor, "*rows"]:
    """What the gradient of F is scaled by: 1 up to `outlier` nats, outlier / F beyond; 1 throughout where that is 0."""
    return (outlier / free_energy.clamp(min=outlier)) if outlier else torch.ones_like(free_energy)


def step_bounds(
    filter: Filter, clip: Clip, latents: Latents, *, kl_weight: float
) -> tuple[Float[Tensor, "time batch"], Float[Tensor, "time batch"], Float[Tensor, "time batch"]]:
    """The bound of every step on the samples given, the reconstruction averaged over them, and KL; in nats."""
    energy, priors = _replayed(filter.model, clip, latents)
    return _bounds(energy, priors, latents, kl_weight), energy.mean(1), latents.posterior.total_kl(priors)


def _replayed(model: Model, clip: Clip, latents: Latents) -> tuple[Float[Tensor, "time samples batch"], Gaussian]:
    """-log p(x_t | z_t) of all samples in nats, and the priors."""
    contexts, priors = model.replay(model.initial(clip.real.shape[1]), clip.xs, latents.z)
    return _replayed_reconstruction(model, contexts, clip, latents.samples), priors


def _bounds(
    energy: Float[Tensor, "time samples batch"], priors: Gaussian, latents: Latents, kl_weight: float
) -> Float[Tensor, "time batch"]:
    prior, posterior = _by_sample(priors), _by_sample(latents.posterior)
    return bound(log_weight(energy, prior, posterior, latents.samples, kl_weight=kl_weight).transpose(0, 1))


def _by_sample(distribution: Tree) -> Tree:
    """With an axis of samples after that of time."""
    return tree_map(lambda tensor: tensor.unsqueeze(1), distribution)


def _replayed_reconstruction(
    model: Model, contexts: State, clip: Clip, zs: Float[Tensor, "time samples batch latent"]
) -> Float[Tensor, "time samples batch"]:
    """-log p(x_t | z_t) of all steps and samples, decoded as one batch, in nats."""
    flat_contexts = tree_map(lambda t: t.flatten(0, 1), contexts)
    flat_z = zs.transpose(0, 1).flatten(1, 2)
    energy = reconstruction(model.decode_samples(flat_contexts, flat_z), clip.xs.flatten(0, 1), None)
    return energy.view(-1, *clip.real.shape).transpose(0, 1)


@torch.no_grad()
def expectation(
    filter: Filter,
    clip: Clip,
    *,
    kl_weight: float,
    learn: Callable[[list[Application]], None] | None,
    samples: int = 1,
    dtype: torch.dtype | None = None,
) -> tuple[Latents, list[Application]]:
    """The E-step: latents, `samples` a step, and the update model's applications (empty where `learn` took them).

    `learn` is called after every time step with the step's applications: online learning. Matrix products are in
    `dtype`, or in the model's own where none is given. Procedures without an update model have no applications, and
    are computed in the model's own.
    """
    inference, own = filter.inference, filter.model.dtype
    if isinstance(inference, iterative.Inference):
        walk = Walk(filter.model, clip.xs, clip.seeds, kl_weight=kl_weight, dtype=dtype or own)
        return _amortized_expectation(inference, walk, clip, learn, samples)
    walk = Walk(filter.model, clip.xs, clip.seeds, kl_weight=kl_weight, dtype=own)
    found, state = [], inference.initial(len(clip.seeds))
    for t in range(len(clip.xs)):
        objective = walk.objective(t)
        inferred = inference.infer(objective, state)
        state = inferred.state
        found.append(draw(objective, inferred.posterior, objective.noise(streams=streams(samples))))
        walk.go_on(t, found[-1].z)
    return stack_time(found), []


def _amortized_expectation(
    inference: iterative.Inference,
    walk: Walk,
    clip: Clip,
    learn: Callable[[list[Application]], None] | None,
    samples: int,
) -> tuple[Latents, list[Application]]:
    net = inference.recorded(walk.dtype)
    found, applications = [], []
    for t, (eps, last) in enumerate(_noise_of_steps(inference, clip, walk.model.latent_size, samples)):
        objective = walk.objective(t)
        dtype = objective.prior.mean.dtype
        posterior, met = infer_and_record(inference, net, objective, clip.real[t], eps.to(dtype))
        if learn:
            learn(met)
            net.refresh()
        else:
            applications += met
        found.append(draw(objective, posterior, last.to(dtype)))
        walk.go_on(t, found[-1].z)
    return stack_time(found), applications


def _noise_of_steps(
    inference: iterative.Inference, clip: Clip, size: int, count: int
) -> Iterator[tuple[Float[Tensor, "iterates samples batch latent"], Float[Tensor, "count batch latent"]]]:
    """For every step, the noise of all its iterates' gradient samples and of its latents: that of `StepObjective`.

    It depends on seeds and steps only, so that of several steps is drawn in one go.
    """
    iterates = inference.config.iterations + 1
    numbers_of = [*streams(count), *inference.streams(range(iterates))]
    batch = len(clip.seeds)
    for start in range(0, len(clip.xs), STEPS_AHEAD):
        steps = torch.arange(start, min(start + STEPS_AHEAD, len(clip.xs)), device=clip.seeds.device)
        seeds, numbers = clip.seeds.repeat(len(steps)), steps.repeat_interleave(batch)
        drawn = noise.standard_normal(seeds, numbers, streams=numbers_of, size=size)
        drawn = drawn.view(len(numbers_of), len(steps), batch, size)
        samples = inference.in_samples(drawn[count:], iterates)
        for t in range(len(steps)):
            yield samples[:, :, t], drawn[:count, t]


def infer_and_record(
    inference: iterative.Inference,
    net: RecordedHighways,
    objective: StepObjective,
    real: Bool[Tensor, " batch"],
    eps: Float[Tensor, "iterates samples batch latent"],
) -> tuple[Gaussian, list[Application]]:
    """Inference at one step, keeping what trains the update model."""
    posterior = prior = objective.prior
    gradient = objective.gradient(posterior, eps[0])
    seen = inference.seen(objective)
    applications = []
    for iteration in range(inference.config.iterations):
        terms = inference.terms(posterior, gradient, prior)
        said, record = net(inference.features(terms, seen))
        posterior = inference.settle(terms, said, prior)
        gradient = objective.gradient(posterior, eps[iteration + 1])
        applications.append(
            Application(net=net, record=record, terms=terms, said=said, prior=prior, target=gradient, real=real)
        )
    return posterior, applications


def backward_through_updates(
    inference: iterative.Inference, applications: list[Application], frames: Int64[Tensor, ""], outlier: float = 0.0
) -> None:
    """Set phi's gradients to those of the sum of F over all iterates, per real frame; `outlier` as in the M-step."""
    joined = concatenate(applications) if len(applications) > 1 else applications[0]
    target = joined.target
    weight = (joined.real * moderation(target.free_energy, outlier) / frames)[:, None].to(target.mean.dtype)
    with torch.enable_grad():
        said = joined.said.detach().requires_grad_()
        updated = inference.settle(joined.terms, said, joined.prior)
        (slope,) = torch.autograd.grad(
            [updated.mean, updated.log_variance], said, [target.mean * weight, target.log_variance * weight]
        )
    joined.net.backward(joined.record, slope)


def direct_free_energy(filter: Filter, clip: Clip, *, kl_weight: float) -> tuple[Float[Tensor, ""], Totals]:
    """The baselines' objective: mean F per real frame, differentiable in theta and phi through the whole clip.

    Where neither the model's contexts nor the procedure hear latents, all steps are one pass; else they are filtered
    one by one.
    """
    model, inference = filter.model, filter.inference
    assert isinstance(inference, direct.Inference)
    if isinstance(model, ObservationDriven) and not inference.config.recurrent:
        return _direct_in_one_pass(model, inference, clip, kl_weight)
    _, estimates = filter.scan(filter.initial(clip.seeds), clip.xs)
    return _mean_per_frame(estimates.reconstruction, estimates.kl, clip, kl_weight)


def _direct_in_one_pass(
    model: ObservationDriven, inference: direct.Inference, clip: Clip, kl_weight: float
) -> tuple[Float[Tensor, ""], Totals]:
    steps, batch = clip.real.shape
    state = model.initial(batch)
    contexts = model.contexts(state, clip.xs)
    posteriors = inference.net(inference.read(model, contexts, clip.xs))
    seeds, numbers = clip.seeds.repeat(steps), torch.arange(steps, device=clip.seeds.device).repeat_interleave(batch)
    drawn = noise.standard_normal(seeds, numbers, streams=[noise.POSTERIOR], size=model.latent_size)
    zs = posteriors.transform(drawn.view(steps, batch, -1).to(posteriors.mean.dtype))
    priors = model.priors(state, contexts, zs)
    energy = _replayed_reconstruction(model, contexts, clip, zs[:, None])[:, 0]
    return _mean_per_frame(energy, posteriors.total_kl(priors), clip, kl_weight)


def _mean_per_frame(
    reconstruction: Float[Tensor, "time batch"], kl: Float[Tensor, "time batch"], clip: Clip, kl_weight: float
) -> tuple[Float[Tensor, ""], Totals]:
    """The weighted F per real frame, to be differentiated, and the sums to report."""
    return ((reconstruction + kl_weight * kl) * clip.real).sum() / clip.frames, _totals(reconstruction, kl, clip)


def _totals(reconstruction: Float[Tensor, "time batch"], kl: Float[Tensor, "time batch"], clip: Clip) -> Totals:
    return Totals(
        free_energy=((reconstruction + kl) * clip.real).sum().detach(),
        kl=(kl * clip.real).sum().detach(),
    )
