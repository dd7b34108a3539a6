"""VRNN: variational recurrent neural network (Chung, Kastner, Dinh, Goel, Courville & Bengio 2015).

z_t ~ N(prior(h_{t-1}))     x_t ~ p(decoder([phi(z_t), h_{t-1}]))     h_t = LSTM([phi(x_t), phi(z_t)], h_{t-1})

phi(x) and phi(z) are learned features. Sizes follow Marino, Cvitkovic & Yue (2018). Inputs u_t and dt_t, where it has
them, are read by the prior of z_t, by the LSTM beside x_t and z_t, and where configured by the decoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
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
from avf_core.nets import MLP, GaussianNet, LearnedStartLSTM, activate, described, with_backward

OUTPUT_LOG_VARIANCE = (-20.0, 5.0)  # of the standardised observation


@dataclass(frozen=True, kw_only=True)
class Config(drives.Config):
    """Sizes of a VRNN; the defaults are the paper's for speech: 31,649,600 parameters.

    `likelihood` is the name of an emission, `emission` holds its options, `bin`, `center` and `scale` its units.
    `dropout` is that of all hidden layers but the recurrence, in training.
    """

    observation_size: int = 200
    latent_size: int = 200
    hidden_size: int = 2000
    observation_widths: tuple[int, ...] = (600, 600, 600, 600)
    latent_widths: tuple[int, ...] = (500, 500, 500, 500)
    prior_widths: tuple[int, ...] = (500, 500, 500, 500)
    decoder_widths: tuple[int, ...] = (600, 600, 600, 600)
    likelihood: str = "discretized"
    emission: dict[str, Any] = field(default_factory=dict)
    bin: float = SIXTEEN_BITS
    center: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    dropout: float = 0.0


SMALL = Config(
    observation_size=6,
    latent_size=4,
    hidden_size=8,
    observation_widths=(8, 8),
    latent_widths=(8,),
    prior_widths=(8,),
    decoder_widths=(8, 8),
    bin=1e-3,
    scale=0.5,
)
EXAMPLES: Mapping[str, Config] = {
    "speech": SMALL,
    "authors": replace(SMALL, likelihood="discretized-authors", bin=0.25),
    "music": replace(SMALL, likelihood="bernoulli"),
    "driven": replace(SMALL, likelihood="gaussian", input_size=2, decode_inputs=True, timed=True, usual_dt=0.5),
}


class Model(base.Model):
    """VRNN with ReLU networks throughout."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        size, latent, hidden = config.observation_size, config.latent_size, config.hidden_size
        driven = self.reader.size
        units = Units(bin=config.bin, center=config.center, scale=config.scale)
        self.emission = emissions.build(config.likelihood, config.emission, units=units, size=size)
        low, high = self.emission.range
        self.observation = base.ObservationSpec(size=size, low=low, high=high)
        self.latent_size = latent

        def mlp(input_size: int, widths: tuple[int, ...]) -> MLP:
            return MLP(input_size, widths, F.relu, dropout=config.dropout)

        self.observation_features = mlp(size, config.observation_widths)
        self.latent_features = mlp(latent, config.latent_widths)
        heard = self.observation_features.output_size + self.latent_features.output_size
        self.lstm = LearnedStartLSTM(heard + driven, hidden)
        prior = mlp(hidden + driven, config.prior_widths)
        self.prior = GaussianNet(prior, latent, log_variance_range=LATENT_LOG_VARIANCE)
        # The decoder's first layer, in two parts: that of h_{t-1} is computed once a step, not once an iteration.
        first, *others = config.decoder_widths
        self.decodes_inputs = config.decode_inputs
        self.decoder_hidden = nn.Linear(hidden + (driven if config.decode_inputs else 0), first)
        self.decoder_latent = nn.Linear(self.latent_features.output_size, first, bias=False)
        self.decoder_dropout = nn.Dropout(config.dropout)
        self.decoder = self.emission.head(mlp(first, tuple(others)), log_variance_range=OUTPUT_LOG_VARIANCE)

    @property
    def feature_size(self) -> int:
        """The size of phi(x)."""
        return self.observation_features.output_size

    def features(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... features"]:
        """phi(x), of the standardised observation."""
        features: Tensor = self.observation_features(self.emission.standardize(x).to(self.dtype))
        return features

    def begin(self, sequences: Sequence[Float[ndarray, "_time observation"]]) -> None:
        """What the emission begins as."""
        self.emission.begin(sequences)

    def initial(self, batch_size: int) -> State:
        """h_0 and its cell are learned."""
        hidden, cell = self.lstm.initial(batch_size)
        return {"hidden": hidden, "cell": cell, **self.emission.initial(batch_size, like=hidden)}

    def predict(self, state: State, drive: Drive = FREE) -> tuple[State, Gaussian]:
        """The context is the recurrent state and the drive; the prior is conditioned on them."""
        context, prior = self._heard(state["hidden"], state["cell"], drive)
        return context | self.emission.context(state), prior

    def decode(self, context: State, z: Float[Tensor, "*samples batch latent"]) -> Likelihood:
        """The distribution of x_t given z_t and h_{t-1}."""
        features = F.relu(context["decoder"] + self.decoder_latent(self.latent_features(z)))
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
        heard, latent = with_backward(self.latent_features, z.to(self.dtype))
        features, first = activate(F.relu, context["decoder"] + self.decoder_latent(heard))
        output, others = with_backward(self.decoder, features)
        energy, slope = self.emission.sloped(output, context, x, observed)
        return energy, latent(first(others(slope)) @ self.decoder_latent.weight).to(z.dtype)

    def transition(
        self, context: State, x: Float[Tensor, "batch observation"], z: Float[Tensor, "batch latent"]
    ) -> State:
        """Feed phi(x_t), phi(z_t) and the drive to the LSTM."""
        driven = [context["drive"]] if "drive" in context else []
        heard = torch.cat([self.features(x), self.latent_features(z), *driven], dim=-1)
        hidden, cell = self.lstm(heard, context["hidden"], context["cell"])
        return {"hidden": hidden, "cell": cell, **self.emission.remember(context, x)}

    def replay(
        self,
        state: State,
        xs: Float[Tensor, "time batch observation"],
        zs: Float[Tensor, "time batch latent"],
        drive: Drive = FREE,
    ) -> tuple[State, Gaussian]:
        """The features of all steps are one pass, and so are the priors; the LSTM alone goes step by step."""
        driven = [read[:-1] for read in self.reader.features(drive)]
        heard = torch.cat([self.features(xs[:-1]), self.latent_features(zs[:-1]), *driven], dim=-1)
        hidden, cell = self.lstm.trajectory(heard, state["hidden"], state["cell"])
        context, prior = self._heard(hidden, cell, drive)
        return context | self.emission.contexts(state, xs), prior

    def _heard(
        self, hidden: Float[Tensor, "*time batch hidden"], cell: Float[Tensor, "*time batch hidden"], drive: Drive
    ) -> tuple[State, Gaussian]:
        """The recurrent state, what the decoder makes of it and of the drive, and the prior."""
        context = {"hidden": hidden, "cell": cell}
        if not self.reader.size:
            return context | {"decoder": self.decoder_hidden(hidden)}, self.prior(hidden)
        driven = torch.cat(self.reader.features(drive), dim=-1)
        both = torch.cat([hidden, driven], dim=-1)
        decoder = self.decoder_hidden(both if self.decodes_inputs else hidden)
        return context | {"decoder": decoder, "drive": driven}, self.prior(both)

    def plan(self, registers: Registers) -> ModelPlan:
        """The three maps as programs; dropout has no part in them."""
        if self.reader.size:
            raise Undescribed("a model that takes inputs or dt has no plan")
        state = {"hidden": registers.new(self.lstm.cell.hidden_size), "cell": registers.new(self.lstm.cell.hidden_size)}
        x, z = registers.new(self.observation.size), registers.new(self.latent_size)
        predict, features, transition = Program(registers), Program(registers), Program(registers)
        emission = plan_of(self.emission)
        state |= emission.remembers(registers)
        context = {**state, "decoder": predict.linear(state["hidden"], self.decoder_hidden)}
        mean, log_variance = described(predict, self.prior, state["hidden"])
        decode, latents = Program(registers, sampled=True), registers.new(self.latent_size, sampled=True)
        (heard,) = described(decode, self.latent_features, latents)
        read = decode.linear(heard, self.decoder_latent, other=context["decoder"], activation="relu")
        standardized = features.standardized(x)
        (seen,) = described(features, self.observation_features, standardized)
        (kept,) = described(transition, self.latent_features, z)
        hidden, cell = transition.lstm(transition.joined([seen, kept]), state["hidden"], state["cell"], self.lstm.cell)
        return ModelPlan(
            state=state,
            following={"hidden": hidden, "cell": cell, **transition.remembered(emission, state, standardized)},
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
