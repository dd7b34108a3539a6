"""Keys that hear those below them and those of the frames before, by weights that all keys share.

    a_k = P * frames around k + c_k + shift        b_k = V * keys below k        logit_k = bias_k + told(a_k + b_k)

P spans some keys either way in each of the last frames, V some keys below in the frame itself; told is a layer of as
many units, rectified like its input, and a linear map. What a key means is told by what sounds around it, so that
whatever is learned of one is known of all; c, and what a decoder says, tell keys apart.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from avf_core.distributions import Bernoulli, Likelihood, at_least_float32
from avf_core.nets import activate
from avf_core.noise import mix

SMALL = 0.1  # of the last map's weights at first: keys begin as nearly independent
ALOUD = 3.0  # what the weights of frames begin multiplied by: few keys sound
PATHS = 16  # draws of the keys below that a probability is the average over
CERTAIN = 1e-6  # probabilities are kept so far from 0 and 1 where a distribution is made of them


class Keyboard(nn.Module):
    """The weights that all keys share, and the place c that each has."""

    def __init__(self, keys: int, *, units: int, frames: int, reach: int, below: int) -> None:
        super().__init__()
        self.past = nn.Conv1d(frames, units, 2 * reach + 1, padding=reach, bias=False)
        self.lower = nn.Conv1d(1, units, below, bias=False)
        self.place = nn.Parameter(torch.zeros(keys, units))
        self.second = nn.Linear(units, units)
        self.told = nn.Linear(units, 1, bias=False)
        with torch.no_grad():
            self.past.weight.mul_(ALOUD)
            self.told.weight.mul_(SMALL)

    def heard(self, frames: Float[Tensor, "*batch frames keys"]) -> Float[Tensor, "*batch keys units"]:
        """What each key hears of the last frames, and its place."""
        flat: Tensor = self.past(frames.reshape(-1, *frames.shape[-2:]).to(self.place.dtype))
        return at_least_float32(torch.unflatten(flat.transpose(-1, -2), 0, frames.shape[:-2]) + self.place)

    def below(self, x: Float[Tensor, "*batch keys"]) -> Float[Tensor, "*batch keys units"]:
        """What each key hears of those below it."""
        reach = self.lower.kernel_size[0]
        rows = x.reshape(-1, 1, x.shape[-1]).to(self.place.dtype)
        flat: Tensor = self.lower(F.pad(rows, (reach, 0))[..., :-1])
        return at_least_float32(torch.unflatten(flat.transpose(-1, -2), 0, x.shape[:-1]))

    @property
    def deeper(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights and offsets of the second layer, and what tells a key of its units; no less than single precision."""
        second, offset, told = map(at_least_float32, (self.second.weight, self.second.bias, self.told.weight[0]))
        return second, offset, told


