"""SRNN: stochastic recurrent neural network (Fraccaro, Sønderby, Paquet & Winther 2016), filtering form.

h_t = LSTM(x_{t-1}, h_{t-1})      z_t ~ N(prior([h_t, z_{t-1}]))      x_t ~ p(decoder([h_t, z_t]))

Inputs u_t and dt_t, where it has them, are read by the prior of z_t, by the LSTM beside x_t, and where configured by
the decoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from avf_core import drives, emissions
from avf_core.beliefs import State
from avf_core.distributions import LATENT_LOG_VARIANCE, Gaussian, Likelihood
from avf_core.drives import FREE, Drive
from avf_core.emissions import SIXTEEN_BITS, Units
from avf_core.models import base
from avf_core.native.plan import ModelPlan, Program, Registers, Undescribed, plan_of
from avf_core.nets import MLP, GaussianNet, LearnedStartLSTM, activate, clipped_leaky_relu, described, with_backward

OUTPUT_LOG_VARIANCE = (-10.0, 20.0)  # of the standardised observation


@dataclass(frozen=True, kw_only=True)
class Config(drives.Config):
    """Sizes of an SRNN; the defaults are the paper's for music.

    `likelihood` is the name of an emission, `emission` holds its options, `bin`, `center` and `scale` its units. In
    training, `dropout` is that of the hidden layers of prior and decoder, `hidden_dropout` that of h_t where these two
    read it, the recurrence itself keeps all of it; `observation_dropout` is that of x_{t-1} where the LSTM reads it.
    """

    observation_size: int = 88
    latent_size: int = 100
    hidden_size: int = 300
    prior_widths: tuple[int, ...] = (500,)
    decoder_widths: tuple[int, ...] = (500, 500)
    likelihood: str = "bernoulli"
    emission: dict[str, Any] = field(default_factory=dict)
    bin: float = SIXTEEN_BITS
    center: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    dropout: float = 0.0
    hidden_dropout: float = 0.0
    observation_dropout: float = 0.0


SMALL = Config(observation_size=6, latent_size=4, hidden_size=8, prior_widths=(8,), decoder_widths=(8,))
EXAMPLES: Mapping[str, Config] = {
    "music": SMALL,
    "sensors": replace(SMALL, likelihood="gaussian"),
    "speech": replace(SMALL, likelihood="discretized", bin=1e-3, center=0.25, scale=0.5),
    "driven": replace(SMALL, likelihood="gaussian", input_size=2, decode_inputs=True, timed=True, usual_dt=0.5),
}


class Model(base.ObservationDriven):
    """SRNN with binary (music) or real (speech) observations."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        size, latent, hidden = config.observation_size, config.latent_size, config.hidden_size
        driven = self.reader.size
        units = Units(bin=config.bin, center=config.center, scale=config.scale)
        self.emission = emissions.build(config.likelihood, config.emission, units=units, size=size)
        low, high = self.emission.range
        self.observation = base.ObservationSpec(size=size, low=low, high=high)
        self.latent_size = latent
        self.lstm = LearnedStartLSTM(size + driven, hidden)

        def mlp(input_size: int, widths: tuple[int, ...]) -> MLP:
            return MLP(input_size, widths, clipped_leaky_relu, dropout=config.dropout)

        self.observation_dropout = nn.Dropout(config.observation_dropout)
        self.hidden_dropout = nn.Dropout(config.hidden_dropout)
        prior = mlp(hidden + latent + driven, config.prior_widths)
        self.prior = GaussianNet(prior, latent, log_variance_range=LATENT_LOG_VARIANCE)
        # The decoder's first layer, in two parts: that of h_t is computed once a step, not once an iteration.
        first, *others = config.decoder_widths
        self.decodes_inputs = config.decode_inputs
        self.decoder_hidden = nn.Linear(hidden + (driven if config.decode_inputs else 0), first)
        self.decoder_latent = nn.Linear(latent, first, bias=False)
        self.decoder_dropout = nn.Dropout(config.dropout)
        trunk = mlp(first, tuple(others))
        self.decoder = self.emission.head(trunk, log_variance_range=OUTPUT_LOG_VARIANCE)

    def features(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... features"]:
        """The standardised observation."""
        return self.emission.standardize(x).to(self.dtype)

    def begin(self, sequences: Sequence[Float[ndarray, "_time observation"]]) -> None:
        """What the emission begins as."""
        self.emission.begin(sequences, self.reader.read_of(sequences))

    def initial(self, batch_size: int) -> State:
        """h_1 and its cell are learned, z_0 is zero."""
        hidden, cell = self.lstm.initial(batch_size)
        z = hidden.new_zeros(batch_size, self.latent_size)
        return {"hidden": hidden, "cell": cell, "z": z, **self.emission.initial(batch_size, like=z)}

    def predict(self, state: State, drive: Drive = FREE) -> tuple[State, Gaussian]:
        """The context is the recurrent state, and what prior and decoder make of it and of the drive."""
        context = {"hidden": state["hidden"], "cell": state["cell"], **self._heard(state["hidden"], drive)}
        said = self.emission.moved(self.emission.context(state), self.reader.inputs_of(drive))
        return context | said, self.prior_of(context, state["z"])

    def decode(self, context: State, z: Float[Tensor, "*samples batch latent"]) -> Likelihood:
        """The distribution of x_t given h_t and z_t."""
        features = clipped_leaky_relu(context["decoder"] + self.decoder_latent(z))
        return self.emission.likelihood_of(self.decoder(self.decoder_dropout(features)), context)

    def decode_samples(self, context: State, z: Float[Tensor, "samples batch latent"]) -> Likelihood:
        """Samples of a row share its context, by broadcasting."""
        return self.decode(context, z)

    def reconstruction_slope(
        self,
        context: State,
        z: Float[Tensor, "samples batch latent"],
        x: Float[Tensor, "batch observation"],
        observed: Bool[Tensor, "batch observation"] | None,
    ) -> tuple[Float[Tensor, "samples batch"], Float[Tensor, "samples batch latent"]]:
        """Written out, but for dropout."""
        if self.training:
            return super().reconstruction_slope(context, z, x, observed)
        read = context["decoder"] + self.decoder_latent(z.to(self.dtype))
        features, first = activate(clipped_leaky_relu, read)
        output, others = with_backward(self.decoder, features)
        energy, slope = self.emission.sloped(output, context, x, observed)
        return energy, (first(others(slope)) @ self.decoder_latent.weight).to(z.dtype)

    def transition(
        self, context: State, x: Float[Tensor, "batch observation"], z: Float[Tensor, "batch latent"]
    ) -> State:
        """Feed x_t to the LSTM and keep z_t."""
        features = self.observation_dropout(self.features(x))
        if "drive" in context:
            features = torch.cat([features, context["drive"]], dim=-1)
        hidden, cell = self.lstm(features, context["hidden"], context["cell"])
        return {"hidden": hidden, "cell": cell, "z": z, **self.emission.remember(context, x)}

    def contexts(self, state: State, xs: Float[Tensor, "time batch observation"], drive: Drive = FREE) -> State:
        """The LSTM hears x and the drive only."""
        features = self.observation_dropout(self.features(xs[:-1]))
        features = torch.cat([features, *(read[:-1] for read in self.reader.features(drive))], dim=-1)
        hidden, _ = self.lstm.trajectory(features, state["hidden"], state["cell"])
        said = self.emission.moved(self.emission.contexts(state, xs), self.reader.inputs_of(drive))
        return {"hidden": hidden, **self._heard(hidden, drive)} | said

    def prior_of(self, context: State, before: Float[Tensor, "*time batch latent"]) -> Gaussian:
        """The prior given h_t, z_{t-1} and the drive."""
        driven = [context["drive"]] if "drive" in context else []
        prior: Gaussian = self.prior(torch.cat([context["heard"], before, *driven], dim=-1))
        return prior

    def _heard(self, hidden: Float[Tensor, "*time batch hidden"], drive: Drive) -> State:
        """`heard` is h_t as prior and decoder read it, after dropout; the drive, where there is one, as networks do."""
        heard = self.hidden_dropout(hidden)
        if not self.reader.size:
            return {"heard": heard, "decoder": self.decoder_hidden(heard)}
        driven = torch.cat(self.reader.features(drive), dim=-1)
        read = torch.cat([heard, driven], dim=-1) if self.decodes_inputs else heard
        return {"heard": heard, "decoder": self.decoder_hidden(read), "drive": driven}

    def plan(self, registers: Registers) -> ModelPlan:
        """The three maps as programs; dropout has no part in them."""
        if self.reader.size:
            raise Undescribed("a model that takes inputs or dt has no plan")
        state = {"hidden": registers.new(self.lstm.cell.hidden_size), "cell": registers.new(self.lstm.cell.hidden_size)}
        state["z"], x, z = (
            registers.new(self.latent_size),
            registers.new(self.observation.size),
            registers.new(self.latent_size),
        )
        predict, features, transition = Program(registers), Program(registers), Program(registers)
        emission = plan_of(self.emission)
        state |= emission.remembers(registers)
        context = {**state, "heard": state["hidden"], "decoder": predict.linear(state["hidden"], self.decoder_hidden)}
        mean, log_variance = described(predict, self.prior, predict.joined([state["hidden"], state["z"]]))
        decode, latents = Program(registers, sampled=True), registers.new(self.latent_size, sampled=True)
        read = decode.linear(latents, self.decoder_latent, other=context["decoder"], activation="clipped_leaky_relu")
        seen = features.standardized(x)
        hidden, cell = transition.lstm(seen, state["hidden"], state["cell"], self.lstm.cell)
        return ModelPlan(
            state=state,
            following={"hidden": hidden, "cell": cell, "z": z, **transition.remembered(emission, state, seen)},
            context=context,
            prior=(mean, log_variance),
            x=x,
            seen=seen,
            z=z,
            latents=latents,
            outputs=described(decode, self.decoder, read),
            predict=predict,
            features=features,
            decode=decode,
            transition=transition,
            emission=emission,
        )
