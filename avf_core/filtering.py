"""The Bayesian prediction-update loop, and nothing else.

    predict  ->  infer (minimise F_t over q)  ->  sample z_t ~ q  ->  transition

The law: `step` is pure. The same arguments give the same result, and row i of the result depends on row i of the
arguments only.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from avf_core import noise
from avf_core.beliefs import Belief, State
from avf_core.distributions import FullGaussian, Gaussian, Likelihood, completed
from avf_core.drives import Drive
from avf_core.errors import ObservationError
from avf_core.inference.base import Effort, Inference, Inferred
from avf_core.models.base import Model
from avf_core.objectives import Posterior, StepObjective
from avf_core.trees import stack_time, take, where


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one observation taught, for `batch` sequences; after `scan`, with a leading time axis.

    `prediction` is the likelihood at the prior's mean (before the observation), `likelihood` that at the posterior
    sample `z` (after it). `free_energy` = `reconstruction` + `kl`, in nats. `iterations` says how many updates each row
    was given; `free_energies` holds F of every iterate from the prior, in column 0, to the final posterior, in column
    `iterations`, each on noise of its own. A row that had fewer updates than another keeps its final F to the end, so
    that the last column is always `free_energy`.

    `exact`: the procedure keeps the past in closed form, not by a sample. Then prior, posterior, prediction and
    likelihood have its spread in them, `z` is the posterior's mean and F is -log p(x_t | x_<t) itself.
    """

    prior: Posterior
    posterior: Posterior
    prediction: Likelihood
    likelihood: Likelihood
    z: Float[Tensor, "*time batch latent"]
    free_energy: Float[Tensor, "*time batch"]
    reconstruction: Float[Tensor, "*time batch"]
    kl: Float[Tensor, "*time batch"]
    free_energies: Float[Tensor, "*time batch iterates"]
    iterations: Int64[Tensor, "*time batch"]
    exact: bool = False


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
        inputs: Float[Tensor, "... inputs"] | None = None,
        dt: Float[Tensor, "..."] | None = None,
        iterations: int | Int[Tensor, " rows"] | None = None,
        tolerance: float | None = None,
        budget: float | None = None,
    ) -> tuple[Belief, Estimate]:
        """Filter one observation of every sequence.

        `observed` marks the dimensions that were observed; the values of others are ignored, NaN included. Where
        nothing is observed the posterior is the prior and F is 0.

        `inputs` (batch, input_size) are what was done or known before x, for a model that takes them, and `dt` (batch,)
        the time since the observation before, for one that is timed (its usual dt where none is given): see `drives`.

        Procedures that iterate stop at a number of `iterations` (for all rows, or one a row), where an update changes
        F of a row by less than `tolerance` nats, or when `budget` seconds are spent: see `Effort`. With noise of its
        own for every iteration, a change of F is that of a sample; with `keep_best` it is on common random numbers.

        Raises ObservationError where x does not fit, InputError and TimeStepError where inputs and dt do not,
        ConfigurationError where a limit makes no sense.
        """
        effort = Effort(iterations=iterations, tolerance=tolerance, budget=budget)
        x = self._checked(belief, x, observed)
        objective = self.objective(belief, x, observed=observed, drive=self.drive(belief, inputs=inputs, dt=dt))
        prior = objective.expected
        inferred = self.inference.infer(objective, belief.inference, effort=effort)
        posterior = inferred.posterior
        if observed is not None:
            posterior = where(observed.any(-1), posterior, _like(posterior, prior))
        z = objective.sample(posterior)
        likelihood = objective.likelihood(posterior, z)
        reconstruction, kl = objective.expected_reconstruction(posterior, likelihood), objective.kl(posterior)
        free_energy = reconstruction + kl
        heard = objective.x if observed is None else _imputed(likelihood, belief, x, observed)
        following = self.advance(belief, objective, x=heard, z=z, inference=inferred.state)
        return following, Estimate(
            prior=prior,
            posterior=posterior,
            prediction=objective.predicted(),
            likelihood=likelihood,
            z=z,
            free_energy=free_energy,
            reconstruction=reconstruction,
            kl=kl,
            free_energies=_carried_forward(inferred, free_energy),
            iterations=inferred.iterations,
            exact=objective.exact,
        )

    def predict(
        self,
        belief: Belief,
        *,
        inputs: Float[Tensor, "... inputs"] | None = None,
        dt: Float[Tensor, "..."] | None = None,
    ) -> tuple[State, Posterior]:
        """The context of the next step, and all that the belief says of its latent."""
        like = next(iter(belief.model.values()))
        blank = like.new_full((1, self.model.observation.size), self._blank).expand(belief.batch_size, -1)
        objective = self.objective(belief, blank, drive=self.drive(belief, inputs=inputs, dt=dt))
        return objective.context, objective.expected

    def drive(
        self,
        belief: Belief,
        *,
        inputs: Float[Tensor, "... inputs"] | None = None,
        dt: Float[Tensor, "..."] | None = None,
        time: tuple[int, ...] = (),
    ) -> Drive:
        """What moves the sequences of a belief: checked, in the model's precision; `time` is an axis before the batch.

        Raises InputError and TimeStepError where it does not fit the model.
        """
        like = next(iter(belief.model.values()))
        return self.model.reader.drive(inputs, dt, shape=(*time, belief.batch_size), like=like)

    def objective(
        self,
        belief: Belief,
        x: Float[Tensor, "batch observation"],
        *,
        observed: Bool[Tensor, "batch observation"] | None = None,
        drive: Drive | None = None,
        kl_weight: float = 1.0,
    ) -> StepObjective:
        """F of the next step as a function of its posterior. Dimensions not observed are filled by the prediction.

        Without a `drive` it is the one of a model that needs none told.
        """
        drive = self.drive(belief) if drive is None else drive
        context, prior = self.model.predict(belief.model, drive)
        prediction = None
        if observed is not None:
            prediction = self.model.decode(context, prior.mean)
            x = completed(prediction, x, observed)
        objective = StepObjective(
            model=self.model,
            context=context,
            prior=prior,
            x=x,
            observed=observed,
            seed=belief.seed,
            step=belief.step,
            kl_weight=kl_weight,
            prediction=prediction,
        )
        return self.inference.objective(objective, belief.inference)

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
        return belief, stack_time(_aligned(estimates))

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
        """One step of the model as a generator. The prediction is only decoded for a procedure that has a state."""
        like = next(iter(belief.model.values()))
        x = like.new_full((belief.batch_size, self.model.observation.size), self._blank)
        nothing = torch.zeros_like(x, dtype=torch.bool) if belief.inference else None
        objective = self.objective(belief, x, observed=nothing, drive=drive)
        state = belief.inference
        if state:
            state = self.inference.infer(objective, state, effort=Effort(iterations=0)).state
        z = objective.sample(objective.expected)
        heard = _imputed(objective.likelihood(objective.expected, z), belief, x, torch.zeros_like(x, dtype=torch.bool))
        return self.advance(belief, objective, x=heard, z=z, inference=state)

    @property
    def _blank(self) -> float:
        """What stands for a missing number until it is filled: the number within range that is nearest to zero."""
        return min(max(0.0, self.model.observation.low), self.model.observation.high)

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
            x = torch.where(observed, x, self._blank)
        self.model.observation.check(x)
        return x


