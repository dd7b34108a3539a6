"""linear-prediction: every sample of a frame is predicted from those before it, also from those of the frame before.

    x_t = sum_k a_k x_{t-k} + s_t e_t            k = 1..order, e of the noise that is named

The decoder says, for the whole frame, the filter (by reflection coefficients or by a spectrum, so that it is stable),
and log-scales for as many parts of the frame as there are `gains`. Where `reactive`, it also says how far the scale
follows the residual: log s_t = (1 - r) gain + r log(mean |residual| of the last samples).

log p is that of every sample given those before it, in one pass over the frame. The mean is what the filter predicts
from the frame before alone, the deviation what the noise amounts to behind the filter: exact, but for the scale's
following, which they leave out. A missing sample is taken at its expectation (inference) or at a draw (what is fed
back) given the samples before it, and those after it are scored as if that had been observed: an approximation, as it
leaves out the spread of what is missing, and what later samples say of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import Gaussian, Likelihood, at_least_float32
from avf_core.emissions import _filters, base
from avf_core.emissions._noise import NOISES, Noise, NoiseName
from avf_core.emissions.base import MEMORY, Output, Units
from avf_core.errors import ConfigurationError
from avf_core.native import elements
from avf_core.native.plan import EmissionPlan, Framing, Undescribed
from avf_core.nets import MLP

LEAST_SCALE = 0.1  # of a level
MOST_SCALE = 20.0  # of standardised observations, a logarithm
CHUNK = 4096  # rows whose filters are inverted at once
BEFORE = f"{MEMORY}before"


@dataclass(frozen=True, kw_only=True)
class Config:
    """order: samples that a prediction hears. gains: parts of the frame with a scale each.

    filter: what the decoder's numbers say of it, `reflection` coefficients (as many as the order), or the cepstrum of a
    `spectrum` (as many as its `resolution`). reactive: over how many samples the scale may follow the residual, 0 for a
    scale that does not.
    """

    order: int = 32
    gains: int = 20
    filter: Literal["reflection", "spectrum"] = "reflection"
    resolution: int = 48
    noise: NoiseName = "logistic"
    reactive: int = 24

    def __post_init__(self) -> None:
        if self.order < 1 or self.gains < 1 or self.resolution < 1 or self.reactive < 0:
            raise ConfigurationError(
                f"order is {self.order}, gains {self.gains}, resolution {self.resolution}, reactive {self.reactive}: "
                "expected at least 1, but for reactive, which may be 0"
            )

    @property
    def filtering(self) -> int:
        """How many numbers say the filter."""
        return self.order if self.filter == "reflection" else self.resolution


SMALL = Config(order=3, gains=2, reactive=2)
EXAMPLES: Mapping[str, Config] = {
    "reflection": SMALL,
    "spectrum": Config(order=2, gains=1, filter="spectrum", resolution=4, noise="student-t", reactive=0),
    "gaussian": Config(order=8, gains=3, noise="gaussian", reactive=0),
}


@dataclass(frozen=True)
class LinearPrediction:
    """The likelihood of a frame, of which all tensors are in standardised units.

    `gains` are the log-scales of the frame's parts. `reactivity` is None where the scale does not follow the residual;
    `history` holds what was observed before.
    """

    coefficients: Float[Tensor, "... order"]
    gains: Float[Tensor, "... parts"]
    reactivity: Float[Tensor, "... one"] | None
    history: Float[Tensor, "... history"]
    noise: Noise
    units: Units
    window: int
    level: float  # the width of a level
    frame: int  # samples

    @property
    def log_scale(self) -> Float[Tensor, "... frame"]:
        """That of every sample, as it was said."""
        return self.gains.repeat_interleave(self.frame // self.gains.shape[-1], dim=-1)

    def log_prob(self, x: Float[Tensor, "... frame"]) -> Float[Tensor, "... frame"]:
        """log P of the level around each sample, given the samples before it, in nats."""
        errors = self._errors(x)
        log_scale = self._following(errors)
        return self.noise.log_probability(errors[..., self.window :], log_scale, width=self.level)

    def innovations(self, x: Float[Tensor, "... frame"]) -> Float[Tensor, "... frame"]:
        """What the filter does not predict of each sample, in scales as they were said."""
        parts = torch.unflatten(self._errors(x)[..., self.window :], -1, (self.gains.shape[-1], -1))
        return torch.flatten(parts * torch.exp(-self.gains)[..., None], -2)

    @property
    def mean(self) -> Float[Tensor, "... frame"]:
        """The frame that the filter predicts from what was observed before it alone."""
        return self._free[0]

    @property
    def deviation(self) -> Float[Tensor, "... frame"]:
        """How far samples lie from that mean: the noise of all samples up to each, behind the filter."""
        return self._free[1]

    @property
    def log_variance(self) -> Float[Tensor, "... frame"]:
        """Of the deviation."""
        return 2.0 * torch.log(self.deviation)

    def sample(self, uniform: Float[Tensor, "... frame"]) -> Float[Tensor, "... frame"]:
        """A frame: every sample is the quantile, at its number in `uniform`, given the samples before it."""
        return self.complete(torch.zeros_like(uniform), torch.zeros_like(uniform, dtype=torch.bool), uniform)

    def complete(
        self,
        x: Float[Tensor, "... frame"],
        observed: Bool[Tensor, "... frame"],
        uniform: Float[Tensor, "... frame"] | None = None,
    ) -> Float[Tensor, "... frame"]:
        """The frame, with what is not observed at its expectation, or quantile, given the samples before it."""
        noise = None if uniform is None else self.noise.quantile(uniform).to(self.history.dtype)
        values = self.units.standardize(torch.where(observed, x, 0.0)).to(self.history.dtype)
        log_scale = self.log_scale
        shape = torch.broadcast_tensors(log_scale, values)[0].shape  # type: ignore[no-untyped-call]
        signal = self.history.expand(*shape[:-1], -1)
        order, backwards = self.coefficients.shape[-1], self.coefficients.flip(-1)
        errors = signal[..., :0]
        if self.window:
            errors = signal[..., order:] - _filters.predictions(signal, self.coefficients)
        for t in range(shape[-1]):
            predicted = (signal[..., -order:] * backwards).sum(-1)
            drawn = predicted
            if noise is not None:
                scale = torch.exp(self._scale_now(errors, log_scale[..., t]))
                drawn = predicted + scale * noise[..., t]
            value = torch.where(observed[..., t], values[..., t], drawn)
            signal = torch.cat([signal, value[..., None]], dim=-1)
            errors = torch.cat([errors, (value - predicted)[..., None]], dim=-1)
        filled = self.units.restore(signal[..., -shape[-1] :])
        return torch.where(observed, x.to(filled.dtype), filled)

    @property
    def marginal(self) -> Likelihood:
        """Each sample alone, the frame's others unknown: a Gaussian of its moments, as a sum of many."""
        return Gaussian(self.mean, self.log_variance)

    def _errors(self, x: Float[Tensor, "... frame"]) -> Float[Tensor, "... errors"]:
        """Of the frame, and of the `window` samples before it."""
        values = self.units.standardize(x).to(self.history.dtype)
        lead = torch.broadcast_shapes(self.history.shape[:-1], values.shape[:-1])  # type: ignore[no-untyped-call]
        signal = torch.cat([self.history.expand(*lead, -1), values.expand(*lead, -1)], dim=-1)
        return signal[..., self.coefficients.shape[-1] :] - _filters.predictions(signal, self.coefficients)

    def _following(self, errors: Tensor) -> Tensor:
        """Log-scales of all samples, from the residuals of the frame and of `window` samples before it."""
        if self.reactivity is None:
            return self.log_scale
        size = errors[..., :-1].abs()
        recent = F.avg_pool1d(size.reshape(-1, 1, size.shape[-1]), self.window, 1).reshape(*size.shape[:-1], -1)
        return torch.lerp(self.log_scale, self._log_recent(recent), self.reactivity)

    def _scale_now(self, errors: Tensor, log_scale: Tensor) -> Tensor:
        """The log-scale of the next sample."""
        if self.reactivity is None:
            return log_scale
        recent = errors[..., -self.window :].abs().mean(-1)
        return torch.lerp(log_scale, self._log_recent(recent), self.reactivity[..., 0])

    def _log_recent(self, recent: Tensor) -> Tensor:
        """The log-scale of which such residuals are expected; a level's share keeps it finite."""
        return torch.log(recent / self.noise.absolute + LEAST_SCALE * self.level)

    @cached_property
    def _free(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation in the observation's units."""
        lead, order = self.gains.shape[:-1], self.coefficients.shape[-1]
        filters, gains = self.coefficients.reshape(-1, order), self.gains.reshape(-1, self.gains.shape[-1])
        before = self.history[..., -order:].expand(*lead, -1).reshape(-1, order)
        native = self._natively(filters, before, gains)
        if native is not None:
            return native[0].reshape(*lead, -1), native[1].reshape(*lead, -1)
        scale = self.noise.deviation * torch.exp(self.log_scale).reshape(-1, self.frame)
        chunks = zip(*(torch.split(part, CHUNK) for part in (filters, before, scale)), strict=True)
        mean, deviation = torch.unflatten(torch.cat([torch.stack(_unrolled(*chunk)) for chunk in chunks], 1), 1, lead)
        return self.units.restore(mean), base.numbers(self.units.scale)[0] * deviation

    def _natively(self, filters: Tensor, before: Tensor, gains: Tensor) -> tuple[Tensor, Tensor] | None:
        """`_free` by the native executor, of one unit for all samples."""
        units, noise = self.units, self.noise.deviation
        if not (isinstance(units.center, float) and isinstance(units.scale, float)):
            return None
        return elements.unrolled(
            filters, before, gains, frame=self.frame, center=units.center, scale=units.scale, noise=noise
        )


class Emission(base.Emission):
    """Linear prediction within frames of `size` samples, with a memory of the samples before."""

    of_levels = True
    config: Config

    def __init__(self, config: Config, units: Units, size: int, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(config, units, size, shape)
        self.level = units.bin / base.numbers(units.scale)[0]
        if size % config.gains:
            raise ConfigurationError(f"gains is {config.gains}, expected a divisor of the frame's {size} samples")

    @property
    def outputs(self) -> int:
        """How many numbers the decoder says: of the filter, log-scales, and the scale's following."""
        return self.config.filtering + self.config.gains + (1 if self.config.reactive else 0)

    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """A linear map, small at first: prediction begins as none."""
        final = nn.Linear(trunk.output_size, self.outputs)
        with torch.no_grad():
            final.weight.mul_(0.1)
            final.bias.zero_()
        return nn.Sequential(trunk, final)

    @property
    def warming(self) -> int:
        """The frames that hold as many samples as are remembered."""
        return math.ceil((self.config.order + self.config.reactive) / self.size)

    def initial(self, batch_size: int, *, like: Tensor) -> State:
        """Silence."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {BEFORE: like.new_zeros(batch_size, self.config.order + self.config.reactive, dtype=dtype)}

    def remember(self, context: State, x: Float[Tensor, "batch observation"]) -> State:
        """The last samples, standardised."""
        before = context[BEFORE]
        joined = torch.cat([before, self.standardize(x).to(before.dtype)], dim=-1)
        return {BEFORE: joined[..., joined.shape[-1] - before.shape[-1] :]}

    def contexts(self, memory: State, xs: Float[Tensor, "time batch observation"]) -> State:
        """Windows of the whole signal."""
        before, time = memory[BEFORE], xs.shape[0]
        signal = self.standardize(xs[:-1]).to(before.dtype).transpose(0, 1).flatten(1)
        joined = torch.cat([before, signal], dim=-1)
        return {BEFORE: joined.unfold(-1, before.shape[-1], self.size)[:, :time].transpose(0, 1)}

    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """Filter, scales and following, from the decoder's numbers in this order."""
        if not isinstance(output, Tensor):
            raise TypeError(f"expected numbers, not {type(output).__name__}")
        config = self.config
        sizes = [config.filtering, config.gains, 1 if config.reactive else 0]
        numbers, gains, following = torch.split(at_least_float32(output), sizes, dim=-1)
        spectral = config.filter == "spectrum"
        least = math.log(LEAST_SCALE * self.level)
        return LinearPrediction(
            coefficients=_filters.of_spectrum(numbers, config.order) if spectral else _filters.of_reflections(numbers),
            gains=gains.clamp(least, MOST_SCALE),
            reactivity=torch.sigmoid(following) if config.reactive else None,
            history=context[BEFORE].expand(*numbers.shape[:-1], -1),
            noise=NOISES[config.noise],
            units=self.units,
            window=config.reactive,
            level=self.level,
            frame=self.size,
        )

    def plan(self) -> EmissionPlan:
        """The executor has it, of orders up to its most."""
        config, units, noise = self.config, self.units, NOISES[self.config.noise]
        if config.order > elements.MOST_ORDER:
            raise Undescribed(f"linear prediction of order {config.order}: up to {elements.MOST_ORDER} is known there")
        return EmissionPlan(
            kind="linear_prediction",
            bin=units.bin,
            center=base.numbers(units.center),
            scale=base.numbers(units.scale),
            likelihood=self._planned,
            memory={BEFORE: config.order + config.reactive},
            framing=Framing(
                order=config.order,
                filtering=config.filtering,
                gains=config.gains,
                reactive=config.reactive,
                spectral=config.filter == "spectrum",
                noise=config.noise,
                absolute=noise.absolute,
                level=self.level,
            ),
        )

    def _planned(self, output: Sequence[Tensor], state: Mapping[str, Tensor]) -> Likelihood:
        """The likelihood of the decoder's numbers, one a row, or several a row of the state."""
        (numbers,), before = output, state[BEFORE]
        return self.likelihood_of(numbers, {BEFORE: before if numbers.ndim == before.ndim else before[:, None]})


@torch.no_grad()
def _unrolled(
    coefficients: Float[Tensor, "rows order"], before: Float[Tensor, "rows order"], scale: Float[Tensor, "rows frame"]
) -> tuple[Float[Tensor, "rows frame"], Float[Tensor, "rows frame"]]:
    """Mean and deviation of a frame, by recursion: of what is left of the past, and of an impulse. Not differentiated.

    The variance is the convolution of the noise's variances with the squares of the impulse's response.
    """
    order, frame = coefficients.shape[-1], scale.shape[-1]
    backwards = coefficients.flip(-1)[:, None]
    signals = scale.new_zeros(len(coefficients), 2, order + frame)
    signals[:, 0, :order] = before
    for t in range(frame):
        signals[:, :, order + t] = (signals[:, :, t : t + order] * backwards).sum(-1)
        if t == 0:
            signals[:, 1, order] += 1.0
    mean, response = signals[:, :, order:].unbind(1)
    reversed_squares = response.square().flip(-1)[:, None]
    spread = F.conv1d(F.pad(scale.square(), (frame - 1, 0))[None], reversed_squares, groups=len(scale))[0]
    return mean, torch.sqrt(spread)
