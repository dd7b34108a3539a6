"""Variational filtering EM (Marino, Cvitkovic & Yue 2018, Algorithm 1), amortised.

E-step: filter a clip by the inference procedure, which keeps what its own parameters are to learn. M-step: the free
energy of the whole clip, with the latents and posteriors found, trains the model by one back-propagation through time.
Procedures that learn with theta have no E-step: the free energy is that of their own posteriors.

The law: posteriors of the E-step are those of the filter, by the same code, whatever the procedure.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import State
from avf_core.distributions import AnyGaussian, Gaussian, reconstruction
from avf_core.drives import FREE, Drive
from avf_core.errors import ConfigurationError
from avf_core.filtering import Filter
from avf_core.gaps import imputed, where_observed
from avf_core.inference.base import OnePass, Study, Weigh
from avf_core.models.base import Model, ObservationDriven
from avf_core.native.lessons import Lesson, Watched, training_of
from avf_core.objectives import expected
from avf_core.particles import log_weight
from avf_core.training.latents import Latents, bound, draw, streams
from avf_core.training.walks import Walk
from avf_core.trees import Tree, stack_time, take, tree_map

Studied = Study | Lesson
"""A clip in the E-step, by torch or by the native executor, and what phi has to learn from it."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A batch of clips: observations and what drove them, which frames are real (not padding), and a seed a row.

    `observed` marks the numbers that were observed, all where it is None. `frames` and `sequences` count the real
    frames and the rows of the whole batch, of which this may be a part (data-parallel training): sums are divided by
    them.
    """

    xs: Float[Tensor, "time batch observation"]
    real: Bool[Tensor, "time batch"]
    seeds: Int64[Tensor, " batch"]
    frames: Int64[Tensor, ""]
    sequences: Int64[Tensor, ""]
    drive: Drive = FREE
    observed: Bool[Tensor, "time batch observation"] | None = None

    @classmethod
    def whole(
        cls,
        xs: Float[Tensor, "time batch observation"],
        real: Bool[Tensor, "time batch"],
        seeds: Int64[Tensor, " batch"],
        drive: Drive = FREE,
        observed: Bool[Tensor, "time batch observation"] | None = None,
    ) -> "Clip":
        """The batch that is all there is. A frame of which nothing was observed does not count."""
        real = real if observed is None else real & observed.any(-1)
        counts = {"frames": real.sum(), "sequences": torch.tensor(len(seeds))}
        return cls(xs=xs, real=real, seeds=seeds, drive=drive, observed=observed, **counts)

    @property
    def flat_mask(self) -> Bool[Tensor, "rows observation"] | None:
        """`observed`, with time and batch as one axis."""
        return None if self.observed is None else self.observed.flatten(0, 1)


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
    return _mean_per_frame(energies, clip, outlier), _totals(mean_energy, kl, clip)


def moderation(free_energy: Float[Tensor, "*rows"], outlier: float) -> Float[Tensor, "*rows"]:
    """What the gradient of F is scaled by: 1 up to `outlier` nats, outlier / F beyond; 1 throughout where that is 0."""
    return (outlier / free_energy.clamp(min=outlier)) if outlier else torch.ones_like(free_energy)


def step_bounds(
    filter: Filter, clip: Clip, latents: Latents, *, kl_weight: float
) -> tuple[Float[Tensor, "time batch"], Float[Tensor, "time batch"], Float[Tensor, "time batch"]]:
    """The bound of every step on the samples given, the reconstruction averaged over them, and KL; in nats."""
    energy, priors = _replayed(filter.model, clip, latents)
    return _bounds(energy, priors, latents, kl_weight), energy.mean(1), latents.posterior.total_kl(priors)


def _replayed(model: Model, clip: Clip, latents: Latents) -> tuple[Float[Tensor, "time samples batch"], AnyGaussian]:
    """-log p(x_t | z_t) of all samples in nats, and the priors."""
    contexts, priors = model.replay(model.initial(clip.real.shape[1]), clip.xs, latents.z, clip.drive)
    return _replayed_reconstruction(model, contexts, clip, latents.samples, priors), priors


def _bounds(
    energy: Float[Tensor, "time samples batch"], priors: AnyGaussian, latents: Latents, kl_weight: float
) -> Float[Tensor, "time batch"]:
    prior, posterior = _by_sample(priors), _by_sample(latents.posterior)
    return bound(log_weight(energy, prior, posterior, latents.samples, kl_weight=kl_weight).transpose(0, 1))


def _by_sample(distribution: Tree) -> Tree:
    """With an axis of samples after that of time."""
    return tree_map(lambda tensor: tensor.unsqueeze(1), distribution)


def _replayed_reconstruction(
    model: Model, contexts: State, clip: Clip, zs: Float[Tensor, "time samples batch latent"], priors: AnyGaussian
) -> Float[Tensor, "time samples batch"]:
    """-log p(x_t | z_t) of all steps and samples, decoded as one batch, in nats; gaps hold what priors predict."""
    flat_contexts, flat_priors = tree_map(lambda t: t.flatten(0, 1), (contexts, priors))
    flat_z = zs.transpose(0, 1).flatten(1, 2)
    with torch.no_grad():
        xs, _ = expected(model, flat_contexts, flat_priors, clip.xs.flatten(0, 1), clip.flat_mask)
    energy = reconstruction(model.decode_samples(flat_contexts, flat_z), xs, clip.flat_mask)
    return energy.view(-1, *clip.real.shape).transpose(0, 1)


@torch.no_grad()
def filled(filter: Filter, clip: Clip) -> Clip:
    """The clip with what is missing in it as the filter hears it: a draw, after the inference of its step."""
    if clip.observed is None:
        return clip
    belief, heard = filter.initial(clip.seeds), []
    for t, (x, observed) in enumerate(zip(clip.xs, clip.observed, strict=True)):
        drive = take(clip.drive, t)
        following, estimate = filter.step(belief, x, observed=observed, inputs=drive.inputs, dt=drive.dt)
        heard.append(imputed(estimate.likelihood, belief, x, observed))
        belief = following
    return replace(clip, xs=torch.stack(heard))


@torch.no_grad()
def expectation(
    filter: Filter,
    clip: Clip,
    *,
    kl_weight: float,
    learn: Callable[[Studied], None] | None = None,
    samples: int = 1,
    dtype: torch.dtype | None = None,
) -> tuple[Latents, Studied]:
    """The E-step: latents, `samples` a step, and the procedure's study of the clip: what phi has to learn from it.

    A clip with gaps is one that was `filled`.

    `learn` is called after every time step with what was learned from it alone: online learning. Matrix products are
    in `dtype` where phi learns here, or in the model's own where none is given. Raises ConfigurationError for a
    procedure that keeps the past in closed form: it has no latents.
    """
    drawn = None if samples > 1 else _lesson(filter, clip, kl_weight=kl_weight, online=learn is not None, dtype=dtype)
    if drawn is not None:
        return _natively(drawn, learn), drawn
    inference, own = filter.inference, filter.model.dtype
    dtype = (dtype or own) if inference.learns == "in the E-step" else own
    study = inference.study(dtype)
    numbers = [*streams(samples), *study.streams()]
    walk = Walk(
        filter.model,
        clip.xs,
        clip.seeds,
        kl_weight=kl_weight,
        dtype=dtype,
        streams=numbers,
        drive=clip.drive,
        observed=clip.observed,
    )
    found, state = [], inference.initial(len(clip.seeds))
    for t in range(len(clip.xs)):
        objective = inference.objective(walk.objective(t), state)
        if objective.exact:
            raise ConfigurationError(
                f"{type(inference).__module__} keeps the past in closed form, and so has no latents for an M-step: "
                "let its `learns` be 'with theta'"
            )
        inferred = study.infer(objective, state, real=clip.real[t])
        state = inferred.state
        if learn is not None:
            learn(study)
            study.renew()
        posterior = where_observed(inferred.posterior, objective.prior, objective.observed)
        found.append(draw(objective, posterior, objective.noise(streams=streams(samples))))
        walk.go_on(t, found[-1].z)
    return stack_time(found), study


def _lesson(filter: Filter, clip: Clip, *, kl_weight: float, online: bool, dtype: torch.dtype | None) -> Lesson | None:
    """The clip for the native executor; None where torch infers it."""
    learns, half = filter.inference.learns == "in the E-step", dtype is torch.bfloat16
    training = training_of(filter, clip.xs, *filter.parameters(), mixed=half) if learns else None
    if training is None:
        return None
    watched = Watched(xs=clip.xs, observed=clip.observed, real=clip.real, seeds=clip.seeds, kl_weight=kl_weight)
    return Lesson(training, filter.model.initial(len(clip.seeds)), watched, online=online)


def _natively(lesson: Lesson, learn: Callable[[Studied], None] | None) -> Latents:
    """The same E-step by the native executor."""
    for t in range(len(lesson.z)):
        lesson.infer(t)
        if learn is not None:
            learn(lesson)
            lesson.renew()
    return Latents(z=lesson.z, samples=lesson.z[:, None], posterior=Gaussian(lesson.mean, lesson.log_variance))


def weighing(frames: Int64[Tensor, ""], outlier: float = 0.0) -> Weigh:
    """How phi's gradients weigh F of each iterate: per real frame; `outlier` as in the M-step."""
    return lambda free_energy, real: real * moderation(free_energy, outlier) / frames


