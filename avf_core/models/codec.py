"""Codec: a latent that carries of a frame of sound what a codec's side information carries.

    h_t = LSTM(heard_{t-1}, h_{t-1})      z_t ~ N(prior([h_t, heard_{t-1}]))      x_t ~ linear prediction(decoder(z_t))

The decoder hears z_t alone: filter, gains and scales of the frame come from nowhere else, and the past reaches them
through the prior only. So what the frame is like has to be in z_t. What the emission does with the samples before each
sample is no way around it, as it learns nothing there.

The law of level: `level` is the logarithm of a running amplitude of what was heard so far, and a part of the belief.
Networks hear frames relative to it. The latent's first number is the log amplitude of the frame's innovation, and its
prior is relative to the level. So sound that is k times as loud has, but for quantisation and the first moments, the
same belief, with log k added to the level and to that number.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from avf_core import emissions
from avf_core.beliefs import State
from avf_core.distributions import LATENT_LOG_VARIANCE, Gaussian, Likelihood
from avf_core.drives import FREE, Drive
from avf_core.emissions import SIXTEEN_BITS, Units, linear_prediction
from avf_core.emissions._noise import NOISES
from avf_core.errors import ConfigurationError
from avf_core.models import _codec_plan, _codec_signs, base
from avf_core.models._codec_plan import BEFORE, COUNT, LEVEL, POWER
from avf_core.native.plan import ModelPlan, Registers
from avf_core.nets import MLP, GaussianNet, LearnedStartLSTM, spectra
from avf_core.signs import Sign

EMISSION = {"filter": "spectrum"}
QUIET = 1.5  # levels: the scale of noise that recorded sound is expected to have at least


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of a codec.

    `likelihood` is linear prediction, `emission` holds its options, `bin`, `center` and `scale` its units. `memory`:
    frames over which the level is averaged.
    """

    observation_size: int = 200
    latent_size: int = 57
    hidden_size: int = 256
    prior_widths: tuple[int, ...] = (256,)
    decoder_widths: tuple[int, ...] = (128,)
    likelihood: str = "linear-prediction"
    emission: dict[str, Any] = field(default_factory=lambda: dict(EMISSION))
    memory: int = 80
    bin: float = SIXTEEN_BITS
    center: float = 0.0
    scale: float = 1.0


EXAMPLES: Mapping[str, Config] = {
    "spectrum": Config(
        observation_size=6,
        latent_size=6,
        hidden_size=8,
        prior_widths=(8,),
        decoder_widths=(8,),
        emission={"filter": "spectrum", "order": 3, "gains": 2, "resolution": 4, "reactive": 2},
        bin=1e-3,
        scale=0.5,
    ),
    "reflection": Config(
        observation_size=6,
        latent_size=3,
        hidden_size=8,
        prior_widths=(8,),
        decoder_widths=(8,),
        emission={"order": 2, "gains": 1, "reactive": 0, "noise": "student-t"},
        bin=1e-3,
    ),
}


