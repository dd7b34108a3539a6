"""What the E-step leaves to the M-step: the latents of a clip and the posteriors that they were drawn from.

With one sample a step, the M-step descends the free energy. With several it descends the bound

    -sum_t log 1/K sum_k w_t^k,       w_t^k = p(x_t | z_t^k, past) p(z_t^k | past) / q(z_t^k),      z_t^1..K ~ q_t

and the past goes on from one of the z_t^k, drawn in proportion to its weight: a particle filter (Maddison et al.,
"Filtering variational objectives", 2017) whose K particles all come from one ancestor. Its evidence is unbiased, so
that this is a bound on -log p(x_1..T), and tighter than the free energy: theta is held less to posteriors that
factorise.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from avf_core import noise
from avf_core.objectives import Posterior, StepObjective
from avf_core.particles import log_weight, multinomial


@dataclass(frozen=True, kw_only=True)
class Latents:
    """Of a step, or with an axis of time before: the latent that the past goes on from, and the samples it is of."""

    z: Float[Tensor, "*time batch latent"]
    samples: Float[Tensor, "*time samples batch latent"]
    posterior: Posterior

    @property
    def count(self) -> int:
        """The number of samples a step."""
        return self.samples.shape[-3]


def streams(count: int) -> list[int]:
    """The streams of the noise that `draw` takes, for so many samples a step; of one, the stream of `Filter.step`."""
    return [noise.POSTERIOR, *range(noise.SAMPLES, noise.SAMPLES + count - 1)]


def draw(objective: StepObjective, posterior: Posterior, eps: Float[Tensor, "samples batch latent"]) -> Latents:
    """The samples of a step on this noise, and the one of them to go on from."""
    samples = posterior.transform(eps)
    if len(eps) == 1:
        return Latents(z=samples[0], samples=samples, posterior=posterior)
    log_weights = log_weight(objective.sampled_reconstruction(samples), objective.prior, posterior, samples)
    uniform = noise.uniform(objective.seed, objective.step, streams=[noise.RESAMPLING], size=1)[0]
    chosen = multinomial(log_weights.log_softmax(0).t(), uniform)[:, 0]
    z = samples[chosen, torch.arange(samples.shape[1], device=samples.device)]
    return Latents(z=z, samples=samples, posterior=posterior)


def bound(log_weights: Float64[Tensor, "samples time batch"]) -> Float64[Tensor, "time batch"]:
    """-log of the mean weight, in nats."""
    return math.log(len(log_weights)) - log_weights.logsumexp(0)