def joint_free_energy(
    filter: Filter, clip: Clip, *, kl_weight: float, outlier: float = 0.0
) -> tuple[Float[Tensor, ""], Totals]:
    """The objective of procedures that learn with theta: mean F per real frame, differentiable in theta and phi.

    Frames beyond `outlier` nats count in proportion less. Where neither the model's contexts nor the procedure hear
    latents, all steps are one pass, in which what is missing stands as filtering before has filled it; else, or where
    nothing of a step was observed, they are filtered one by one.
    """
    model, posteriors = filter.model, filter.inference.in_one_pass()
    seen = clip.observed is None or bool(clip.observed.any(-1).all())
    if isinstance(model, ObservationDriven) and posteriors is not None and seen:
        heard, read = (clip, clip.xs) if clip.observed is None else _filled_twice(filter, clip)
        reconstruction, kl = _in_one_pass(model, posteriors, heard, read)
    else:
        drive, start = clip.drive, filter.initial(clip.seeds)
        _, estimates = filter.scan(start, clip.xs, observed=clip.observed, inputs=drive.inputs, dt=drive.dt)
        reconstruction, kl = estimates.reconstruction, estimates.kl
    return _mean_per_frame(reconstruction + kl_weight * kl, clip, outlier), _totals(reconstruction, kl, clip)