class Model(base.PastDriven):
    """A prior that hears the past, and a decoder that hears the latent alone."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        size, latent, hidden = config.observation_size, config.latent_size, config.hidden_size
        units = Units(bin=config.bin, center=config.center, scale=config.scale)
        emission = emissions.build(config.likelihood, config.emission, units=units, size=size)
        if not isinstance(emission, linear_prediction.Emission):
            raise ConfigurationError(f"likelihood is {config.likelihood!r}, expected 'linear-prediction'")
        self.emission = emission
        self.observation = base.ObservationSpec(size=size)
        self.latent_size = latent
        self.window = max(spectra.WINDOW, size)
        self.lstm = LearnedStartLSTM(self.feature_size, hidden)
        heard = hidden + self.feature_size
        self.prior = GaussianNet(MLP(heard, config.prior_widths, F.elu), latent, log_variance_range=LATENT_LOG_VARIANCE)
        self.prior_skip = nn.Linear(self.feature_size, latent, bias=False)
        self.decoder = MLP(latent, config.decoder_widths, F.elu)
        self.decoder_head = nn.Linear(self.decoder.output_size, self.emission.outputs)
        self.decoder_skip = nn.Linear(latent, self.emission.outputs, bias=False)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Begin with latents that are numbers of the filter, on the scale of one, and a prior that repeats them."""
        for linear in (self.decoder_head, self.prior.mean, self.prior_skip, self.decoder_skip):
            linear.weight.mul_(0.1)
        self.decoder_head.bias.zero_()
        count = min(self.emission.config.filtering, self.latent_size - 1)
        place = torch.arange(count)
        self.decoder_skip.weight[place, place + 1] = 0.5 / torch.sqrt(place + 1.0)
        if self.emission.config.filter == "spectrum":
            same = place[: spectra.CEPSTRUM]
            self.prior_skip.weight[same + 1, same] = 1.0

    @property
    def feature_size(self) -> int:
        """What is heard of a window, and how the level has moved."""
        return spectra.size(self.observation.size) + 1

    def initial(self, batch_size: int) -> State:
        """Silence before, at a level of one deviation of the training set, which counts as one frame."""
        hidden, cell = self.lstm.initial(batch_size)
        memory = self.emission.initial(batch_size, like=hidden)
        one = next(iter(memory.values())).new_ones(batch_size, 1)
        return {
            "hidden": hidden,
            "cell": cell,
            "heard": hidden.new_zeros(batch_size, self.feature_size),
            BEFORE: one.new_zeros(batch_size, self.window - self.observation.size),
            POWER: one,
            COUNT: one.clone(),
            **memory,
        }

    def predict(self, state: State, drive: Drive = FREE) -> tuple[State, Gaussian]:
        """The context is the state, and its level."""
        context = {**state, **self.emission.context(state), LEVEL: level_of(state[POWER])}
        return context, self.prior_in(context)

    def prior_in(self, context: State) -> Gaussian:
        """Given what was heard; its first number is relative to the level."""
        heard = context["heard"]
        prior: Gaussian = self.prior(torch.cat([context["hidden"], heard], dim=-1))
        mean = prior.mean + self.prior_skip(heard)
        return Gaussian(shifted(mean, context[LEVEL]), prior.log_variance)

    def decode(self, context: State, z: Float[Tensor, "*samples batch latent"]) -> Likelihood:
        """The distribution of x_t given z_t and the samples before."""
        return self.emission.likelihood_of(self._numbers(z, context[LEVEL]), context)

    def _numbers(self, z: Float[Tensor, "*samples batch latent"], level: Float[Tensor, "batch one"]) -> Tensor:
        """What the emission reads of latents, at this level."""
        relative = shifted(z, -level)
        numbers = self.decoder_head(self.decoder(relative)) + self.decoder_skip(relative)
        start, count = self.emission.config.filtering, self.emission.config.gains
        gains = numbers[..., start : start + count] + z[..., :1]
        return torch.cat([numbers[..., :start], gains, numbers[..., start + count :]], dim=-1)

    def decode_samples(self, context: State, z: Float[Tensor, "samples batch latent"]) -> Likelihood:
        """Samples of a row share its context, by broadcasting."""
        return self.decode(context, z)

    def features_in(
        self, context: State, x: Float[Tensor, "*time batch observation"]
    ) -> Float[Tensor, "*time batch features"]:
        """What is heard of the frame and of the samples before it, relative to the level before it."""
        window = torch.cat([context[BEFORE], self._standardized(context, x)], dim=-1)
        heard = spectra.hear(window, context[LEVEL], self.observation.size)
        moved = level_of(self._power(context, x)[0]) - context[LEVEL]
        return torch.cat([heard, moved], dim=-1).to(self.dtype)

    def allowance(
        self,
        context: State,
        z: Float[Tensor, "batch latent"],
        observed: Bool[Tensor, "batch observation"] | None,
        likelihood: Likelihood,
    ) -> Float[Tensor, " batch"] | None:
        """What noise of the scales that z says costs, and of no less than a microphone's own: so much is usual.

        So surprise is that of the filter, of noise that is not like itself, and of a latent that the past does not lead
        to; and lost sound costs far less than is usual.
        """
        emission, count = self.emission, self.emission.config.gains
        assert isinstance(likelihood, linear_prediction.LinearPrediction)
        gains = likelihood.gains - math.log(emission.level)
        entropy = NOISES[emission.config.noise].entropy
        quiet = gains.new_full((), 2.0 * (math.log(QUIET) + entropy))
        usual = 0.5 * torch.logaddexp(2.0 * (gains + entropy), quiet)
        share = self.observation.size // count
        heard = share if observed is None else torch.unflatten(observed, -1, (count, share)).sum(-1)
        return (usual * heard).sum(-1)

    @property
    def listened(self) -> tuple[Sign, ...]:
        """Whatever the level."""
        return _codec_signs.listened(self.latent_size, self.observation.size, self.window)

    def signs(
        self,
        context: State,
        x: Float[Tensor, "batch observation"],
        mean: Float[Tensor, "batch latent"],
        likelihood: Likelihood,
    ) -> Float[Tensor, "batch signs"]:
        """The filter that was said, and what it leaves."""
        assert isinstance(likelihood, linear_prediction.LinearPrediction)
        window = torch.cat([context[BEFORE], self._standardized(context, x)], dim=-1)
        return _codec_signs.signs(window, x, mean, likelihood)

    def transition(
        self, context: State, x: Float[Tensor, "batch observation"], z: Float[Tensor, "batch latent"]
    ) -> State:
        """What was heard goes to the recurrence, and is kept for the next prior."""
        heard = self.features_in(context, x)
        hidden, cell = self.lstm(heard, context["hidden"], context["cell"])
        power, count = self._power(context, x)
        joined = torch.cat([context[BEFORE], self._standardized(context, x)], dim=-1)
        return {
            "hidden": hidden,
            "cell": cell,
            "heard": heard,
            BEFORE: joined[..., self.observation.size :],
            POWER: power,
            COUNT: count,
            **self.emission.remember(context, x),
        }

    def contexts(self, state: State, xs: Float[Tensor, "time batch observation"], drive: Drive = FREE) -> State:
        """Levels go step by step, and the recurrence; all that is heard is one pass."""
        before, time = state[BEFORE], xs.shape[0]
        signal = self._standardized(state, xs).transpose(0, 1).flatten(1)
        windows = torch.cat([before, signal], dim=-1).unfold(-1, before.shape[-1], self.observation.size)
        steps = [{POWER: state[POWER], COUNT: state[COUNT]}]
        for x in xs[:-1]:
            power, count = self._power(steps[-1], x)
            steps.append({POWER: power, COUNT: count})
        context = {name: torch.stack([step[name] for step in steps]) for name in (POWER, COUNT)}
        context |= {LEVEL: level_of(context[POWER]), BEFORE: windows[:, :time].transpose(0, 1)}
        later = self.features_in({name: value[:-1] for name, value in context.items()}, xs[:-1])
        hidden, cell = self.lstm.trajectory(later, state["hidden"], state["cell"])
        heard = torch.cat([state["heard"][None], later])
        return context | {"hidden": hidden, "cell": cell, "heard": heard} | self.emission.contexts(state, xs)

    def plan(self, registers: Registers) -> ModelPlan:
        """The maps as programs."""
        parts = _codec_plan.Parts(
            lstm=self.lstm,
            prior=self.prior,
            prior_skip=self.prior_skip,
            decoder=self.decoder,
            decoder_head=self.decoder_head,
            decoder_skip=self.decoder_skip,
            emission=self.emission,
            size=self.observation.size,
            window=self.window,
            feature_size=self.feature_size,
            latent_size=self.latent_size,
            memory=self.config.memory,
        )
        return _codec_plan.of(parts, registers)

    def _standardized(self, state: State, x: Tensor) -> Tensor:
        """As the samples before are kept."""
        return self.emission.standardize(x).to(state[BEFORE].dtype)

    def _power(self, state: State, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean power of what was heard, the more of it the lighter the past, and how many frames count in it."""
        count = (state[COUNT] + 1.0).clamp(max=float(self.config.memory))
        square = self.emission.standardize(x).to(count.dtype).square().mean(-1, keepdim=True)
        return torch.lerp(state[POWER], square, 1.0 / count), count


def level_of(power: Float[Tensor, "*batch one"]) -> Float[Tensor, "*batch one"]:
    """The log amplitude of a power; silence is not infinitely quiet."""
    return 0.5 * torch.log(power + math.sqrt(spectra.FLOOR))


def shifted(z: Float[Tensor, "*batch latent"], by: Float[Tensor, "*rows one"]) -> Float[Tensor, "*batch latent"]:
    """The latent with its first number moved."""
    return torch.cat([z[..., :1] + by.to(z.dtype), z[..., 1:]], dim=-1)
