"""Rows: the paper's filter, each sequence by one sampled path of latents.

    predict  ->  infer (minimise F_t over q)  ->  sample z_t ~ q  ->  transition

The law: a step of rows is pure, and row i of its result depends on row i of its arguments only. Particles are rows, so
that whatever steps rows steps particles (`filtering`).
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from avf_core import predictions
from avf_core.beliefs import Belief, State
from avf_core.distributions import Gaussian, Likelihood
from avf_core.drives import Drive
from avf_core.errors import ConfigurationError
from avf_core.estimates import Estimate, Heard, carried_forward
from avf_core.gaps import blank, imputed, where_observed
from avf_core.inference.base import Effort, Inference
from avf_core.models.base import Model
from avf_core.native import running
from avf_core.native.engine import Engine
from avf_core.objectives import StepObjective, expected
from avf_core.predictions import Outlook
from avf_core.recalibration import Recalibration

REPLACED = ("objective", "advance", "expecting")
"""What the native executor does in one call, and would not hear of where a derived filter does it in another way."""


class Rows(nn.Module):
    """A model with an inference procedure that fits it, on rows that know nothing of each other.

    Predictions are corrected by the `recalibration`, where there is one: that of a checkpoint stands in its card.
    """

    def __init__(self, model: Model, inference: Inference, *, prediction_samples: int = predictions.SAMPLES) -> None:
        super().__init__()
        if prediction_samples < 1:
            raise ConfigurationError(f"prediction_samples is {prediction_samples}, expected at least 1")
        if model.closed_form_only and not inference.exact:
            raise ConfigurationError(
                f"{type(inference).__module__} takes latents for Gaussians that factorise, and those of "
                f"{type(model).__module__} as configured do not: use its exact procedure"
            )
        self.model = model
        self.inference = inference
        self.prediction_samples = prediction_samples
        self.recalibration: Recalibration | None = None

    def initial_rows(self, seeds: Int64[Tensor, " rows"]) -> Belief:
        """Before the first observation."""
        count = int(seeds.shape[0])
        return Belief(
            model=self.model.initial(count),
            inference=self.inference.initial(count),
            seed=seeds,
            step=torch.zeros_like(seeds),
        )

    def step_rows(
        self,
        belief: Belief,
        x: Float[Tensor, "batch observation"],
        *,
        observed: Bool[Tensor, "batch observation"] | None,
        drive: Drive,
        effort: Effort,
    ) -> tuple[Belief, Estimate]:
        """The step of rows that are no particles, each by itself; x was checked."""
        engine = self.executor(x, *belief.model.values(), *belief.inference.values())
        if engine is not None:
            return self._natively(engine, belief, x, observed=observed, drive=drive, effort=effort)
        objective = self.objective(belief, x, observed=observed, drive=drive)
        prior = objective.expected
        inferred = self.inference.infer(objective, belief.inference, effort=effort)
        posterior = where_observed(inferred.posterior, prior, observed)
        z = objective.sample(posterior)
        likelihood = objective.likelihood(posterior, z)
        reconstruction, kl = objective.expected_reconstruction(posterior, likelihood), objective.kl(posterior)
        free_energy = reconstruction + kl
        heard = objective.x if observed is None else imputed(likelihood, belief, x, observed)
        past, smoothed = objective.looked_back(belief.past, posterior)
        following = self.advance(belief, objective, x=heard, z=z, inference=inferred.state)
        return replace(following, past=past), Estimate(
            prior=prior,
            posterior=posterior,
            likelihood=likelihood,
            z=z,
            free_energy=free_energy,
            reconstruction=reconstruction,
            kl=kl,
            free_energies=carried_forward(inferred, free_energy),
            iterations=inferred.iterations,
            evidence_bound=free_energy.double(),
            effective_sample_size=torch.ones_like(free_energy, dtype=torch.float64),
            outlook=self.outlook(belief, drive),
            smoothed=smoothed,
            exact=objective.exact,
            allowance=self.model.allowance(objective.context, z, observed, likelihood),
            heard=Heard(signs=self.model.signs, x=heard, mean=posterior.mean),
        )

    def executor(self, *data: Tensor) -> Engine | None:
        """The native executor for such data; None where torch computes a step, as it does what was overridden."""
        changed = any(getattr(getattr(self, name), "__func__", None) is not vars(Rows)[name] for name in REPLACED)
        return None if changed else running.engine_for(self, *data)

    def _natively(
        self,
        engine: Engine,
        belief: Belief,
        x: Float[Tensor, "batch observation"],
        *,
        observed: Bool[Tensor, "batch observation"] | None,
        drive: Drive,
        effort: Effort,
    ) -> tuple[Belief, Estimate]:
        """The same step by the native executor; what was not observed is imputed here."""
        missing = None if observed is None or bool(observed.all()) else observed
        did = engine.step(
            belief.model,
            belief.inference,
            x,
            observed=missing,
            seed=belief.seed,
            number=belief.step,
            limits=effort.told(belief.step),
            tolerance=effort.tolerance,
            budget=effort.budget,
            samples=effort.samples,
        )
        following, heard = did.following, x
        if missing is not None:
            heard = imputed(did.likelihood, belief, x, missing)
            following = engine.advance(belief.model, heard, did.z)
        estimate = Estimate(
            prior=Gaussian(*did.prior),
            posterior=Gaussian(*did.posterior),
            likelihood=did.likelihood,
            z=did.z,
            free_energy=did.free_energy,
            reconstruction=did.reconstruction,
            kl=did.kl,
            free_energies=did.free_energies,
            iterations=did.iterations,
            evidence_bound=did.free_energy.double(),
            effective_sample_size=torch.ones_like(did.free_energy, dtype=torch.float64),
            outlook=self.outlook(belief, drive),
            allowance=self.model.allowance(belief.model, did.z, observed, did.likelihood),
            heard=Heard(signs=self.model.signs, x=heard, mean=did.posterior[0]),
        )
        return replace(belief, model=following, inference=did.memory, step=belief.step + 1), estimate

    def unobserved_rows(self, belief: Belief, drive: Drive) -> tuple[Belief, Float[Tensor, "rows latent"]]:
        """One step of the model as a generator, and its latents: the same as a step with nothing observed.

        The prediction is only decoded for a procedure that has a state.
        """
        like = next(iter(belief.model.values()))
        x = like.new_full((belief.batch_size, self.model.observation.size), blank(self.model.observation))
        unseen = torch.zeros_like(x, dtype=torch.bool)
        engine = self.executor(x, *belief.model.values(), *belief.inference.values())
        if engine is not None:
            nothing = Effort(iterations=0)
            following, estimate = self._natively(engine, belief, x, observed=unseen, drive=drive, effort=nothing)
            return following, estimate.z
        objective = self.objective(belief, x, observed=unseen if belief.inference else None, drive=drive)
        state = belief.inference
        if state:
            state = self.inference.infer(objective, state, effort=Effort(iterations=0)).state
        z = objective.sample(objective.expected)
        heard = imputed(objective.likelihood(objective.expected, z), belief, x, unseen)
        past, _ = objective.looked_back(belief.past, objective.expected)
        following = self.advance(belief, objective, x=heard, z=z, inference=state)
        return replace(following, past=past), z

    def outlook(self, belief: Belief, drive: Drive) -> Outlook:
        """What predictions of the next observation are made from."""
        return Outlook(
            objective=self.expecting,
            draws=self.drawn,
            belief=belief,
            drive=drive,
            samples=self.prediction_samples,
            recalibration=self.recalibration,
        )

    def drawn(self, belief: Belief, count: int) -> Likelihood | None:
        """The likelihoods at so many draws from the prior, or for 0 at its mean, natively; None where torch has to."""
        engine = self.executor(*belief.model.values())
        if engine is None:
            return None
        found: Likelihood = engine.expected(belief.model, seed=belief.seed, number=belief.step, draws=count)
        return found

    def expecting(self, belief: Belief, drive: Drive) -> StepObjective:
        """F of the next step before anything was observed: context and prior."""
        like = next(iter(belief.model.values()))
        x = like.new_full((1, self.model.observation.size), blank(self.model.observation))
        return self.objective(belief, x.expand(belief.batch_size, -1), drive=drive)

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
        x, prediction = expected(self.model, context, prior, x, observed)
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