@torch.no_grad()
def _filled_twice(filter: Filter, clip: Clip) -> tuple[Clip, Float[Tensor, "time batch observation"]]:
    """The clip with what is missing as the recurrence hears it, a draw; and as inference reads it, the prediction."""
    assert clip.observed is not None
    belief, heard, read = filter.initial(clip.seeds), [], []
    for t, (x, observed) in enumerate(zip(clip.xs, clip.observed, strict=True)):
        objective = filter.objective(belief, x, observed=observed, drive=take(clip.drive, t))
        inferred = filter.inference.infer(objective, belief.inference)
        z = objective.sample(inferred.posterior)
        likelihood = objective.likelihood(inferred.posterior, z)
        heard.append(imputed(likelihood, belief, x, observed))
        read.append(objective.x)
        belief = filter.advance(belief, objective, x=heard[-1], z=z, inference=inferred.state)
    return replace(clip, xs=torch.stack(heard)), torch.stack(read)


def _in_one_pass(
    model: ObservationDriven, posteriors_of: OnePass, clip: Clip, read: Float[Tensor, "time batch observation"]
) -> tuple[Float[Tensor, "time batch"], Float[Tensor, "time batch"]]:
    """The reconstruction and the KL of every step."""
    steps, batch = clip.real.shape
    state = model.initial(batch)
    contexts = model.contexts(state, clip.xs, clip.drive)
    posteriors = posteriors_of(model, contexts, read)
    seeds, numbers = clip.seeds.repeat(steps), torch.arange(steps, device=clip.seeds.device).repeat_interleave(batch)
    drawn = noise.standard_normal(seeds, numbers, streams=[noise.POSTERIOR], size=model.latent_size)
    zs = posteriors.transform(drawn.view(steps, batch, -1).to(posteriors.mean.dtype))
    priors = model.priors(state, contexts, zs)
    energy = _replayed_reconstruction(model, contexts, clip, zs[:, None], priors)[:, 0]
    return energy, posteriors.total_kl(priors)


def _mean_per_frame(energies: Float[Tensor, "time batch"], clip: Clip, outlier: float) -> Float[Tensor, ""]:
    """The objective per real frame, to be differentiated; frames beyond `outlier` nats count in proportion less."""
    return (energies * (clip.real * moderation(energies.detach(), outlier))).sum() / clip.frames


def _totals(reconstruction: Float[Tensor, "time batch"], kl: Float[Tensor, "time batch"], clip: Clip) -> Totals:
    return Totals(
        free_energy=((reconstruction + kl) * clip.real).sum().detach(),
        kl=(kl * clip.real).sum().detach(),
    )
