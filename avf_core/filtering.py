"""The Bayesian prediction-update loop, and nothing else.

    predict  ->  infer (minimise F_t over q)  ->  sample z_t ~ q  ->  transition

The law: `step` is pure. The same arguments give the same result, and row i of the result depends on row i of the
arguments only.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from avf_core import noise
from avf_core.beliefs import Belief, State
from avf_core.distributions import FullGaussian, Gaussian, Likelihood
from avf_core.errors import ObservationError
from avf_core.inference.base import Inference
from avf_core.models.base import Model
from avf_core.objectives import Posterior, StepObjective
from avf_core.trees import stack_time, where


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one observation taught, for `batch` sequences; after `scan`, with a leading time axis.

    `prediction` is the likelihood at the prior's mean (before the observation), `likelihood` that at the posterior
    sample `z` (after it). `free_energy` = `reconstruction` + `kl`, in nats. `free_energies` holds F of every
    iterate from the prior to the final posterior; `iterations` says how many updates were spent.
    """

    prior: Gaussian
    posterior: Posterior
    prediction: Likelihood
    likelihood: Likelihood
    z: Float[Tensor, "*time batch latent"]
    free_energy: Float[Tensor, "*time batch"]
    reconstruction: Float[Tensor, "*time batch"]
    kl: Float[Tensor, "*time batch"]
    free_energies: Float[Tensor, "*time batch iterates"]
    iterations: Int64[Tensor, "*time batch"]


class Filter(nn.Module):
    """A model with an inference procedure that fits it: an online filter."""

    def __init__(self, model: Model, inference: Inference) -> None:
        super().__init__()
        self.model = model
        self.inference = inference

    def initial(self, seeds: Int64[Tensor, " batch"]) -> Belief:
        """The belief before the first observation, for sequences with these seeds."""
        batch = int(seeds.shape[0])
        return Belief(
            model=self.model.initial(batch),
            inference=self.inference.initial(batch),
            seed=seeds,
            step=torch.zeros_like(seeds),
        )

    def step(
        self,
        belief: Belief,
        x: Float[Tensor, "batch observation"],
        *,
        observed: Bool[Tensor, "batch observation"] | None = None,
        iterations: int | None = None,
    ) -> tuple[Belief, Estimate]:
        """Filter one observation of every sequence.

        `observed` marks the dimensions that were observed; the values of others are ignored, NaN included. Where
        nothing is observed the posterior is the prior and F is 0. Raises ObservationError where x does not fit.
        """
        x = self._checked(belief, x, observed)
        objective = self.objective(belief, x, observed=observed)
        prior = objective.prior
        inferred = self.inference.infer(objective, belief.inference, iterations=iterations)
        posterior = inferred.posterior
        if observed is not None:
            posterior = where(observed.any(-1), posterior, _like(posterior, prior))
        z = objective.sample(posterior)
        likelihood = self.model.decode(objective.context, z)
        reconstruction, kl = objective.reconstruction(likelihood), objective.kl(posterior)
        free_energy = reconstruction + kl
        heard = objective.x if observed is None else torch.where(observed, x, _impute(likelihood, belief))
        following = self.advance(belief, objective, x=heard, z=z, inference=inferred.state)
        return following, Estimate(
            prior=prior,
            posterior=posterior,
            prediction=self.model.decode(objective.context, prior.mean),
            likelihood=likelihood,
            z=z,
            free_energy=free_energy,
            reconstruction=reconstruction,
            kl=kl,
            free_energies=torch.cat([inferred.free_energies, free_energy[:, None]], dim=-1),
            iterations=inferred.iterations,
        )

    def objective(
        self,
        belief: Belief,
        x: Float[Tensor, "batch observation"],
        *,
        observed: Bool[Tensor, "batch observation"] | None = None,
        kl_weight: float = 1.0,
    ) -> StepObjective:
        """F of the next step as a function of its posterior. Dimensions not observed are filled by the prediction."""
        context, prior = self.model.predict(belief.model)
        if observed is not None:
            x = torch.where(observed, x, self.model.decode(context, prior.mean).mean)
        return StepObjective(
            model=self.model,
            context=context,
            prior=prior,
            x=x,
            observed=observed,
            seed=belief.seed,
            step=belief.step,
            kl_weight=kl_weight,
        )

    def advance(
        self,
        belief: Belief,
        objective: StepObjective,
        *,
        x: Float[Tensor, "batch observation"],
        z: Float[Tensor, "batch latent"],
        inference: State,
    ) -> Belief:
        """The belief after a step: its latent `z`, the observation `x` that is fed back, inference's own state."""
        return Belief(
            model=self.model.transition(objective.context, x, z),
            inference=inference,
            seed=belief.seed,
            step=belief.step + 1,
        )

    def scan(
        self,
        belief: Belief,
        xs: Float[Tensor, "time batch observation"],
        *,
        observed: Bool[Tensor, "time batch observation"] | None = None,
        iterations: int | None = None,
    ) -> tuple[Belief, Estimate]:
        """Filter a stretch of every sequence; the estimate has a leading time axis."""
        if xs.ndim != 3 or xs.shape[0] == 0:
            raise ObservationError(
                f"xs has shape {tuple(xs.shape)}, expected (time, batch, {self.model.observation.size}) with time > 0"
            )
        estimates = []
        for t in range(xs.shape[0]):
            mask = None if observed is None else observed[t]
            belief, estimate = self.step(belief, xs[t], observed=mask, iterations=iterations)
            estimates.append(estimate)
        return belief, stack_time(estimates)

    def _checked(self, belief: Belief, x: Tensor, observed: Tensor | None) -> Tensor:
        if x.shape[0] != belief.batch_size:
            raise ObservationError(
                f"{x.shape[0]} observations for a belief of {belief.batch_size} sequences: expected one a row"
            )
        if observed is not None:
            if observed.shape != x.shape or observed.dtype != torch.bool:
                raise ObservationError(
                    f"observed is {observed.dtype} of shape {tuple(observed.shape)}, "
                    f"expected torch.bool of shape {tuple(x.shape)}"
                )
            fill = min(max(0.0, self.model.observation.low), self.model.observation.high)
            x = torch.where(observed, x, fill)
        self.model.observation.check(x)
        return x


def _like(posterior: Posterior, prior: Gaussian) -> Posterior:
    """The prior in the form of the posterior, so that rows of both can be mixed."""
    if isinstance(posterior, FullGaussian):
        return FullGaussian(prior.mean.expand_as(posterior.mean), torch.diag_embed(prior.deviation))
    return Gaussian(prior.mean.expand_as(posterior.mean), prior.log_variance.expand_as(posterior.mean))


def _impute(likelihood: Likelihood, belief: Belief) -> Tensor:
    """A sample of the observation, for the dimensions that were not observed."""
    mean = likelihood.mean
    drawn = noise.uniform(belief.seed, belief.step, streams=[noise.IMPUTATION], size=mean.shape[-1])
    return likelihood.sample(drawn[0].to(mean.dtype))
