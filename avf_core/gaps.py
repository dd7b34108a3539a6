"""What stands where nothing was observed.

The law: a step that saw nothing knows after it what it knew before; and a gap goes on as a sample of the model, on
noise of its own, not as its mean.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import Belief
from avf_core.distributions import FullGaussian, Gaussian, Likelihood, completed
from avf_core.models.base import ObservationSpec
from avf_core.objectives import Posterior
from avf_core.trees import where


def blank(spec: ObservationSpec) -> float:
    """What stands for a missing number until it is filled: the number within range that is nearest to zero."""
    return min(max(0.0, spec.low), spec.high)


def where_observed(
    posterior: Posterior, prior: Posterior, observed: Bool[Tensor, "batch observation"] | None
) -> Posterior:
    """The posterior; the prior in rows of which nothing was observed."""
    return posterior if observed is None else where(observed.any(-1), posterior, _as_posterior(posterior, prior))


def _as_posterior(posterior: Posterior, prior: Posterior) -> Posterior:
    """The prior in the form of the posterior, so that rows of both can be mixed."""
    if isinstance(prior, FullGaussian):
        return prior
    if isinstance(posterior, FullGaussian):
        return FullGaussian(prior.mean.expand_as(posterior.mean), torch.diag_embed(prior.deviation))
    return Gaussian(prior.mean.expand_as(posterior.mean), prior.log_variance.expand_as(posterior.mean))


def imputed(likelihood: Likelihood, belief: Belief, x: Tensor, observed: Tensor) -> Tensor:
    """The observation, with a sample of it for the dimensions that were not observed."""
    mean = likelihood.mean
    drawn = noise.uniform(belief.seed, belief.step, streams=[noise.IMPUTATION], size=mean.shape[-1])
    below_one = 1.0 - 0.5 * torch.finfo(mean.dtype).eps  # to which a number below one may be rounded up
    return completed(likelihood, x, observed, drawn[0].to(mean.dtype).clamp(max=below_one))