@dataclass(frozen=True)
class KeyByKey:
    """Zeros and ones, each given those below it.

    `kept` are, in training, what the units of both layers are multiplied by: dropout, alike for all keys of a row.
    `paths` says which draws of the keys below the probability of a key is the average over.
    """

    bias: Float[Tensor, "... keys"]
    shift: Float[Tensor, "... units"]
    heard: Float[Tensor, "... keys units"]
    kept: Float[Tensor, "... 2 units"] | None
    paths: Int64[Tensor, "... paths"]
    keyboard: Keyboard

    def log_prob(self, x: Float[Tensor, "... keys"]) -> Float[Tensor, "... keys"]:
        """log p of each key given those below it, in nats."""
        logits = self._logits(x)
        return x * logits - F.softplus(logits)

    @cached_property
    def mean(self) -> Float[Tensor, "... keys"]:
        """Probabilities, each the average over draws of the keys below."""
        return self._averaged(None, None)

    @property
    def marginal(self) -> Likelihood:
        """Each key alone, with the probability that the mean is."""
        return Bernoulli(torch.logit(self.mean, eps=CERTAIN))

    def sample(self, uniform: Float[Tensor, "... keys"]) -> Float[Tensor, "... keys"]:
        """A one where `uniform` lies above the probability of a zero, given the keys below."""
        return self._upwards(uniform)[1]

    def complete(
        self,
        x: Float[Tensor, "... keys"],
        observed: Bool[Tensor, "... keys"],
        uniform: Float[Tensor, "... keys"] | None = None,
    ) -> Float[Tensor, "... keys"]:
        """`x`, with what is not observed at its probability, or drawn, given the keys below it."""
        if uniform is None:
            return torch.where(observed, x.to(self.bias.dtype), self._averaged(x, observed))
        return self._upwards(uniform, x, observed)[1]

    def slopes(
        self, x: Float[Tensor, "... keys"], observed: Bool[Tensor, "... keys"] | None
    ) -> tuple[Float[Tensor, "..."], Float[Tensor, "... keys"], Float[Tensor, "... units"]]:
        """-log p of the keys that are `observed`, in nats, and its derivatives by bias and shift. Without dropout."""
        weight, offset, told = self.keyboard.deeper
        first, through_first = activate(F.relu, self._read(x))
        second, through_second = activate(F.relu, F.linear(first, weight, offset))
        logits = self.bias + second @ told
        energy, by_bias = F.softplus(logits) - x * logits, torch.sigmoid(logits) - x
        if observed is not None:
            energy, by_bias = torch.where(observed, energy, 0.0), torch.where(observed, by_bias, 0.0)
        by_second = through_second(by_bias[..., None].to(told.dtype) * told)
        by_shift = through_first(by_second @ weight).sum(-2)
        return energy.sum(-1), by_bias, by_shift

    def _read(self, x: Tensor) -> Tensor:
        """What the first layer reads; of keys below once for all samples of a row."""
        heard = self.heard
        while heard.ndim > x.ndim + 1 and heard.stride(0) == 0:
            heard = heard[0]
        return heard + self.keyboard.below(x) + self.shift[..., None, :]

    def _logits(self, x: Tensor) -> Tensor:
        """All at once."""
        first, second = (None, None) if self.kept is None else self.kept[..., None, :, :].unbind(-2)
        units = _thinned(F.relu(self._read(x)), first)
        weight, offset, told = self.keyboard.deeper
        units = _thinned(F.relu(F.linear(units, weight, offset)), second)
        return self.bias + units @ told

    def _averaged(self, x: Tensor | None, observed: Tensor | None) -> Tensor:
        """The probability of each key, over the paths of what is not `observed` below it."""
        uniform = _uniform(self.bias.shape[-1], self.bias.device)[self.paths].to(self.bias.dtype)
        each = replace(
            self, bias=self.bias[..., None, :], shift=self.shift[..., None, :], heard=self.heard[..., None, :, :]
        )
        given = [None if one is None else one[..., None, :] for one in (x, observed)]
        return each._upwards(uniform, *given)[0].mean(-2)

    @torch.no_grad()
    def _upwards(
        self, uniform: Tensor, x: Tensor | None = None, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Key by key, from the lowest: the probability of each given the values below it, and its value, `x` where that
        is `observed`, a draw elsewhere. Keys and units lie before rows, of which there are many. Not differentiated."""
        keyboard, lead, keys = self.keyboard, uniform.shape[:-1], uniform.shape[-1]
        lower, (second, offset, told) = at_least_float32(keyboard.lower.weight[:, 0]), keyboard.deeper
        reach = lower.shape[1]
        heard, shift, bias = self.heard.movedim((-2, -1), (0, 1)), self.shift.movedim(-1, 0), self.bias.movedim(-1, 0)
        found = lower.new_zeros(reach + keys, lead.numel())
        probabilities, zero = [], 1.0 - uniform.movedim(-1, 0)
        for k in range(keys):
            below = (lower @ found[k : k + reach]).view(-1, *lead)
            units = F.relu(below + shift + heard[k]).view(-1, lead.numel())
            logit = told @ F.relu(torch.addmm(offset[:, None], second, units))
            probabilities.append(torch.sigmoid(bias[k] + logit.view(lead)))
            value = probabilities[-1] > zero[k]
            if x is not None and observed is not None:
                value = torch.where(observed[..., k], x[..., k].to(found.dtype), value.to(found.dtype))
            found[reach + k] = value.expand(lead).reshape(-1)
        values = found[reach:].view(keys, *lead).movedim(0, -1).to(self.bias.dtype)
        return torch.stack(probabilities, dim=-1), values


@lru_cache(maxsize=8)
def _uniform(keys: int, device: torch.device) -> Float[Tensor, "paths keys"]:
    """Uniform numbers that the paths are drawn by: of each key one in every PATHS-th part of (0, 1), in an order of
    its own. They are the same for all rows and steps, so that a probability is a function of what was heard."""
    order = mix(torch.arange(1, 1 + PATHS * keys)).view(keys, PATHS)
    within = (mix(order) >> 11 & (1 << 52) - 1).double() / (1 << 52)
    return ((order.argsort(-1) + within) / PATHS).clamp(1e-6, 1.0 - 1e-6).T.to(device)


def _thinned(units: Tensor, kept: Tensor | None) -> Tensor:
    """The units after dropout, where there is any."""
    return units if kept is None else units * kept
