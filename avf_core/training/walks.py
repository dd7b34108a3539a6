"""A model's way through a clip whose latents are found one by one: what the E-step infers under.

The law: theta stands still on the way. So what all steps share is done once: a copy of the model in the precision of
the E-step, and the contexts of a model that hears observations only.
"""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from avf_core import noise
from avf_core.beliefs import State
from avf_core.distributions import AnyGaussian, at_least_float32
from avf_core.drives import FREE, Drive
from avf_core.emissions.base import MEMORY
from avf_core.models.base import Model, ObservationDriven, PastDriven
from avf_core.objectives import StepObjective, expected
from avf_core.trees import take, tree_map

STEPS_AHEAD = 25  # steps of a clip whose noise is drawn in one go


class Walk:
    """Where a walk stands: the model's state before the next step.

    Recurrences are the model's own, in its precision, as roundings add up in them; at most their matrix products are
    in `dtype`. Priors and likelihoods, which are evaluated at every iterate, are wholly in `dtype`. The noise of
    `streams` depends on seeds and steps only: that of several steps is drawn in one go.
    """

    def __init__(
        self,
        model: Model,
        xs: Float[Tensor, "time batch observation"],
        seeds: Int64[Tensor, " batch"],
        *,
        kl_weight: float,
        dtype: torch.dtype,
        streams: Sequence[int] = (),
        drive: Drive = FREE,
        observed: Bool[Tensor, "time batch observation"] | None = None,
    ) -> None:
        self.model, self.xs, self.seeds, self.kl_weight, self.dtype = model, xs, seeds, kl_weight, dtype
        self.drive, self.observed = drive, observed
        self.streams, self.ahead = list(streams), seeds.new_zeros(0, 0, 0, 0, dtype=torch.float64)
        self.evaluated = copy.deepcopy(model).to(dtype).requires_grad_(False)
        self.state, self.context = model.initial(len(seeds)), State()
        self.contexts: State | None = None
        if isinstance(model, ObservationDriven):
            self.contexts = self._rounded(model.contexts(self.state, xs, drive))

    def objective(self, t: int) -> StepObjective:
        """F of step t as a function of its posterior, given the latents before; latents in at least float32."""
        context, prior = self._predict(t)
        observed = None if self.observed is None else self.observed[t]
        x, prediction = expected(self.evaluated, context, prior, self.xs[t], observed)
        return StepObjective(
            model=self.evaluated,
            context=context,
            prior=tree_map(at_least_float32, prior),
            x=x,
            observed=observed,
            seed=self.seeds,
            step=torch.full_like(self.seeds, t),
            kl_weight=self.kl_weight,
            prediction=prediction,
            drawn=dict(zip(self.streams, self._noise(t), strict=True)),
        )

    def go_on(self, t: int, z: Float[Tensor, "batch latent"]) -> None:
        """Leave step t with this latent."""
        if self.contexts is not None:
            self.state = {"z": z}
            return
        with self._mixed():
            self.state = self.model.transition(self.context, self.xs[t], z)

    def _noise(self, t: int) -> Float64[Tensor, "streams batch latent"]:
        """The noise of step t; steps are asked for in order."""
        if not t % STEPS_AHEAD:
            steps = torch.arange(t, min(t + STEPS_AHEAD, len(self.xs)), device=self.seeds.device)
            seeds, numbers = self.seeds.repeat(len(steps)), steps.repeat_interleave(len(self.seeds))
            drawn = noise.standard_normal(seeds, numbers, streams=self.streams, size=self.model.latent_size)
            self.ahead = drawn.view(len(self.streams), len(steps), len(self.seeds), -1)
        return self.ahead[:, t % STEPS_AHEAD]

    def _predict(self, t: int) -> tuple[State, AnyGaussian]:
        if isinstance(self.evaluated, ObservationDriven) and self.contexts is not None:
            context: State = take(self.contexts, t)
            if isinstance(self.evaluated, PastDriven):
                return context, self.evaluated.prior_in(context)
            return context, self.evaluated.prior_of(context, self.state["z"].to(self.dtype))
        with self._mixed():
            self.context, prior = self.model.predict(self.state, take(self.drive, t))
        return self._rounded(self.context), prior

    def _mixed(self) -> AbstractContextManager[object]:
        lower = self.dtype != self.model.dtype
        return torch.autocast(self.xs.device.type, self.dtype, enabled=lower)

    def _rounded(self, context: State) -> State:
        """In the precision of the E-step, but for what emissions remember of observations."""
        return {name: value if name.startswith(MEMORY) else value.to(self.dtype) for name, value in context.items()}
