"""What an emission is: from what a decoder says, and what was observed before, to a likelihood in natural units.

    memory     = emission.initial(batch, like=...)           of no observation; empty for most
    context    = emission.context(memory)                    once a step: what the likelihood takes of the memory
    likelihood = emission.likelihood_of(output, context)     of the decoder's output at a latent
    memory     = emission.remember(context, x)               after the observation

An emission is one file in this folder with a `Config` (a frozen dataclass), `EXAMPLES` of it by name, small enough for
tests, and an `Emission`; the file's name is its name, with dashes for underscores. The suites test every example with
a model that takes it, unasked.

The law of units: observations enter and leave every model in natural units (audio samples in [-1, 1], pixels in
[0, 1], sensors as they come). Inside, a model sees (x - center) / scale, and its decoder speaks of that; here what it
says is brought back, so that bins and log-probabilities are those of the natural units.

The law of memory: what is remembered is a value of the model's state, with a leading batch axis, under names that
begin with `MEMORY`; a context holds it too, as `remember` takes nothing else.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from avf_core.beliefs import State
from avf_core.distributions import Gaussian, Likelihood, Sloped, at_least_float32, reconstruction
from avf_core.errors import ConfigurationError
from avf_core.native.plan import EmissionPlan, LikelihoodName, Undescribed
from avf_core.nets import MLP, GaussianNet
from avf_core.trees import stack_time, tree_map

SIXTEEN_BITS = 2.0**-15  # one level of 16-bit audio in [-1, 1]
EIGHT_BITS = 2.0**-8  # one level of an 8-bit pixel in [0, 1], as Marino, Cvitkovic & Yue (2018) count it
MEMORY = "emission_"

Output = Tensor | Gaussian
"""What a decoder says: numbers, or the moments of the standardised observation."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """The units of the observation.

    `center` and `scale` are, as a rule, the mean and the standard deviation of the training set: one for all numbers of
    an observation, or one for each, as channels have units of their own. `bin` is the width of a quantisation level, in
    units of the observation. Raises ConfigurationError for a `bin` or a `scale` that is no positive number.
    """

    bin: float = SIXTEEN_BITS
    center: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        for name, value in (("bin", self.bin), ("scale", self.scale)):
            if not all(0.0 < number < math.inf for number in numbers(value)):
                raise ConfigurationError(
                    f"{name} is {value}, expected a positive number in the observation's units: "
                    "the width of one quantisation level, or the training set's standard deviation"
                )
        if not all(map(math.isfinite, numbers(self.center))):
            raise ConfigurationError(f"center is {self.center}, expected a finite number: the training set's mean")

    def check(self, size: int) -> None:
        """Raise ConfigurationError where there is neither one number for all of an observation, nor one for each."""
        for name, value in (("center", self.center), ("scale", self.scale)):
            if isinstance(value, tuple) and len(value) != size:
                raise ConfigurationError(
                    f"{name} has {len(value)} numbers for observations of {size}: expected one for all, or one for each"
                )

    def standardize(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(x - center) / scale."""
        if self.center == 0.0 and self.scale == 1.0:
            return x
        return (x - across(self.center, x)) / across(self.scale, x)

    def restore(self, standardized: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """center + scale * standardized."""
        return across(self.center, standardized) + across(self.scale, standardized) * standardized

    def restore_log_variance(self, standardized: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The log-variance of x, from that of the standardised x."""
        if isinstance(self.scale, float):
            return standardized + 2.0 * math.log(self.scale)
        return standardized + across(tuple(2.0 * math.log(scale) for scale in self.scale), standardized)


def learned(value: Tensor, learns: bool) -> Tensor:
    """A parameter where it is to be learned; else a buffer, which is saved alike and never trained."""
    return nn.Parameter(value) if learns else nn.Buffer(value)


def numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    """One or several, as several."""
    return value if isinstance(value, tuple) else (value,)


def across(value: float | tuple[float, ...], like: Tensor) -> float | Tensor:
    """One number for all dimensions of `like`, or a vector with one for each."""
    return _vector(value, like.dtype, like.device) if isinstance(value, tuple) else value


@lru_cache(maxsize=256)
def _vector(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The options of an emission that has none."""


class Emission(nn.Module, ABC):
    """A family of likelihoods of vectors of `size` numbers, `shape` being what they are a flattened form of."""

    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """Between which numbers an observation must lie."""
    of_levels: ClassVar[bool] = False
    """Whether observations are levels, `bin` apart: then all their numbers are in one unit."""
    widens: ClassVar[str | None] = None
    """The emission whose decoder says the first of this one's numbers: a model with this one may start from there."""

    def __init__(self, config: Any, units: Units, size: int, shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        units.check(size)
        self.config, self.units, self.size, self.shape = config, units, size, shape

    def standardize(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The observation as networks read it."""
        return self.units.standardize(x)

    @abstractmethod
    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """The decoder's last layers, from its trunk: what `likelihood_of` reads. The range is of standardised x."""

    def rest(self, bias: Float[Tensor, " outputs"]) -> Float[Tensor, " outputs"]:
        """The bias of a linear map of `head` with which it says a distribution near the standard one, or begins to."""
        return torch.zeros_like(bias)

    @abstractmethod
    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """The likelihood of x, in at least float32; the output may have an axis of samples before the context's."""

    @property
    def channels(self) -> int:
        """How many maps a decoder of pictures makes for `of_maps`. Raises ConfigurationError where there are none."""
        raise ConfigurationError(f"{type(self).__module__} has no form for models that decode pictures: choose another")

    def of_maps(
        self, maps: Float[Tensor, "*samples batch channels observation"], *, log_variance_range: tuple[float, float]
    ) -> Output:
        """What `likelihood_of` reads, of a decoder of pictures."""
        raise NotImplementedError

    def sloped_maps(
        self,
        maps: Float[Tensor, "*samples batch channels observation"],
        context: State,
        x: Float[Tensor, "batch observation"],
        observed: Tensor | None,
        *,
        log_variance_range: tuple[float, float],
    ) -> tuple[Float[Tensor, "*samples batch"], Float[Tensor, "*samples batch channels observation"]]:
        """`sloped`, of what a decoder of pictures makes."""
        leaf = maps.detach().requires_grad_()
        with torch.enable_grad():
            output = self.of_maps(leaf, log_variance_range=log_variance_range)
            energy = reconstruction(self.likelihood_of(output, context), x, observed)
            (slope,) = torch.autograd.grad(energy.sum(), leaf)
        return energy.detach(), slope

    def begin(
        self,
        sequences: Sequence[Float[ndarray, "_time observation"]],
        inputs: Sequence[Float[ndarray, "_time inputs"]] | None = None,
    ) -> None:
        """Before training from random parameters: set those of the emission that the data give in closed form.

        `inputs` are those of each sequence, as networks read them.
        """

    def moved(self, context: State, inputs: Float[Tensor, "*time batch inputs"] | None) -> State:
        """The context of a step before which these inputs came, as networks read them; itself where it hears none."""
        return context

    @property
    def warming(self) -> int:
        """Steps of a sequence before which what is remembered is not yet of observations alone."""
        return 0

    def initial(self, batch_size: int, *, like: Tensor) -> State:
        """What is remembered before the first observation, where `like` is; in at least float32."""
        return {}

    def context(self, memory: State) -> State:
        """What likelihoods of a step take of the memory, and the memory itself; also with an axis of time before."""
        return {name: value for name, value in memory.items() if name.startswith(MEMORY)}

    def remember(self, context: State, x: Float[Tensor, "batch observation"]) -> State:
        """What is remembered after an observation."""
        return {}

    def usual(self, context: State) -> Float[Tensor, "batch observation"] | None:
        """Nats that every number costs by the scales that the past alone says, where an emission can tell them."""
        return None

    def contexts(self, memory: State, xs: Float[Tensor, "time batch observation"]) -> State:
        """The contexts of a stretch, with an axis of time; what follows its last observation is not among them."""
        memories = [self.context(memory)]
        if not memories[0]:
            return {}
        for x in xs[:-1]:
            memories.append(self.context(self.remember(memories[-1], x)))
        return stack_time(memories)

    def sloped(
        self, output: Output, context: State, x: Float[Tensor, "batch observation"], observed: Tensor | None
    ) -> tuple[Float[Tensor, "... batch"], Output]:
        """-log p(x) of the dimensions that are `observed`, in nats, and its gradient with respect to the output."""
        leaf = tree_map(lambda tensor: tensor.detach().requires_grad_(), output)
        leaves = [leaf.mean, leaf.log_variance] if isinstance(leaf, Gaussian) else [leaf]
        with torch.enable_grad():
            energy = reconstruction(self.likelihood_of(leaf, context), x, observed)
            slopes = torch.autograd.grad(energy.sum(), leaves)
        return energy.detach(), Gaussian(*slopes) if isinstance(leaf, Gaussian) else slopes[0]

    def plan(self) -> EmissionPlan:
        """The likelihood for the native executor. Raises Undescribed where it is not one that is known there."""
        raise Undescribed(f"{type(self).__module__}.{type(self).__qualname__} does not describe itself")


class Moments(Emission):
    """An emission whose decoder says mean and log-variance of every dimension of the standardised observation."""

    @abstractmethod
    def family(self, mean: Tensor, log_variance: Tensor) -> Likelihood:
        """The likelihood of these moments, in units of the observation."""

    def head(self, trunk: MLP, *, log_variance_range: tuple[float, float]) -> nn.Module:
        """Two linear maps."""
        return GaussianNet(trunk, self.size, log_variance_range=log_variance_range)

    @property
    def channels(self) -> int:
        """Mean and log-variance."""
        return 2

    def of_maps(
        self, maps: Float[Tensor, "*samples batch channels observation"], *, log_variance_range: tuple[float, float]
    ) -> Output:
        """Means lie between 0 and 1, as pixels do."""
        mean, log_variance = maps.unbind(-2)
        return Gaussian(torch.sigmoid(mean), log_variance.clamp(*log_variance_range))

    def sloped_maps(
        self,
        maps: Float[Tensor, "*samples batch channels observation"],
        context: State,
        x: Float[Tensor, "batch observation"],
        observed: Tensor | None,
        *,
        log_variance_range: tuple[float, float],
    ) -> tuple[Float[Tensor, "*samples batch"], Float[Tensor, "*samples batch channels observation"]]:
        """By the slopes of the moments."""
        output = self.of_maps(maps, log_variance_range=log_variance_range)
        energy, slope = self.sloped(output, context, x, observed)
        assert isinstance(output, Gaussian)
        assert isinstance(slope, Gaussian)
        by_mean = torch.ops.aten.sigmoid_backward(slope.mean, output.mean)
        by_log_variance = torch.ops.aten.hardtanh_backward(slope.log_variance, maps[..., 1, :], *log_variance_range)
        return energy, torch.stack([by_mean, by_log_variance], dim=-2)

    def sloped(
        self, output: Output, context: State, x: Float[Tensor, "batch observation"], observed: Tensor | None
    ) -> tuple[Float[Tensor, "... batch"], Output]:
        """In closed form, where the family has one."""
        likelihood = self.likelihood_of(output, context)
        if not isinstance(output, Gaussian) or not isinstance(likelihood, Sloped):
            return super().sloped(output, context, x, observed)
        log_prob, by_mean, by_log_variance = likelihood.log_prob_slopes(x)
        slopes = [-across(self.units.scale, by_mean) * by_mean, -by_log_variance]
        if observed is not None:
            log_prob, *slopes = (torch.where(observed, value, 0.0) for value in (log_prob, *slopes))
        mean, log_variance = (slope.to(output.mean.dtype) for slope in slopes)
        return -log_prob.sum(-1), Gaussian(mean, log_variance)

    def likelihood_of(self, output: Output, context: State) -> Likelihood:
        """The moments brought back to the units of the observation."""
        if not isinstance(output, Gaussian):
            raise TypeError(f"expected the moments of the observation, not {type(output).__name__}")
        moments = at_least_float32(output.mean), at_least_float32(output.log_variance)
        return self.family(self.units.restore(moments[0]), self.units.restore_log_variance(moments[1]))

    def planned(self, kind: LikelihoodName) -> EmissionPlan:
        """The plan of a likelihood of the executor's, with these units."""
        units = self.units
        return EmissionPlan(
            kind=kind,
            bin=units.bin,
            center=numbers(units.center),
            scale=numbers(units.scale),
            likelihood=lambda output, state: self.likelihood_of(Gaussian(output[0], output[1]), {}),
        )
