"""What a model is: parameters and three maps, never a belief.

    context, prior = model.predict(state, drive)    before the observation, given inputs and dt
    likelihood     = model.decode(context, z)       given a latent
    state          = model.transition(context, x, z)  after it

A drive is read in `predict` alone: what decoder and transition need of it travels in the context.

A model is one file in this folder with a `Config` (a frozen dataclass), `EXAMPLES` of it by name, small enough for
tests, and a `Model`; the file's name is its name. The suites test every example unasked.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from avf_core import drives
from avf_core.beliefs import State
from avf_core.distributions import AnyGaussian, Gaussian, Likelihood, reconstruction
from avf_core.drives import FREE, Drive
from avf_core.emissions.base import Emission
from avf_core.errors import ObservationError
from avf_core.native.plan import ModelPlan, Registers, Undescribed
from avf_core.signs import Sign
from avf_core.trees import stack_time, take, tree_map


@dataclass(frozen=True, kw_only=True)
class ObservationSpec:
    """What a model may observe: vectors of `size` numbers within [low, high].

    `shape` is what a vector is a flattened form of (say (64, 64) pixels), None for plain vectors.
    """

    size: int
    low: float = float("-inf")
    high: float = float("inf")
    shape: tuple[int, ...] | None = None

    def check(self, x: Float[Tensor, "batch observation"]) -> None:
        """Raise ObservationError unless x has shape (batch, size) and finite values within the range."""
        if x.ndim != 2 or x.shape[1] != self.size:
            raise ObservationError(
                f"observations have shape {tuple(x.shape)}, expected (batch, {self.size}): one row a sequence"
            )
        if x.numel() == 0:
            return
        low, high = (bound.item() for bound in x.aminmax())
        if not (low == low and high == high and abs(low) != float("inf") and abs(high) != float("inf")):
            raise ObservationError(
                "an observation holds NaN or an infinity; expected finite numbers: "
                "mark missing dimensions in `observed` instead"
            )
        if low < self.low or high > self.high:
            raise ObservationError(f"observations lie in [{low:g}, {high:g}], expected [{self.low:g}, {self.high:g}]")


class Model(nn.Module, ABC):
    """A dynamical latent-variable model: prior p(z_t | x_<t, z_<t) and likelihood p(x_t | x_<t, z_<=t).

    `closed_form_only`: its latents are no Gaussians that factorise, so that it takes a procedure of its own.
    """

    observation: ObservationSpec
    latent_size: int
    closed_form_only: bool = False

    def __init__(self, config: drives.Config | None = None) -> None:
        """`config` says what the model is told beside observations: nothing, where there is none."""
        super().__init__()
        self.reader = drives.Reader(config or drives.Config())

    @property
    def input_size(self) -> int:
        """The length of u_t; 0 for a model that takes no inputs."""
        return self.reader.input_size

    @property
    def timed(self) -> bool:
        """Whether a step has a dt."""
        return self.reader.timed

    @property
    def feature_size(self) -> int:
        """The size of `features`."""
        return self.observation.size

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters."""
        return next(self.parameters()).dtype

    def features(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... features"]:
        """What networks read of an observation, on the scale of one and in their precision.

        The observation itself where not overridden. The recurrence of a model reads it too, and inference where it
        reads observations at all.
        """
        return x.to(self.dtype)

    def features_in(
        self, context: State, x: Float[Tensor, "*time batch observation"]
    ) -> Float[Tensor, "*time batch features"]:
        """What inference reads of an observation in its context: `features` where not overridden."""
        return self.features(x)

    def allowance(
        self,
        context: State,
        z: Float[Tensor, "batch latent"],
        observed: Bool[Tensor, "batch observation"] | None,
        likelihood: Likelihood,
    ) -> Float[Tensor, " batch"] | None:
        """Nats of F that are accounted for by the scale that z says the observation has, where a model can tell them.

        The context may be the state alone.

        Surprise is judged by what is left: an observation k times as large costs log k more a dimension, and is no
        stranger for that.
        """
        return None

    @property
    def warming(self) -> int:
        """Steps of a sequence that are not judged: until its emission, where it has one, remembers observations alone.

        What is remembered at first is not of the sequence, and so what the first steps cost tells nothing of them.
        """
        emission = getattr(self, "emission", None)
        return emission.warming if isinstance(emission, Emission) else 0

    @property
    def listened(self) -> tuple[Sign, ...]:
        """What `signs` gives, in order."""
        return (Sign(name="latent", size=self.latent_size, memory=4.0),)

    def signs(
        self,
        context: State,
        x: Float[Tensor, "batch observation"],
        mean: Float[Tensor, "batch latent"],
        likelihood: Likelihood,
    ) -> Float[Tensor, "batch signs"]:
        """What tells a strange step from a usual one beside its cost: the posterior's mean, where not overridden.

        What is explained well costs little, by whatever latent; so a latent that is like none on normal data is a sign
        of its own. The context may be the state alone, and what was not observed of x is imputed.
        """
        return mean

    def context_sizes(self) -> dict[str, int]:
        """The sizes of the tensors of a context, by name."""
        with torch.no_grad():
            state = self.initial(1)
            context, _ = self.predict(state, self.reader.resting((1,), next(iter(state.values()))))
        return {name: int(tensor.shape[-1]) for name, tensor in context.items()}

    def begin(self, sequences: Sequence[Float[ndarray, "_time observation"]]) -> None:
        """Before training from random parameters: set those that the data, in natural units, give in closed form.

        Nothing where not overridden.
        """

    @abstractmethod
    def initial(self, batch_size: int) -> State:
        """The state before the first observation."""

    @abstractmethod
    def predict(self, state: State, drive: Drive = FREE) -> tuple[State, AnyGaussian]:
        """The deterministic context of this step and the prior over its latent, of shape (batch, latent_size)."""

    @abstractmethod
    def decode(self, context: State, z: Float[Tensor, "batch latent"]) -> Likelihood:
        """The distribution of the observation given the latent."""

    def marginal(self, context: State, prior: AnyGaussian) -> Likelihood | None:
        """The distribution of the observation with the latent integrated out; None where it has no closed form."""
        return None

    def decode_samples(self, context: State, z: Float[Tensor, "samples batch latent"]) -> Likelihood:
        """The distributions of the observation given several latents a row, with a leading axis of samples.

        One call of `decode` with the contexts repeated; models that can share them between samples do better.
        """
        samples = z.shape[0]
        repeated = {name: tensor.repeat(samples, *[1] * (tensor.ndim - 1)) for name, tensor in context.items()}
        decoded = self.decode(repeated, z.flatten(0, 1))
        return tree_map(lambda tensor: tensor.unflatten(0, (samples, -1)), decoded)

    def reconstruction_slope(
        self,
        context: State,
        z: Float[Tensor, "samples batch latent"],
        x: Float[Tensor, "batch observation"],
        observed: Bool[Tensor, "batch observation"] | None,
    ) -> tuple[Float[Tensor, "samples batch"], Float[Tensor, "samples batch latent"]]:
        """-log p(x | z) of the dimensions that are `observed`, in nats, and its gradient with respect to z.

        By automatic differentiation of `decode_samples`; models whose gradient is quickly written out do better.
        """
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            energy = reconstruction(self.decode_samples(context, z.to(self.dtype)), x, observed)
            (by_z,) = torch.autograd.grad(energy.sum(), z)
        return energy.detach(), by_z

    @abstractmethod
    def transition(
        self, context: State, x: Float[Tensor, "batch observation"], z: Float[Tensor, "batch latent"]
    ) -> State:
        """The state that the next step starts from."""

    def plan(self, registers: Registers) -> ModelPlan:
        """The model for the native executor: what predict, decode and transition compute in evaluation.

        Raises Undescribed where there is no plan; torch then computes it.
        """
        raise Undescribed(f"{type(self).__module__}.{type(self).__qualname__} does not describe itself")

    def replay(
        self,
        state: State,
        xs: Float[Tensor, "time batch observation"],
        zs: Float[Tensor, "time batch latent"],
        drive: Drive = FREE,
    ) -> tuple[State, AnyGaussian]:
        """The contexts and priors of a stretch whose observations, latents and drive are given, with a time axis.

        The same as `time` calls of predict and transition; models whose recurrence allows it do better.
        """
        contexts, priors = [], []
        for t, (x, z) in enumerate(zip(xs, zs, strict=True)):
            context, prior = self.predict(state, take(drive, t))
            contexts.append(context)
            priors.append(prior)
            state = self.transition(context, x, z)
        return stack_time(contexts), stack_time(priors)


class ObservationDriven(Model):
    """A model whose contexts depend on observations only, so that those of a stretch are had before its latents."""

    @abstractmethod
    def contexts(self, state: State, xs: Float[Tensor, "time batch observation"], drive: Drive = FREE) -> State:
        """The contexts of a stretch, with a time axis."""

    @abstractmethod
    def prior_of(self, context: State, before: Float[Tensor, "*time batch latent"]) -> Gaussian:
        """The prior of a step with this context, given the latent of the step before; or of several steps."""

    def priors(self, state: State, contexts: State, zs: Float[Tensor, "time batch latent"]) -> Gaussian:
        """The priors of a stretch with these contexts and latents: one pass. The state's latent is its "z"."""
        return self.prior_of(contexts, torch.cat([state["z"][None], zs[:-1]]))

    def replay(
        self,
        state: State,
        xs: Float[Tensor, "time batch observation"],
        zs: Float[Tensor, "time batch latent"],
        drive: Drive = FREE,
    ) -> tuple[State, AnyGaussian]:
        """The contexts, then the priors."""
        contexts = self.contexts(state, xs, drive)
        return contexts, self.priors(state, contexts, zs)


class PastDriven(ObservationDriven):
    """A model whose prior hears observations only, through its context: latents of other steps never reach a step."""

    @abstractmethod
    def prior_in(self, context: State) -> Gaussian:
        """The prior of a step with this context, or of several steps."""

    def prior_of(self, context: State, before: Float[Tensor, "*time batch latent"]) -> Gaussian:
        """Whatever the latent before."""
        return self.prior_in(context)

    def priors(self, state: State, contexts: State, zs: Float[Tensor, "time batch latent"]) -> Gaussian:
        """Those of the contexts."""
        return self.prior_in(contexts)