def _like(posterior: Posterior, prior: Posterior) -> Posterior:
    """The prior in the form of the posterior, so that rows of both can be mixed."""
    if isinstance(prior, FullGaussian):
        return prior
    if isinstance(posterior, FullGaussian):
        return FullGaussian(prior.mean.expand_as(posterior.mean), torch.diag_embed(prior.deviation))
    return Gaussian(prior.mean.expand_as(posterior.mean), prior.log_variance.expand_as(posterior.mean))


def _imputed(likelihood: Likelihood, belief: Belief, x: Tensor, observed: Tensor) -> Tensor:
    """The observation, with a sample of it for the dimensions that were not observed."""
    mean = likelihood.mean
    drawn = noise.uniform(belief.seed, belief.step, streams=[noise.IMPUTATION], size=mean.shape[-1])
    below_one = 1.0 - 0.5 * torch.finfo(mean.dtype).eps  # to which a number below one may be rounded up
    return completed(likelihood, x, observed, drawn[0].to(mean.dtype).clamp(max=below_one))


def _carried_forward(inferred: Inferred, free_energy: Tensor) -> Float[Tensor, "batch iterates"]:
    """F of every iterate, with the final F from each row's last update on."""
    met, final = inferred.free_energies, free_energy[:, None]
    reached = torch.arange(met.shape[-1], device=met.device) < inferred.iterations[:, None]
    return torch.cat([torch.where(reached, met, final), final], dim=-1)


def _aligned(estimates: list[Estimate]) -> list[Estimate]:
    """Successive estimates with as many iterates each: those of a step with fewer updates keep the final F."""
    width = max(estimate.free_energies.shape[-1] for estimate in estimates)

    def widened(estimate: Estimate) -> Estimate:
        missing = width - estimate.free_energies.shape[-1]
        rest = estimate.free_energy[:, None].expand(-1, missing)
        return replace(estimate, free_energies=torch.cat([estimate.free_energies, rest], dim=-1))

    return [widened(estimate) for estimate in estimates]


def _checked_count(belief: Belief, count: int | Tensor) -> int | Tensor:
    """Numbers of steps that can be skipped."""
    wrong = isinstance(count, Tensor) and (count.shape != belief.step.shape or count.is_floating_point())
    if wrong or int(torch.as_tensor(count).amin()) < 0:
        raise ObservationError(
            f"cannot skip {count} steps of {belief.batch_size} sequences: expected a number from 0 up, or one a row"
        )
    return count
