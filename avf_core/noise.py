"""Counter-based randomness, one stream a row.

The law: the noise of a row depends on (its seed, its step, the stream's number) and on nothing else, so that a
session gets the same estimates alone, in a batch, after a restart and on another machine.

The generator is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014):
output j of the generator seeded with k is mix(k + (j + 1) * gamma), so any output is had without those before it.
The key k of a stream is the mixed hash of seed, step and stream number.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

GAMMA = 0x9E3779B97F4A7C15
MULTIPLIER_1 = 0xBF58476D1CE4E5B9
MULTIPLIER_2 = 0x94D049BB133111EB

# Streams of one step. Gradient samples of iteration i use stream ITERATION + i, those that measure use MEASURE + i.
POSTERIOR = 0
IMPUTATION = 1
FORECAST_LATENT = 2
FORECAST_OBSERVATION = 3
PATHS = 4  # the seeds of paths and particles, derived from a row's
RESAMPLING = 5
ANCESTORS = 6  # the particles that the paths of a forecast start from
RANKS = 7
PARTICLE = 8  # the particle whose sample stands for all
ITERATION = 16
MEASURE = 1 << 32
COMMON = 1 << 40  # the common random numbers on which proposals of one step are compared
SAMPLES = 1 << 41  # the latents of a step in training, beyond the first
PREDICTION = 1 << 42  # the prior samples that a prediction is made of
REPORT = 1 << 43  # the posterior samples that a reported reconstruction is the mean of


def _signed(value: int) -> int:
    """The two's-complement reading of a 64-bit number: torch has wrapping signed arithmetic only."""
    value &= 0xFFFFFFFFFFFFFFFF
    return value - (1 << 64) if value >= 1 << 63 else value


def _xor_shift(z: Tensor, bits: int) -> Tensor:
    return z ^ ((z >> bits) & ((1 << (64 - bits)) - 1))


def mix(z: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """SplitMix64's output function: a bijection of 64-bit words that scatters every bit."""
    z = _xor_shift(z, 30) * _signed(MULTIPLIER_1)
    z = _xor_shift(z, 27) * _signed(MULTIPLIER_2)
    return _xor_shift(z, 31)


@lru_cache(maxsize=1024)
def _numbers(streams: tuple[int, ...], device: torch.device) -> Int64[Tensor, " streams"]:
    """The numbers of streams on a device: once, as copying them there holds up what it computes."""
    return torch.tensor(streams, dtype=torch.int64, device=device)


def words(
    seed: Int64[Tensor, " batch"], step: Int64[Tensor, " batch"], *, streams: Sequence[int], count: int
) -> Int64[Tensor, "streams batch count"]:
    """`count` uniformly distributed 64-bit words for every stream and row."""
    gamma = _signed(GAMMA)
    numbers = _numbers(tuple(streams), seed.device)
    row_key = mix(mix(seed + gamma) + step * gamma)
    key = mix(row_key[None] ^ mix((numbers[:, None] + 1) * gamma))
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=seed.device) * gamma
    return mix(key[..., None] + counter)


def uniform(
    seed: Int64[Tensor, " batch"], step: Int64[Tensor, " batch"], *, streams: Sequence[int], size: int
) -> Float64[Tensor, "streams batch size"]:
    """Uniform numbers in the open interval (0, 1), 53 bits each."""
    bits = (words(seed, step, streams=streams, count=size) >> 11) & ((1 << 53) - 1)
    return (bits.double() + 0.5) * 2.0**-53


def standard_normal(
    seed: Int64[Tensor, " batch"], step: Int64[Tensor, " batch"], *, streams: Sequence[int], size: int
) -> Float64[Tensor, "streams batch size"]:
    """Standard normal numbers by Box and Muller (1958): one word gives a pair."""
    pairs = (size + 1) // 2
    bits = words(seed, step, streams=streams, count=pairs)
    radius = (((bits >> 32) & 0xFFFFFFFF).double() + 0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = (bits & 0xFFFFFFFF).double().mul_(2.0 * math.pi * 2.0**-32)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=-1)[..., :size]
