"""autoregressive: keys that hear the keys before them (NADE: Larochelle & Murray 2011, on music Boulanger-Lewandowski
et al. 2012).

    p(x_d = 1 | x_<d) = sigmoid(b_d + V_d . sigmoid(c + sum_{i<d} W_i x_i))

The decoder says the biases b, of all keys, and c, of the hidden units; W and V are the emission's own. log p and its
gradient are one pass over the keys: what the keys before say, sum_{i<d} W_i x_i, is a cumulative sum.

The mean is that of a recursion in which every key hears the probabilities of the keys before it, not their values: an
approximation, as the probability of a key alone has no closed form. Samples are exact, by the same recursion. A missing
key is taken as it is expected (inference) or drawn (what is fed back) given the keys before it, and those after it are
scored as if that had been observed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import Bernoulli, Likelihood, at_least_float32
from avf_core.emissions import base
from avf_core.emissions.base import Output, Units
from avf_core.errors import ConfigurationError
from avf_core.nets import MLP

SMALL = 0.01  # weights at first: keys begin as independent


@dataclass(frozen=True, kw_only=True)
class Config:
    """units: the hidden units of the estimator."""

    units: int = 128

    def __post_init__(self) -> None:
        if self.units < 1:
            raise ConfigurationError(f"units is {self.units}, expected at least 1")


EXAMPLES: Mapping[str, Config] = {"small": Config(units=3)}


@dataclass(frozen=True)
class KeyByKey:
    """Zeros and ones, each given those before it; `heard` and `told` are W and V, of every row, as values."""

    bias: Float[Tensor, "... keys"]
    hidden: Float[Tensor, "... units"]
    heard: Float[Tensor, "... keys units"]
    told: Float[Tensor, "... keys units"]

    def log_prob(self, x: Float[Tensor, "... keys"]) -> Float[Tensor, "... keys"]:
        """log p of each key given those before it, in nats."""
        logits = self._logits(x)
        return x * logits - F.softplus(logits)

    @property
    def mean(self) -> Float[Tensor, "... keys"]:
        """Probabilities, where every key hears the probabilities of those before it."""
        return self._recursion(lambda probability, _: probability)

    @property
    def marginal(self) -> Likelihood:
        """Each key alone, with the probability that the mean is."""
        return Bernoulli(torch.logit(self.mean, eps=1e-6))

    def sample(self, uniform: Float[Tensor, "... keys"]) -> Float[Tensor, "... keys"]:
        """A one where `uniform` lies above the probability of a zero, given the keys before."""
        return self._recursion(lambda probability, d: _drawn(probability, uniform[..., d]))

    def complete(
        self,
        x: Float[Tensor, "... keys"],
        observed: Bool[Tensor, "... keys"],
        uniform: Float[Tensor, "... keys"] | None = None,
    ) -> Float[Tensor, "... keys"]:
        """`x`, with what is not observed at its probability, or drawn, given the keys before it."""

        def value(probability: Tensor, d: int) -> Tensor:
            filled = probability if uniform is None else _drawn(probability, uniform[..., d])
            return torch.where(observed[..., d], x[..., d].to(filled.dtype), filled)

        return self._recursion(value)

    def _logits(self, x: Tensor) -> Tensor:
        """All at once: what the keys before say is a cumulative sum, once for all samples of a row that share W."""
        heard = self.heard
        while heard.ndim > x.ndim + 1 and heard.stride(0) == 0:
            heard = heard[0]
        said = x.to(heard.dtype)[..., None] * heard
        before = said.cumsum(-2) - said
        hidden = torch.sigmoid(self.hidden[..., None, :] + before)
        return self.bias + (hidden * self.told).sum(-1)

    def _recursion(self, value: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Key by key: the value of each, from its probability given the values before."""
        hidden, found = self.hidden, []
        for d in range(self.bias.shape[-1]):
            logit = self.bias[..., d] + (torch.sigmoid(hidden) * self.told[..., d, :]).sum(-1)
            found.append(value(torch.sigmoid(logit), d))
            hidden = hidden + found[-1][..., None] * self.heard[..., d, :]
        return torch.stack(found, dim=-1)


class Emission(base.Emission):
    """A neural autoregressive distribution estimator over the keys, its biases said by the decoder."""

    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    widens = "bernoulli"
    config: Config

    def __init__(self, config: Config, units: Units, size: int, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(config, units, size, shape)
        self.heard = nn.Parameter(SMALL * torch.randn(size, config.units))
        self.told = nn.Parameter(SMALL * torch.randn(size, config.units))

    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """A linear map to both biases."""
        return nn.Sequential(trunk, nn.Linear(trunk.output_size, self.size + self.config.units))

    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """The estimator with these biases."""
        if not isinstance(output, Tensor):
            raise TypeError(f"expected biases, not {type(output).__name__}")
        bias, hidden = torch.split(at_least_float32(output), [self.size, self.config.units], dim=-1)
        lead = bias.shape[:-1]
        heard, told = (at_least_float32(weight).expand(*lead, -1, -1) for weight in (self.heard, self.told))
        return KeyByKey(bias=bias, hidden=hidden, heard=heard, told=told)

    def sloped(
        self, output: Output, context: State, x: Float[Tensor, "batch observation"], observed: Tensor | None
    ) -> tuple[Float[Tensor, "... batch"], Output]:
        """Written out: of b the probability less the key, of c what comes back through the hidden units."""
        found = self.likelihood_of(output, context)
        assert isinstance(found, KeyByKey)
        assert isinstance(output, Tensor)
        weights, told = at_least_float32(self.heard), at_least_float32(self.told)
        said = x.to(weights.dtype)[..., None] * weights
        hidden = torch.sigmoid(found.hidden[..., None, :] + (said.cumsum(-2) - said))
        logits = found.bias + (hidden * told).sum(-1)
        energy, by_bias = F.softplus(logits) - x * logits, torch.sigmoid(logits) - x
        if observed is not None:
            energy, by_bias = torch.where(observed, energy, 0.0), torch.where(observed, by_bias, 0.0)
        by_hidden = (by_bias[..., None] * told * hidden * (1.0 - hidden)).sum(-2)
        return energy.sum(-1), torch.cat([by_bias, by_hidden], dim=-1).to(output.dtype)


def _drawn(probability: Tensor, uniform: Tensor) -> Tensor:
    """Zeros and ones."""
    return (uniform > 1.0 - probability).to(probability.dtype)
