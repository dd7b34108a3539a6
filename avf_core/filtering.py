"""The Bayesian prediction-update loop: rows stepped, and where a sequence has particles, weighed.

The law: `step` is pure. The same arguments give the same result, and row i of the result depends on row i of the
arguments only.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from avf_core.beliefs import Belief, State
from avf_core.drives import Drive
from avf_core.errors import ConfigurationError, ObservationError
from avf_core.estimates import Estimate, aligned
from avf_core.gaps import blank
from avf_core.inference.base import Effort
from avf_core.mixtures import Mixture
from avf_core.objectives import Posterior
from avf_core.particles import MOST, each_particle, folded, of_rows, rejoined, rows_of, seeds_of
from avf_core.rows import Rows
from avf_core.smoothing import check_lag, remembered, without_oldest
from avf_core.trees import stack_time, take, where
from avf_core.weighing import weigh


class Filter(Rows):
    """A model with an inference procedure that fits it: an online filter.

    Predictions that have no closed form are made of `prediction_samples` draws from the prior. `settings` are those
    that `configuration.build` made it of, None of a filter that was put together by hand.
    """

    settings: Mapping[str, Mapping[str, Any]] | None = None

    def initial(self, seeds: Int64[Tensor, " batch"], *, particles: int = 1, lag: int = 0) -> Belief:
        """The belief before the first observation, for sequences with these seeds.

        With more than one of `particles`, up to 1,024, each sequence is filtered by so many weighted rows, which
        together represent the posterior; with one, and for a procedure that keeps the past in closed form whatever
        the number, by a single row. With a `lag`, estimates look back so many steps too (`Estimate.smoothed`).
        Raises ConfigurationError for numbers that make no sense.
        """
        if not 1 <= particles <= MOST:
            raise ConfigurationError(f"particles is {particles}, expected a number in [1, {MOST}]")
        return self.spread(seeds, particles=1 if self.inference.exact else particles, lag=lag)

    def spread(self, seeds: Int64[Tensor, " batch"], *, particles: int, lag: int = 0) -> Belief:
        """`initial` with as many particles as one likes, also of a procedure whose particles are all the same."""
        if particles == 1:
            past = self.inference.past(len(seeds), lag) if lag > 0 else {}
            check_lag(lag, possible=past is not None, exact=self.inference.exact)
            return replace(self.initial_rows(seeds), past=past or {})
        check_lag(lag, possible=not self.inference.exact, exact=self.inference.exact)
        belief = of_rows(self.initial_rows(seeds_of(seeds, particles).reshape(-1)), seeds, particles)
        latents = torch.zeros(len(seeds), particles, lag, self.model.latent_size, dtype=self.model.dtype)
        return replace(belief, past={"z": latents.to(seeds.device)} if lag else {})

    def step(
        self,
        belief: Belief,
        x: Float[Tensor, "batch observation"],
        *,
        observed: Bool[Tensor, "batch observation"] | None = None,
        inputs: Float[Tensor, "... inputs"] | None = None,
        dt: Float[Tensor, "..."] | None = None,
        iterations: int | Int[Tensor, " rows"] | None = None,
        tolerance: float | None = None,
        budget: float | None = None,
        samples: int | None = None,
        threshold: float = 0.5,
    ) -> tuple[Belief, Estimate]:
        """Filter one observation of every sequence.

        `observed` marks the dimensions that were observed; the values of others are ignored, NaN included. Where
        nothing is observed the posterior is the prior and F is 0.

        `inputs` (batch, input_size) are what was done or known before x, for a model that takes them, and `dt` (batch,)
        the time since the observation before, for one that is timed (its usual dt where none is given): see `drives`.

        Procedures that iterate stop at a number of `iterations` (for all rows, or one a row), where an update changes
        F of a row by less than `tolerance` nats, or when `budget` seconds are spent: see `Effort`. With noise of its
        own for every iteration, a change of F is that of a sample; with `keep_best` it is on common random numbers.
        No iteration has more than so many gradient `samples`.

        Particles are resampled once their effective sample size falls below `threshold` times their number: 0 for
        never, as importance-weighted bounds want it.

        Raises ObservationError where x does not fit, InputError and TimeStepError where inputs and dt do not,
        ConfigurationError where a limit makes no sense.
        """
        count = belief.particle_count
        told = each_particle(iterations, count)
        effort = Effort(iterations=told, tolerance=tolerance, budget=budget, samples=samples)
        x = self._checked(belief, x, observed)
        drive = self.drive(belief, inputs=inputs, dt=dt)
        xs, mask, driven = each_particle((x, observed, drive), count)
        following, rows = self.step_rows(rows_of(belief), xs, observed=mask, drive=driven, effort=effort)
        if not belief.particles:
            return following, rows
        seen = None if observed is None else observed.any(-1)
        outlook = self.outlook(belief, drive)
        return weigh(belief, following, replace(rows, outlook=outlook), seen=seen, threshold=threshold)

    def predict(
        self,
        belief: Belief,
        *,
        inputs: Float[Tensor, "... inputs"] | None = None,
        dt: Float[Tensor, "..."] | None = None,
    ) -> tuple[State, Posterior]:
        """The context of the next step, and all that the belief says of its latent; a row for each particle."""
        drive = self.drive(belief, inputs=inputs, dt=dt)
        objective = self.expecting(rows_of(belief), each_particle(drive, belief.particle_count))
        return objective.context, objective.expected

    def prediction(
        self,
        belief: Belief,
        *,
        inputs: Float[Tensor, "... inputs"] | None = None,
        dt: Float[Tensor, "..."] | None = None,
        samples: int | None = None,
    ) -> Mixture:
        """The distribution of the next observation: what the next estimate's `prediction` is, before it comes."""
        return self.outlook(belief, self.drive(belief, inputs=inputs, dt=dt)).prediction(samples)

    def scan(
        self,
        belief: Belief,
        xs: Float[Tensor, "time batch observation"],
        *,
        observed: Bool[Tensor, "time batch observation"] | None = None,
        inputs: Float[Tensor, "... inputs"] | None = None,
        dt: Float[Tensor, "..."] | None = None,
        iterations: int | Int[Tensor, " rows"] | None = None,
        tolerance: float | None = None,
        budget: float | None = None,
    ) -> tuple[Belief, Estimate]:
        """Filter a stretch of every sequence; the estimate has a leading time axis.

        `iterations`, `tolerance` and `budget` are those of each step.
        """
        if xs.ndim != 3 or xs.shape[0] == 0:
            raise ObservationError(
                f"xs has shape {tuple(xs.shape)}, expected (time, batch, {self.model.observation.size}) with time > 0"
            )
        drive = self.drive(belief, inputs=inputs, dt=dt, time=(len(xs),))
        estimates = []
        for t in range(xs.shape[0]):
            now = take(drive, t)
            belief, estimate = self.step(
                belief,
                xs[t],
                observed=None if observed is None else observed[t],
                inputs=now.inputs,
                dt=now.dt,
                iterations=iterations,
                tolerance=tolerance,
                budget=budget,
            )
            estimates.append(estimate)
        return belief, stack_time(aligned(estimates))

    def skip(
        self,
        belief: Belief,
        count: int | Int[Tensor, " rows"],
        *,
        inputs: Float[Tensor, "... inputs"] | None = None,
        dt: Float[Tensor, "..."] | None = None,
    ) -> Belief:
        """The belief after `count` steps of which nothing was observed; a number for all rows, or one a row.

        The same, bit for bit, as that many steps with nothing `observed`, without their inference. `inputs` and `dt`
        are those of every skipped step: zeros, nothing was done, and the usual dt where they are not given. Raises
        ObservationError for negative numbers, where there is not one a row, and for a drive that does not fit.
        """
        counts = torch.zeros_like(belief.step) + _checked_count(belief, count)
        resting = self.model.reader.resting((belief.batch_size,), next(iter(belief.model.values())))
        drive = self.drive(belief, inputs=resting.inputs if inputs is None else inputs, dt=dt)
        for gone in range(int(counts.max()) if len(counts) else 0):
            belief = where(gone < counts, self._unobserved(belief, drive), belief)
        return belief

    def _unobserved(self, belief: Belief, drive: Drive) -> Belief:
        count = belief.particle_count
        following, z = self.unobserved_rows(rows_of(belief), each_particle(drive, count))
        if not belief.particles:
            return following
        kept = remembered(belief.past, {"z": folded(z, count)}, belief.step, axis=2)
        return replace(rejoined(following, belief), past=without_oldest(kept, axis=2))

    def _checked(self, belief: Belief, x: Tensor, observed: Tensor | None) -> Tensor:
        if not isinstance(x, Tensor) or x.is_complex():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise ObservationError(
                f"observations are {kind}, expected a torch.Tensor of real numbers: avf_core.data.numbers makes "
                "them of arrays, NaN where a mask covers one; give what is not NaN as `observed`"
            )
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
            x = torch.where(observed, x, blank(self.model.observation))
        self.model.observation.check(x)
        return x


def _checked_count(belief: Belief, count: int | Tensor) -> int | Tensor:
    """Numbers of steps that can be skipped."""
    wrong = isinstance(count, Tensor) and (count.shape != belief.step.shape or count.is_floating_point())
    if wrong or int(torch.as_tensor(count).amin()) < 0:
        raise ObservationError(
            f"cannot skip {count} steps of {belief.batch_size} sequences: expected a number from 0 up, or one a row"
        )
    return count
