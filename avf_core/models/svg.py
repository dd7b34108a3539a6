"""SVG-LP: stochastic video generation with a learned prior (Denton & Fergus 2018).

g_t = encoder(x_t)    z_t ~ N(LSTM(g_1..t-1))    x_t ~ N(decoder(LSTM([z_1, g_0], .., [z_t, g_{t-1}])))

Frames are flattened, with pixels in [0, 1]. g_0 and the start of all LSTMs are learned; there are no skip connections
at the first step but zeros, as there is no frame before it. Sizes follow Marino, Cvitkovic & Yue (2018). Inputs u_t and
dt_t, where it has them, are read by the prior of z_t, by its LSTM beside g_t, and where configured by the decoder's.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
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
from avf_core.emissions import EIGHT_BITS, Units
from avf_core.models import base
from avf_core.native.pictures import pixels_of
from avf_core.native.plan import Undescribed
from avf_core.nets import MLP, GaussianNet, LearnedStartLSTM, images, with_backward

OUTPUT_LOG_VARIANCE = (-10.0, 20.0)


@dataclass(frozen=True, kw_only=True)
class Config(drives.Config):
    """Sizes of an SVG; the defaults are the paper's for 64 x 64 pixels.

    widths: the channels of the encoder's stages, from the finest; each stage halves the frame, down to 4 x 4 pixels.
    norm: `batch`, as published, mixes rows in training; `group` never does. skips: the decoder also reads the stages
    of the last frame's encoder, which then travel in the belief (2 MB a row at 64 x 64 pixels). likelihood: the name of
    an emission, `emission` its options. bin: a pixel's level.
    """

    frame_size: int = 64
    latent_size: int = 512
    encoding_size: int = 128
    hidden_size: int = 256
    predictor_layers: int = 2
    encoder: images.EncoderName = "vgg"
    widths: tuple[int, ...] = (64, 128, 256, 512)
    norm: images.NormName = "batch"
    skips: bool = False
    likelihood: str = "discretized"
    emission: dict[str, Any] = field(default_factory=dict)
    bin: float = EIGHT_BITS

    def __post_init__(self) -> None:
        super().__post_init__()
        images.check_frame_size(self.frame_size, self.widths)


SMALL = Config(frame_size=8, latent_size=4, encoding_size=8, hidden_size=6, widths=(4,), bin=0.25)
EXAMPLES: Mapping[str, Config] = {
    "vgg": SMALL,
    "skips": replace(SMALL, skips=True, norm="group", likelihood="gaussian"),
    "dcgan": replace(SMALL, encoder="dcgan", norm="group"),
    "dcgan-skips": replace(SMALL, encoder="dcgan", skips=True),
    "driven": replace(SMALL, norm="group", input_size=2, decode_inputs=True, timed=True, usual_dt=0.5),
}


class Model(base.Model):
    """SVG with a Gaussian mean and log-variance for every pixel."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config = config
        side, latent = config.frame_size, config.latent_size
        size, hidden, driven = config.encoding_size, config.hidden_size, self.reader.size
        shape, units = (side, side), Units(bin=config.bin)
        self.emission = emissions.build(config.likelihood, config.emission, units=units, size=side * side, shape=shape)
        self.observation = base.ObservationSpec(size=side * side, low=0.0, high=1.0, shape=shape)
        self.latent_size = latent
        self.encoder = images.encoder(config.encoder, config.widths, size, norm=config.norm)
        self.decoder = images.decoder(
            config.encoder, config.widths, size, self.emission.channels, norm=config.norm, skips=config.skips
        )
        self.initial_encoding = nn.Parameter(torch.zeros(size))
        self.prior_lstm = LearnedStartLSTM(size + driven, hidden)
        self.prior = GaussianNet(MLP(hidden + driven, (), torch.tanh), latent, log_variance_range=LATENT_LOG_VARIANCE)
        inputs = [latent + size + (driven if config.decode_inputs else 0)] + [hidden] * (config.predictor_layers - 1)
        self.predictor = nn.ModuleList(LearnedStartLSTM(i, hidden) for i in inputs)
        self.predicted = nn.Sequential(nn.Linear(hidden, size), nn.Tanh())
        self.skip_names = [f"skip{place}" for place in range(len(config.widths))] if config.skips else []

    @property
    def feature_size(self) -> int:
        """The size of g."""
        return self.config.encoding_size

    def features(self, x: Float[Tensor, "... observation"]) -> Float[Tensor, "... features"]:
        """g(x)."""
        return self._encode(x)["g"]

    def begin(self, sequences: Sequence[Float[ndarray, "_time observation"]]) -> None:
        """What the emission begins as."""
        self.emission.begin(sequences)

    def initial(self, batch_size: int) -> State:
        """g_0 and the start of the LSTMs; skips of zeros."""
        state = {"g": self.initial_encoding.repeat(batch_size, 1)}
        state["prior_hidden"], state["prior_cell"] = self.prior_lstm.initial(batch_size)
        for layer, lstm in enumerate(self._layers()):
            state[f"hidden{layer}"], state[f"cell{layer}"] = lstm.initial(batch_size)
        memory = self.emission.initial(batch_size, like=self.initial_encoding)
        return state | self._no_skips(batch_size) | memory

    def predict(self, state: State, drive: Drive = FREE) -> tuple[State, Gaussian]:
        """The context is the state and the drive; its prior LSTM has heard the frames so far."""
        driven = self._driven(drive)
        prior = self.prior(torch.cat([state["prior_hidden"], *driven.values()], dim=-1))
        return state | driven | self.emission.context(state), prior

    def decode(self, context: State, z: Float[Tensor, "batch latent"]) -> Likelihood:
        """The distribution of x_t: one step of the frame predictor, decoded."""
        top = self._advance_predictor(context, z)[f"hidden{len(self.predictor) - 1}"]
        frames = self.decoder(self.predicted(top), [context[name] for name in self.skip_names])
        output = self.emission.of_maps(frames.flatten(2), log_variance_range=OUTPUT_LOG_VARIANCE)
        return self.emission.likelihood_of(output, context)

    def reconstruction_slope(
        self,
        context: State,
        z: Float[Tensor, "samples batch latent"],
        x: Float[Tensor, "batch observation"],
        observed: Bool[Tensor, "batch observation"] | None,
    ) -> tuple[Float[Tensor, "samples batch"], Float[Tensor, "samples batch latent"]]:
        """Written out, but in training, where norms may mix rows."""
        if self.training:
            return super().reconstruction_slope(context, z, x, observed)
        steps, heard = [], z.to(self.dtype)
        for layer, lstm in enumerate(self._layers()):
            known = self._read_by_predictor(context, context["g"][:, :0]) if layer == 0 else context["g"][:, :0]
            offset = lstm.offset(known, context[f"hidden{layer}"])
            heard, step = lstm.with_backward(heard, offset, context[f"cell{layer}"])
            steps.append(step)
        vectors, predicted = with_backward(self.predicted, heard.flatten(0, 1))
        energy, slope = self._decoded_slope(context, vectors, x, observed)
        slope = predicted(slope).view(*z.shape[:2], -1)
        for step in reversed(steps):
            slope = step(slope)
        return energy.view(z.shape[:2]), slope.to(z.dtype)

    def _decoded_slope(
        self, context: State, vectors: Tensor, x: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """-log p(x) of what vectors are decoded to, samples after samples, and its slope by the vectors."""
        samples = len(vectors) // len(x)
        skips = [context[name].repeat(samples, 1, 1, 1) for name in self.skip_names]
        with suppress(Undescribed):
            pixels = pixels_of(self.emission.plan(), OUTPUT_LOG_VARIANCE)
            native = None if pixels is None else self.decoder.energy_slope(vectors, skips, pixels, x, observed)
            if native is not None:
                return native
        frames, decoder = self.decoder.with_backward(vectors, skips)
        maps = frames.reshape(samples, len(x), -1, x.shape[-1])
        energy, slope = self.emission.sloped_maps(maps, context, x, observed, log_variance_range=OUTPUT_LOG_VARIANCE)
        return energy, decoder(slope.view(frames.shape))

    def allowance(
        self,
        context: State,
        z: Float[Tensor, "batch latent"],
        observed: Bool[Tensor, "batch observation"] | None,
        likelihood: Likelihood,
    ) -> Float[Tensor, " batch"] | None:
        """What the emission knows to be usual where things move so."""
        usual = self.emission.usual(context)
        if usual is None:
            return None
        return (usual if observed is None else torch.where(observed, usual, 0.0)).sum(-1)

    def transition(
        self, context: State, x: Float[Tensor, "batch observation"], z: Float[Tensor, "batch latent"]
    ) -> State:
        """Encode x_t for the prior LSTM and for the next step, and advance the frame predictor."""
        state = self._advance_predictor(context, z) | self._encode(x)
        driven = [context["drive"]] if "drive" in context else []
        heard = torch.cat([state["g"], *driven], dim=-1)
        hidden, cell = self.prior_lstm(heard, context["prior_hidden"], context["prior_cell"])
        return {**state, "prior_hidden": hidden, "prior_cell": cell, **self.emission.remember(context, x)}

    def replay(
        self,
        state: State,
        xs: Float[Tensor, "time batch observation"],
        zs: Float[Tensor, "time batch latent"],
        drive: Drive = FREE,
    ) -> tuple[State, Gaussian]:
        """All frames are encoded in one pass, and so are the priors; the LSTMs alone go step by step."""
        encoded, driven = self._encode(xs), self._driven(drive)
        context = {name: torch.cat([state[name][None], heard[:-1]]) for name, heard in encoded.items()} | driven
        heard = torch.cat([encoded["g"], *driven.values()], dim=-1)[:-1]
        prior_hidden, _ = self.prior_lstm.trajectory(heard, state["prior_hidden"], state["prior_cell"])
        heard = self._read_by_predictor(context, zs)[:-1]
        for layer, lstm in enumerate(self._layers()):
            hidden, cell = lstm.trajectory(heard, state[f"hidden{layer}"], state[f"cell{layer}"])
            context |= {f"hidden{layer}": hidden, f"cell{layer}": cell}
            heard = hidden[1:]
        prior = self.prior(torch.cat([prior_hidden, *driven.values()], dim=-1))
        return context | self.emission.contexts(state, xs), prior

    def _layers(self) -> list[LearnedStartLSTM]:
        """The frame predictor's LSTMs, from its input up."""
        return [layer for layer in self.predictor if isinstance(layer, LearnedStartLSTM)]

    def _encode(self, x: Float[Tensor, "... observation"]) -> State:
        """g and the skips of frames."""
        side = self.config.frame_size
        frames = x.to(self.dtype).reshape(-1, 1, side, side)
        g, skips = self.encoder(frames) if self.skip_names else (self.encoder.vectors(frames), [])
        encoded = {"g": g, **dict(zip(self.skip_names, skips, strict=False))}
        return {name: value.unflatten(0, x.shape[:-1]) for name, value in encoded.items()}

    def _advance_predictor(self, context: State, z: Tensor) -> State:
        """The frame predictor's states after [z_t, g_{t-1}]."""
        states: State = {}
        heard = self._read_by_predictor(context, z)
        for layer, lstm in enumerate(self._layers()):
            hidden, cell = lstm(heard, context[f"hidden{layer}"], context[f"cell{layer}"])
            states |= {f"hidden{layer}": hidden, f"cell{layer}": cell}
            heard = hidden
        return states

    def _driven(self, drive: Drive) -> State:
        """The drive as networks read it, where there is one."""
        return {"drive": torch.cat(self.reader.features(drive), dim=-1)} if self.reader.size else {}

    def _read_by_predictor(self, context: State, z: Float[Tensor, "*time batch latent"]) -> Tensor:
        """[z_t, g_{t-1}], and the drive where the decoder is to hear it."""
        driven = [context["drive"]] if self.config.decode_inputs else []
        return torch.cat([z, context["g"], *driven], dim=-1)

    def _no_skips(self, batch_size: int) -> State:
        """Zeros of the sizes of the encoder's stages."""
        pooled, side = self.encoder.pooled, self.config.frame_size
        sides = [side >> (place if pooled else place + 1) for place in range(len(self.config.widths))]
        shapes = zip(self.skip_names, self.config.widths, sides, strict=False)
        return {name: self.initial_encoding.new_zeros(batch_size, width, s, s) for name, width, s in shapes}
