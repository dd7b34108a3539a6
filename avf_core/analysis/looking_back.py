"""Looking back on whole sequences: the posterior of every latent, given what was observed some steps later.

    p(z_t | x_1..min(t+L, T))          with L of all steps: p(z_t | x_1..T)

The law: nothing is kept but what `smoothing` keeps, so that what is said of a step is what a session with this lag says
of it. From particles a long lag is of few ancestors: how many, is said with it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from avf_core.errors import ConfigurationError, ObservationError
from avf_core.filtering import Filter
from avf_core.smoothing import MOST, effective_ancestors, last_latents
from avf_core.trees import take, tree_map


@dataclass(frozen=True, kw_only=True)
class Smoothed:
    """Moments of every latent given what was observed up to `lag` steps later, beside those without looking back.

    `effective_ancestors` says of how many different samples each step's moments are; None in closed form.
    """

    lag: int
    mean: Float[Tensor, "time batch latent"]
    deviation: Float[Tensor, "time batch latent"]
    filtered_mean: Float[Tensor, "time batch latent"]
    filtered_deviation: Float[Tensor, "time batch latent"]
    effective_ancestors: Float64[Tensor, "time batch"] | None


@torch.no_grad()
def smooth(
    filter: Filter,
    xs: Float[Tensor, "time batch observation"],
    *,
    seeds: Int64[Tensor, " batch"],
    lag: int | None = None,
    particles: int = 256,
    observed: Bool[Tensor, "time batch observation"] | None = None,
    inputs: Float[Tensor, "time batch inputs"] | None = None,
    dt: Float[Tensor, "time batch"] | None = None,
    iterations: int | None = None,
) -> Smoothed:
    """Filter sequences, and look back `lag` steps, or with None from the end on all of them.

    By the ancestors of `particles`, at least two; in closed form under a procedure that keeps the past so, whatever
    their number. `observed`, `inputs` and `dt` are those of `Filter.scan`. Raises ConfigurationError for a lag that
    makes no sense, of more than 1,024 steps, or with one particle, ObservationError where observations do not fit.
    """
    if xs.ndim != 3 or xs.shape[0] == 0:
        raise ObservationError(f"xs has shape {tuple(xs.shape)}, expected (time, batch, observation) with time > 0")
    back = _checked_lag(lag, len(xs))
    belief = filter.initial(seeds, particles=particles, lag=back)
    drive = filter.drive(belief, inputs=inputs, dt=dt, time=(len(xs),))
    filtered, looked, ancestors = [], [], []
    for t, x in enumerate(xs):
        before, now, mask = belief, take(drive, t), None if observed is None else observed[t]
        threshold = 0.5 if t + 1 < len(xs) else 0.0  # nothing follows the last step that resampling would be for
        belief, estimate = filter.step(
            before, x, observed=mask, inputs=now.inputs, dt=now.dt, iterations=iterations, threshold=threshold
        )
        filtered.append(estimate.posterior)
        if t >= back and estimate.smoothed is not None:
            looked.append(estimate.smoothed)
            if estimate.particles is not None:
                ancestors.append(effective_ancestors(before.past["z"][:, :, 0], estimate.particles.log_weights))
    rest = tree_map(lambda tensor: tensor[:, -len(xs) :].transpose(0, 1), last_latents(belief))
    looked += [take(rest, i) for i in range(len(rest.mean))]
    if belief.particles:
        latest = belief.past["z"][:, :, -len(xs) :].unbind(2)
        ancestors += [effective_ancestors(z, belief.particles["log_weights"]) for z in latest]
    return Smoothed(
        lag=back,
        mean=torch.stack([found.mean for found in looked]),
        deviation=torch.exp(0.5 * torch.stack([found.log_variance for found in looked])),
        filtered_mean=torch.stack([found.mean for found in filtered]),
        filtered_deviation=torch.exp(0.5 * torch.stack([found.log_variance for found in filtered])),
        effective_ancestors=torch.stack(ancestors) if ancestors else None,
    )


def _checked_lag(lag: int | None, steps: int) -> int:
    """How many steps are looked back, at most: there are no more before the last one."""
    if lag is not None and lag < 1:
        raise ConfigurationError(f"lag is {lag}, expected a number of steps from 1 up, or None for all of them")
    most = max(steps - 1, 1)
    back = most if lag is None else min(lag, most)
    if back > MOST:
        asked = "all of them" if lag is None else str(lag)
        raise ConfigurationError(
            f"the sequence has {steps} steps, and lag is {asked}: expected at most {MOST}; give a smaller lag"
        )
    return back
