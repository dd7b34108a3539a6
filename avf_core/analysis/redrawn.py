"""The reconstruction of a step as a mean over draws of its posterior, for figures that one draw would make noisy.

    E_q[-log p(x_t | z_t)], by pairs of opposite draws on noise of their own

The law: filtering goes on from the one sample it always went on from, so that beliefs are not touched.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import Belief
from avf_core.drives import Drive
from avf_core.estimates import Estimate, gaussian
from avf_core.filtering import Filter
from avf_core.gaps import blank

MOST_VALUES = 1 << 19  # of likelihoods that are made at once


def reconstruction(
    filter: Filter,
    belief: Belief,
    estimate: Estimate,
    x: Float[Tensor, "batch observation"],
    *,
    observed: Bool[Tensor, "batch observation"] | None,
    drive: Drive,
    draws: int,
) -> Float[Tensor, " batch"]:
    """That of the step from `belief` which gave `estimate`, in nats, by so many draws; its own, where it is exact."""
    if estimate.exact or draws == 0:
        return estimate.reconstruction
    x = x if observed is None else torch.where(observed, x, blank(filter.model.observation))
    objective = filter.objective(belief, x, observed=observed, drive=drive)
    pairs = (draws + 1) // 2
    drawn = objective.noise(streams=range(noise.REPORT, noise.REPORT + pairs))
    eps = torch.stack([drawn, -drawn], 1).flatten(0, 1)[:draws]
    z = gaussian(estimate.posterior).transform(eps)
    at_once = max(1, MOST_VALUES // x.numel())
    found = torch.cat([objective.sampled_reconstruction(part) for part in torch.split(z, at_once)]).mean(0)
    return found if observed is None else torch.where(observed.any(-1), found, estimate.reconstruction)


def with_reconstruction(estimate: Estimate, found: Float[Tensor, " batch"]) -> Float[Tensor, "batch figures"]:
    """F, reconstruction, KL, and F of every iterate, with this reconstruction after the last update of each row."""
    energy = found + estimate.kl
    iterates = torch.arange(estimate.free_energies.shape[-1], device=energy.device)
    final = iterates >= estimate.iterations[:, None]
    energies = torch.where(final, energy[:, None], estimate.free_energies)
    return torch.cat([torch.stack([energy, found, estimate.kl], -1), energies], -1)
